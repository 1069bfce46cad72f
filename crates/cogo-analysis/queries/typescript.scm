(function_declaration name: (_) @name return_type: (_) @type) @def.function
(method_definition name: (_) @name return_type: (_) @type) @def.method
(variable_declarator name: (identifier) @name value: (arrow_function return_type: (_) @type)) @def.function
(public_field_definition name: (_) @name type: (_)? @type value: (_)? @value) @def.field
(abstract_class_declaration name: (_) @name) @def.class
(interface_declaration name: (_) @name) @def.interface
(type_alias_declaration name: (_) @name) @def.type
(enum_declaration name: (_) @name) @def.enum
(enum_body name: (property_identifier) @name @def.variant)
(enum_assignment name: (property_identifier) @name) @def.variant
(internal_module name: (_) @name) @def.module
(module name: (identifier) @name) @def.module
(function_signature name: (_) @name return_type: (_)? @type) @def.function
(method_signature name: (property_identifier) @name return_type: (_)? @type) @def.method
(abstract_method_signature name: (property_identifier) @name return_type: (_)? @type) @def.method
(property_signature name: (property_identifier) @name type: (_)? @type) @def.field
(ambient_declaration (lexical_declaration (variable_declarator name: (identifier) @name type: (_)? @type) @def.constant))
; A parameter of a constructor with `private` or the like is a field too.
(required_parameter (accessibility_modifier) pattern: (identifier) @name type: (_)? @type) @def.field

(extends_clause value: (identifier) @inherit)
(extends_clause value: (member_expression object: (_) @receiver property: (_) @inherit))
(implements_clause [(type_identifier) @inherit (generic_type name: (type_identifier) @inherit)])
(extends_type_clause type: [(type_identifier) @inherit (generic_type name: (type_identifier) @inherit)])

(nested_type_identifier module: (_) @receiver name: (type_identifier) @type_use)
(type_identifier) @type_use

(required_parameter pattern: (identifier) @local type: (_)? @type)
(optional_parameter pattern: (identifier) @local type: (_)? @type)
(variable_declarator name: (identifier) @local type: (_) @type)
