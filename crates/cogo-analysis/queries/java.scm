(class_declaration name: (identifier) @name) @def.class
(record_declaration name: (identifier) @name) @def.class
(interface_declaration name: (identifier) @name) @def.interface
(annotation_type_declaration name: (identifier) @name) @def.interface
(annotation_type_element_declaration name: (identifier) @name) @def.method
(enum_declaration name: (identifier) @name) @def.enum
(enum_constant name: (identifier) @name) @def.variant
(method_declaration type: (_) @type name: (identifier) @name) @def.method
(constructor_declaration name: (identifier) @name) @def.method
(compact_constructor_declaration name: (identifier) @name) @def.method
(field_declaration type: (_) @type declarator: (variable_declarator name: (identifier) @name)) @def.field
(constant_declaration type: (_) @type declarator: (variable_declarator name: (identifier) @name)) @def.field

(superclass [(type_identifier) @inherit (generic_type (type_identifier) @inherit) (scoped_type_identifier (type_identifier) @inherit .)])
(super_interfaces (type_list [(type_identifier) @inherit (generic_type (type_identifier) @inherit)]))
(extends_interfaces (type_list [(type_identifier) @inherit (generic_type (type_identifier) @inherit)]))

(method_invocation object: (_)? @receiver name: (identifier) @call)
(object_creation_expression type: [(type_identifier) @call (generic_type (type_identifier) @call)])
(method_reference . (_) @receiver (identifier) @call .)

(type_identifier) @type_use
(field_access object: (_) @receiver field: (identifier) @value_use)
(argument_list (identifier) @value_use)
(binary_expression (identifier) @value_use)
(assignment_expression (identifier) @value_use)
(return_statement (identifier) @value_use)
(method_invocation object: (identifier) @value_use)
(annotation name: (identifier) @type_use)
(marker_annotation name: (identifier) @type_use)

(formal_parameter type: (_) @type name: (identifier) @local)
(local_variable_declaration type: (_) @type declarator: (variable_declarator name: (identifier) @local value: (_)? @value))
(enhanced_for_statement type: (_) @type name: (identifier) @local)
(lambda_expression parameters: (identifier) @local)
(inferred_parameters (identifier) @local)
(catch_formal_parameter name: (identifier) @local)
(resource type: (_) @type name: (identifier) @local)

(package_declaration (_) @package)
(import_declaration (scoped_identifier) @import.module)
(import_declaration (scoped_identifier) @import.module (asterisk) @import.wildcard)
[(line_comment) (block_comment)] @comment
