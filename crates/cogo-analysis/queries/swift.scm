(class_declaration declaration_kind: "struct" name: (type_identifier) @name) @def.struct
(class_declaration declaration_kind: "enum" name: (type_identifier) @name) @def.enum
(class_declaration declaration_kind: ["class" "actor"] name: (type_identifier) @name) @def.class
(class_declaration declaration_kind: "extension" name: (user_type) @name) @scope
(protocol_declaration name: (type_identifier) @name) @def.interface
(protocol_function_declaration name: (simple_identifier) @name) @def.method
(function_declaration name: (simple_identifier) @name return_type: (_)? @type) @def.function
(init_declaration "init" @name) @def.method
(enum_entry name: (simple_identifier) @name) @def.variant
(typealias_declaration name: (type_identifier) @name) @def.type
(class_body (property_declaration name: (pattern (simple_identifier) @name) (type_annotation)? @type) @def.field)
(source_file (property_declaration name: (pattern (simple_identifier) @name)) @def.variable)
(inheritance_specifier inherits_from: (user_type (type_identifier) @inherit))
(call_expression . (simple_identifier) @call)
(call_expression . (navigation_expression target: (_) @receiver suffix: (navigation_suffix suffix: (simple_identifier) @call)))
(user_type (type_identifier) @type_use)
(value_argument value: (simple_identifier) @value_use)
(parameter name: (simple_identifier) @local type: (_) @type)
(property_declaration name: (pattern (simple_identifier) @local))
(import_declaration (identifier) @import.module)
[(comment) (multiline_comment)] @comment
(attribute) @attribute
