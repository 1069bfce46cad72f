(function_item name: (identifier) @name return_type: (_)? @type) @def.function
(function_signature_item name: (identifier) @name return_type: (_)? @type) @def.function
(struct_item name: (type_identifier) @name) @def.struct
(field_declaration name: (field_identifier) @name type: (_) @type) @def.field
(enum_item name: (type_identifier) @name) @def.enum
(enum_variant name: (identifier) @name) @def.variant
(union_item name: (type_identifier) @name) @def.union
(trait_item name: (type_identifier) @name) @def.trait
(type_item name: (type_identifier) @name) @def.type
(associated_type name: (type_identifier) @name) @def.type
(const_item name: (identifier) @name type: (_) @type) @def.constant
(static_item name: (identifier) @name type: (_) @type) @def.variable
(mod_item name: (identifier) @name) @def.module
(macro_definition name: (identifier) @name) @def.macro

(impl_item type: (_) @name) @scope
(impl_item trait: [
  (type_identifier) @inherit
  (generic_type type: (type_identifier) @inherit)
  (scoped_type_identifier name: (type_identifier) @inherit)
])
(trait_bounds (type_identifier) @inherit)

(call_expression function: (identifier) @call)
(call_expression function: (scoped_identifier path: (_)? @receiver name: (identifier) @call))
(call_expression function: (field_expression value: (_) @receiver field: (field_identifier) @call))
(call_expression function: (generic_function function: (identifier) @call))
(call_expression function: (generic_function function: (scoped_identifier path: (_)? @receiver name: (identifier) @call)))
(call_expression function: (generic_function function: (field_expression value: (_) @receiver field: (field_identifier) @call)))
(macro_invocation macro: (identifier) @macro)
(macro_invocation macro: (scoped_identifier path: (_)? @receiver name: (identifier) @macro))
; What a macro is given has no tree, but `name(…)` in it is a call nearly always.
(token_tree (identifier) @call . (token_tree "("))

(scoped_type_identifier path: (_) @receiver name: (type_identifier) @type_use)
(type_identifier) @type_use
(scoped_identifier path: (_) @receiver name: (identifier) @value_use)
(arguments (identifier) @value_use)
(reference_expression (identifier) @value_use)
(field_initializer value: (identifier) @value_use)
(binary_expression (identifier) @value_use)
(index_expression . (identifier) @value_use)
(token_tree (identifier) @value_use)
(field_expression value: (identifier) @value_use)
(range_expression (identifier) @value_use)
(for_expression value: (identifier) @value_use)
(array_type length: (identifier) @value_use)
(array_expression (identifier) @value_use)
(tuple_expression (identifier) @value_use)
(let_declaration value: (identifier) @value_use)
(const_item value: (identifier) @value_use)
(match_arm value: (identifier) @value_use)
(closure_expression body: (identifier) @value_use)
(assignment_expression right: (identifier) @value_use)
(compound_assignment_expr right: (identifier) @value_use)
(unary_expression (identifier) @value_use)
(parenthesized_expression (identifier) @value_use)
(type_cast_expression value: (identifier) @value_use)
(return_expression (identifier) @value_use)
(block (identifier) @value_use .)

(parameter pattern: (identifier) @local type: (_) @type)
(parameter pattern: (mut_pattern (identifier) @local) type: (_) @type)
(let_declaration pattern: (identifier) @local type: (_)? @type value: (_)? @value)
(let_declaration pattern: (mut_pattern (identifier) @local) type: (_)? @type value: (_)? @value)
(let_condition pattern: (tuple_struct_pattern (identifier) @local) value: (_) @value)
(closure_parameters (identifier) @local)
(for_expression pattern: (identifier) @local)
(tuple_pattern (identifier) @local)
(tuple_struct_pattern type: (_) (identifier) @local)
(match_pattern (identifier) @local)

(use_declaration argument: (_) @use_tree)

[(line_comment) (block_comment)] @comment
(attribute_item) @attribute
