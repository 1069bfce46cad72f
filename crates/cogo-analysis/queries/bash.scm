(function_definition name: (word) @name) @def.function
(program (variable_assignment name: (variable_name) @name) @def.variable)
(command name: (command_name (word) @call))
((command name: (command_name (word) @_source) argument: (word) @import.module)
  (#any-of? @_source "source" "."))
(comment) @comment
