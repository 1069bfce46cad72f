(function_definition name: (identifier) @name return_type: (type)? @type) @def.function
(class_definition name: (identifier) @name) @def.class
(module (expression_statement (assignment left: (identifier) @name type: (type)? @type right: (_)? @value) @def.variable))
(class_definition body: (block (expression_statement (assignment left: (identifier) @name type: (type)? @type right: (_)? @value) @def.field)))
((assignment left: (attribute object: (identifier) @_self attribute: (identifier) @name) type: (type)? @type right: (_)? @value) @def.field
  (#eq? @_self "self"))

(class_definition superclasses: (argument_list [
  (identifier) @inherit
  (attribute object: (_) @receiver attribute: (identifier) @inherit)
  (subscript value: (identifier) @inherit)
]))

(call function: (identifier) @call)
(call function: (attribute object: (_) @receiver attribute: (identifier) @call))
(decorator (identifier) @call)
(decorator (attribute object: (_) @receiver attribute: (identifier) @call))

(type (identifier) @type_use)
(type (attribute object: (_) @receiver attribute: (identifier) @type_use))
(generic_type (identifier) @type_use)
(type (binary_operator (identifier) @type_use))
(argument_list (identifier) @value_use)
(keyword_argument value: (identifier) @value_use)
(assignment right: (identifier) @value_use)
(return_statement (identifier) @value_use)
(attribute object: (identifier) @value_use)
(subscript value: (identifier) @value_use)
(comparison_operator (identifier) @value_use)
(binary_operator (identifier) @value_use)
(except_clause (identifier) @value_use)
(raise_statement (identifier) @value_use)
(tuple (identifier) @value_use)
(list (identifier) @value_use)
(pair value: (identifier) @value_use)
(attribute object: (identifier) @receiver attribute: (identifier) @value_use)

(typed_parameter (identifier) @local type: (type) @type)
(parameters (identifier) @local)
(default_parameter name: (identifier) @local)
(typed_default_parameter name: (identifier) @local type: (type) @type)
(lambda_parameters (identifier) @local)
(assignment left: (identifier) @local type: (type)? @type right: (_)? @value)
(pattern_list (identifier) @local)
(for_statement left: (identifier) @local)
(for_in_clause left: (identifier) @local)
(as_pattern (_) @value alias: (as_pattern_target (identifier) @local))
(named_expression name: (identifier) @local value: (_) @value)

(import_statement name: (dotted_name) @import.module)
(import_statement name: (aliased_import name: (dotted_name) @import.module alias: (identifier) @import.alias))
(import_from_statement module_name: (_) @import.module name: (dotted_name) @import.name)
(import_from_statement module_name: (_) @import.module name: (aliased_import name: (dotted_name) @import.name alias: (identifier) @import.alias))
(import_from_statement module_name: (_) @import.module (wildcard_import) @import.wildcard)

(function_definition body: (block . (expression_statement (string) @docstring)))
(class_definition body: (block . (expression_statement (string) @docstring)))
(comment) @comment
