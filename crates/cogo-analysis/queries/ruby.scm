(method name: (_) @name) @def.function
(singleton_method name: (_) @name) @def.function
(class name: (constant) @name) @def.class
(class name: (scope_resolution name: (_) @name)) @def.class
(module name: (constant) @name) @def.module
(module name: (scope_resolution name: (_) @name)) @def.module
(assignment left: (constant) @name) @def.constant
(superclass [(constant) @inherit (scope_resolution name: (_) @inherit)])
(call receiver: (_) @receiver method: (_) @call)
(call !receiver method: (identifier) @call)
(scope_resolution scope: (_) @receiver name: (constant) @value_use)
(constant) @value_use
(assignment left: (identifier) @local right: (_) @value)
(method_parameters (identifier) @local)
(block_parameters (identifier) @local)
(optional_parameter name: (identifier) @local)
(keyword_parameter name: (identifier) @local)
((call method: (identifier) @_require arguments: (argument_list (string (string_content) @import.module)))
  (#any-of? @_require "require" "require_relative" "load"))
(comment) @comment
