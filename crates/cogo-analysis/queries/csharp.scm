(class_declaration name: (identifier) @name) @def.class
(record_declaration name: (identifier) @name) @def.class
(struct_declaration name: (identifier) @name) @def.struct
(interface_declaration name: (identifier) @name) @def.interface
(enum_declaration name: (identifier) @name) @def.enum
(enum_member_declaration name: (identifier) @name) @def.variant
(method_declaration returns: (_) @type name: (identifier) @name) @def.method
(constructor_declaration name: (identifier) @name) @def.method
(local_function_statement name: (identifier) @name) @def.function
(delegate_declaration name: (identifier) @name) @def.type
(property_declaration type: (_) @type name: (identifier) @name) @def.field
(field_declaration (variable_declaration type: (_) @type (variable_declarator name: (identifier) @name))) @def.field

(base_list [(identifier) @inherit (generic_name (identifier) @inherit) (qualified_name name: (identifier) @inherit)])

(invocation_expression function: (identifier) @call)
(invocation_expression function: (member_access_expression expression: (_) @receiver name: (identifier) @call))
(invocation_expression function: (member_access_expression expression: (_) @receiver name: (generic_name (identifier) @call)))
(invocation_expression function: (generic_name (identifier) @call))
(object_creation_expression type: [(identifier) @call (generic_name (identifier) @call)])

(variable_declaration type: (identifier) @type_use)
(parameter type: (identifier) @type_use)
(type_argument_list (identifier) @type_use)
(argument (identifier) @value_use)

(parameter type: (_)? @type name: (identifier) @local)
(local_declaration_statement (variable_declaration type: (_) @type (variable_declarator name: (identifier) @local)))
(foreach_statement left: (identifier) @local)

(namespace_declaration name: (_) @package)
(file_scoped_namespace_declaration name: (_) @package)
(using_directive [(qualified_name) (identifier)] @import.module @import.wildcard)
(comment) @comment
