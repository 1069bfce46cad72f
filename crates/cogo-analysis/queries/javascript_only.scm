(field_definition property: (_) @name value: (_)? @value) @def.field
(class_heritage (identifier) @inherit)
(class_heritage (member_expression object: (_) @receiver property: (_) @inherit))
(formal_parameters (identifier) @local)
(formal_parameters (assignment_pattern left: (identifier) @local))
