(table . [(bare_key) (dotted_key) (quoted_key)] @name) @def.table
(table_array_element . [(bare_key) (dotted_key) (quoted_key)] @name) @def.table
(document (pair . [(bare_key) (dotted_key) (quoted_key)] @name) @def.key)
