(class_declaration name: (identifier) @name) @def.class
(mixin_declaration name: (identifier) @name) @def.class
(extension_declaration name: (identifier) @name) @def.class
(enum_declaration name: (identifier) @name) @def.enum
(enum_entry name: (identifier) @name) @def.variant
(type_alias (type_identifier) @name) @def.type
(function_declaration signature: (function_signature return_type: (_)? @type name: (identifier) @name)) @def.function
(method_signature (function_signature return_type: (_)? @type name: (identifier) @name)) @def.method
(method_signature (getter_signature return_type: (_)? @type name: (identifier) @name)) @def.method
(constructor_signature name: (identifier) @name) @def.method
(factory_constructor_signature name: (identifier) @name) @def.method
(top_level_variable_declaration (initialized_identifier_list (initialized_identifier name: (identifier) @name))) @def.variable
(superclass type: (type . (type_identifier) @inherit))
(interfaces (type . (type_identifier) @inherit))
(call_expression function: (identifier) @call)
(call_expression function: (member_expression property: (identifier) @call))
(type_identifier) @type_use
(comment) @comment
