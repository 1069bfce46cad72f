(section . (atx_heading heading_content: (inline) @name)) @def.heading
(section . (setext_heading heading_content: (_) @name)) @def.heading
