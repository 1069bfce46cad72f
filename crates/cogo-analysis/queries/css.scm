(rule_set (selectors) @name) @def.rule
