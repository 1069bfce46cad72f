(function_declaration name: (identifier) @name result: (_)? @type) @def.function
(method_declaration receiver: (parameter_list (parameter_declaration type: (_) @owner)) name: (field_identifier) @name result: (_)? @type) @def.method
(type_spec name: (type_identifier) @name type: (struct_type)) @def.struct
(type_spec name: (type_identifier) @name type: (interface_type)) @def.interface
(type_spec name: (type_identifier) @name type: (_) @type) @def.type
(type_alias name: (type_identifier) @name type: (_) @type) @def.type
(field_declaration name: (field_identifier) @name type: (_) @type) @def.field
(method_elem name: (field_identifier) @name result: (_)? @type) @def.method
(source_file (const_declaration (const_spec name: (identifier) @name type: (_)? @type) @def.constant))
(source_file (var_declaration (var_spec name: (identifier) @name type: (_)? @type value: (expression_list . (_) @value)?) @def.variable))
(source_file (var_declaration (var_spec_list (var_spec name: (identifier) @name type: (_)? @type value: (expression_list . (_) @value)?) @def.variable)))

(field_declaration !name type: (type_identifier) @inherit)
(type_elem (type_identifier) @inherit)

(call_expression function: (identifier) @call)
(call_expression function: (selector_expression operand: (_) @receiver field: (field_identifier) @call))
(call_expression function: (parenthesized_expression (identifier) @call))

(qualified_type package: (package_identifier) @receiver name: (type_identifier) @type_use)
(type_identifier) @type_use
(argument_list (identifier) @value_use)
(selector_expression operand: (identifier) @receiver field: (field_identifier) @value_use)
(binary_expression (identifier) @value_use)
(expression_list (identifier) @value_use)
(literal_element (identifier) @value_use)
(unary_expression (identifier) @value_use)
(index_expression operand: (identifier) @value_use)

(parameter_declaration name: (identifier) @local type: (_) @type)
(variadic_parameter_declaration name: (identifier) @local)
(short_var_declaration left: (expression_list . (identifier) @local) right: (expression_list . (_) @value))
(short_var_declaration left: (expression_list (identifier) @local))
(var_spec name: (identifier) @local type: (_)? @type value: (expression_list . (_) @value)?)
(const_spec name: (identifier) @local)
(range_clause left: (expression_list (identifier) @local))

(package_clause (package_identifier) @package)
(import_spec name: (package_identifier)? @import.alias path: (_) @import.module)
(import_spec name: (dot) @import.wildcard path: (_) @import.module)
(comment) @comment
