(class_declaration name: (identifier) @name) @def.class
(object_declaration name: (identifier) @name) @def.class
(function_declaration name: (identifier) @name) @def.function
(enum_entry (identifier) @name) @def.variant
(type_alias type: (identifier) @name) @def.type
(class_body (property_declaration (variable_declaration (identifier) @name (user_type)? @type)) @def.field)
(source_file (property_declaration (variable_declaration (identifier) @name (user_type)? @type)) @def.variable)
(class_parameter (identifier) @name (user_type)? @type) @def.field
(delegation_specifier (user_type (identifier) @inherit))
(delegation_specifier (constructor_invocation (user_type (identifier) @inherit)))
(call_expression . (identifier) @call)
(call_expression . (navigation_expression . (_) @receiver (identifier) @call .))
(user_type (identifier) @type_use)
(value_argument (identifier) @value_use)
(parameter (identifier) @local (user_type)? @type)
(property_declaration (variable_declaration (identifier) @local (user_type)? @type))
(package_header (qualified_identifier) @package)
(import (qualified_identifier) @import.module)
[(line_comment) (block_comment)] @comment
