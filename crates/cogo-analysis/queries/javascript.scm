(function_declaration name: (_) @name) @def.function
(generator_function_declaration name: (_) @name) @def.function
(class_declaration name: (_) @name) @def.class
(method_definition name: (_) @name) @def.method
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) @def.function
(variable_declarator name: (identifier) @name value: (class)) @def.class
(program (lexical_declaration (variable_declarator name: (identifier) @name value: (_)? @value) @def.constant))
(program (variable_declaration (variable_declarator name: (identifier) @name value: (_)? @value) @def.variable))
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name value: (_)? @value) @def.constant)))
(program (export_statement (variable_declaration (variable_declarator name: (identifier) @name value: (_)? @value) @def.variable)))
(assignment_expression
  left: (member_expression object: (_) @owner property: (property_identifier) @name)
  right: [(arrow_function) (function_expression)]) @def.method
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @def.method
; `describe("…", …)` and `it("…", …)` name tests.
((call_expression function: (identifier) @_test arguments: (arguments . (string (string_fragment) @name))) @def.test
  (#any-of? @_test "it" "test" "describe" "suite"))

(call_expression function: (identifier) @call)
(call_expression function: (member_expression object: (_) @receiver property: (_) @call))
(new_expression constructor: (identifier) @call)
(new_expression constructor: (member_expression object: (_) @receiver property: (_) @call))
(call_expression function: (await_expression (identifier) @call))

(arguments (identifier) @value_use)
(pair value: (identifier) @value_use)
(shorthand_property_identifier) @value_use
(assignment_expression right: (identifier) @value_use)
(variable_declarator value: (identifier) @value_use)
(return_statement (identifier) @value_use)
(member_expression object: (identifier) @value_use)
(array (identifier) @value_use)
(binary_expression (identifier) @value_use)

(arrow_function parameter: (identifier) @local)
(variable_declarator name: (identifier) @local value: (_)? @value)
(shorthand_property_identifier_pattern) @local
(array_pattern (identifier) @local)
(rest_pattern (identifier) @local)
(catch_clause parameter: (identifier) @local)
(for_in_statement left: (identifier) @local)

(import_statement (import_clause (identifier) @import.default) source: (string (string_fragment) @import.module))
(import_statement (import_clause (named_imports (import_specifier name: (_) @import.name alias: (_)? @import.alias))) source: (string (string_fragment) @import.module))
(import_statement (import_clause (namespace_import (identifier) @import.alias)) source: (string (string_fragment) @import.module))
(import_statement . (string (string_fragment) @import.module))
(export_statement (export_clause (export_specifier name: (_) @import.name alias: (_)? @import.alias)) source: (string (string_fragment) @import.module))
(export_statement "*" @import.wildcard source: (string (string_fragment) @import.module))
(variable_declarator name: (identifier) @import.alias
  value: (call_expression function: (identifier) @_require arguments: (arguments . (string (string_fragment) @import.module)))
  (#eq? @_require "require"))
(variable_declarator name: (object_pattern (shorthand_property_identifier_pattern) @import.name)
  value: (call_expression function: (identifier) @_require arguments: (arguments . (string (string_fragment) @import.module)))
  (#eq? @_require "require"))

(comment) @comment
