(class_declaration name: (name) @name) @def.class
(interface_declaration name: (name) @name) @def.interface
(trait_declaration name: (name) @name) @def.trait
(enum_declaration name: (name) @name) @def.enum
(enum_case name: (name) @name) @def.variant
(function_definition name: (name) @name return_type: (_)? @type) @def.function
(method_declaration name: (name) @name return_type: (_)? @type) @def.method
(property_declaration type: (_)? @type (property_element name: (variable_name (name) @name))) @def.field
(const_declaration (const_element (name) @name)) @def.constant
(base_clause [(name) @inherit (qualified_name (name) @inherit)])
(class_interface_clause [(name) @inherit (qualified_name (name) @inherit)])
(function_call_expression function: (name) @call)
(function_call_expression function: (qualified_name (name) @call))
(member_call_expression object: (_) @receiver name: (name) @call)
(scoped_call_expression scope: (_) @receiver name: (name) @call)
(object_creation_expression [(name) @call (qualified_name (name) @call)])
(named_type (name) @type_use)
(simple_parameter type: (_)? @type name: (variable_name (name) @local))
(assignment_expression left: (variable_name (name) @local) right: (_) @value)
(namespace_definition name: (namespace_name) @package)
(namespace_use_clause (qualified_name (namespace_name) @import.module (name) @import.name))
(comment) @comment
