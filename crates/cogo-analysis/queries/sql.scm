(create_table (object_reference name: (identifier) @name)) @def.table
(create_view (object_reference name: (identifier) @name)) @def.table
(create_function (object_reference name: (identifier) @name)) @def.function
(relation (object_reference name: (identifier) @value_use))
(comment) @comment
