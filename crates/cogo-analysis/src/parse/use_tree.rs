//! The tree behind a Rust `use`, as single imports.

/// One name, or all names, of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UsedPath {
    pub(super) module: String,
    pub(super) name: Option<String>,
    pub(super) alias: Option<String>,
    pub(super) is_wildcard: bool,
}

/// Deepest nesting of braces that is looked at.
const DEPTH_MAX: usize = 32;

/// Takes `a::{b, c as d, e::*, self}` apart.
pub(super) fn expand(text: &str) -> Vec<UsedPath> {
    let mut found = Vec::new();
    let mut prefixes: Vec<String> = vec![String::new()];
    let mut current = String::new();
    for c in text.chars() {
        match c {
            '{' => {
                let prefix = prefixes.last().cloned().unwrap_or_default() + current.trim();
                current.clear();
                prefixes.push(prefix);
                if prefixes.len() > DEPTH_MAX {
                    return found;
                }
            }
            ',' | '}' => {
                let prefix = prefixes.last().map_or("", String::as_str);
                found.extend(path(prefix, &current));
                current.clear();
                if c == '}' && prefixes.len() > 1 {
                    prefixes.pop();
                }
            }
            c => current.push(c),
        }
    }
    found.extend(path(prefixes.last().map_or("", String::as_str), &current));
    found
}

fn path(prefix: &str, text: &str) -> Option<UsedPath> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let (text, alias) = match text.split_once(" as ") {
        Some((text, alias)) => (text.trim(), Some(alias.trim().to_owned())),
        None => (text, None),
    };
    let full = format!("{prefix}{text}");
    let full = full.trim_start_matches("::");
    let (module, last) = full.rsplit_once("::").unwrap_or(("", full));
    let is_self = last == "self" && !module.is_empty();
    let (module, last) = if is_self {
        module.rsplit_once("::").unwrap_or(("", module))
    } else {
        (module, last)
    };
    let is_wildcard = last == "*";
    Some(UsedPath {
        module: module.to_owned(),
        name: (!is_wildcard).then(|| last.to_owned()),
        alias,
        is_wildcard,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |used: UsedPath| {
            let name = used.name.unwrap_or_else(|| "*".to_owned());
            let alias = used
                .alias
                .map_or(String::new(), |alias| format!("={alias}"));
            format!("{} {name}{alias}", used.module)
        };
        expand(text).into_iter().map(show).collect()
    }

    #[test]
    fn trees_are_taken_apart() {
        assert_eq!(shown("std::fs"), ["std fs"]);
        assert_eq!(
            shown("a::{b, c as d, e::{*, f}, self}"),
            ["a b", "a c=d", "a::e *", "a::e f", " a"]
        );
        assert_eq!(shown("crate::x::Y as _"), ["crate::x Y=_"]);
        assert_eq!(shown("{"), Vec::<String>::new());
    }
}
