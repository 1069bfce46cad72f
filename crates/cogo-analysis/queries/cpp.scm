(class_specifier name: (_) @name body: (_)) @def.class
(namespace_definition name: (_) @name) @def.module
(alias_declaration name: (type_identifier) @name) @def.type
(function_definition type: (_)? @type declarator: (function_declarator declarator: [(field_identifier) (destructor_name) (operator_name)] @name)) @def.function
(function_definition declarator: (function_declarator declarator: (identifier) @name)) @def.function
(function_definition type: (_)? @type declarator: (function_declarator declarator: (qualified_identifier scope: (_) @owner name: [(identifier) (destructor_name) (operator_name)] @name))) @def.method
(function_definition declarator: (function_declarator declarator: (qualified_identifier name: (qualified_identifier scope: (_) @owner name: [(identifier) (destructor_name) (operator_name)] @name)))) @def.method
(function_definition type: (_)? @type declarator: (reference_declarator (function_declarator declarator: [(identifier) (field_identifier) (operator_name)] @name))) @def.function
(function_definition type: (_)? @type declarator: (reference_declarator (function_declarator declarator: (qualified_identifier scope: (_) @owner name: [(identifier) (operator_name)] @name)))) @def.method
(function_definition type: (_)? @type declarator: (pointer_declarator declarator: (function_declarator declarator: [(field_identifier) (operator_name)] @name))) @def.function
(function_definition type: (_)? @type declarator: (pointer_declarator declarator: (function_declarator declarator: (qualified_identifier scope: (_) @owner name: (identifier) @name)))) @def.method
(field_declaration type: (_) @type declarator: (reference_declarator (field_identifier) @name)) @def.field

(base_class_clause [(type_identifier) @inherit (qualified_identifier name: (type_identifier) @inherit) (template_type name: (type_identifier) @inherit)])

(call_expression function: (qualified_identifier scope: (_) @receiver name: (identifier) @call))
(call_expression function: (template_function name: (identifier) @call))
(call_expression function: (qualified_identifier scope: (_) @receiver name: (template_function name: (identifier) @call)))
(call_expression function: (qualified_identifier name: (qualified_identifier scope: (_) @receiver name: (identifier) @call)))
(new_expression type: (type_identifier) @call)
(qualified_identifier scope: (_) @receiver name: (identifier) @value_use)

(parameter_declaration type: (_) @type declarator: (reference_declarator (identifier) @local))
(optional_parameter_declaration type: (_) @type declarator: (identifier) @local)
(for_range_loop declarator: (_) @local)
