//! What stands before a name, in one form for all languages.
//!
//! `Store::open(path)?.files` becomes `Store.open().files`: names with dots between, `()` behind
//! what is called, `[]` behind what is indexed. What is not such a chain has no form.

/// Longest text that is looked at.
const LENGTH_MAX: usize = 400;

/// The chain that a text is, or `None` if it is something else.
pub fn chain(text: &str) -> Option<String> {
    if text.len() > LENGTH_MAX {
        return None;
    }
    let text = strip_prefixes(text.trim());
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        match bytes[at] {
            b'(' | b'[' | b'<' | b'{' => {
                let end = at + balanced(rest)?;
                match bytes[at] {
                    // A chain in parentheses is that chain.
                    b'(' if out.is_empty() => {
                        let inner = chain(&text[at + 1..end - 1])?;
                        out.push_str(&inner);
                    }
                    b'(' => out.push_str("()"),
                    b'[' if !out.is_empty() => out.push_str("[]"),
                    b'<' if !out.is_empty() => {}
                    _ => return None,
                }
                at = end;
            }
            b':' if rest.starts_with("::") => at += dot(&mut out, 2),
            b'-' if rest.starts_with("->") => at += dot(&mut out, 2),
            b'.' => at += dot(&mut out, 1),
            b'?' | b'!' | b' ' | b'\n' | b'\t' | b'\r' => at += 1,
            _ => {
                let length = word(rest);
                if length == 0 || out.ends_with(|c: char| c.is_alphanumeric() || c == ')') {
                    return None;
                }
                if &rest[..length] == "await" && out.ends_with('.') {
                    out.pop();
                } else {
                    out.push_str(&rest[..length]);
                }
                at += length;
            }
        }
    }
    let out = out.trim_matches('.');
    (!out.is_empty()).then(|| out.to_owned())
}

/// Adds a dot, once.
fn dot(out: &mut String, length: usize) -> usize {
    if !out.ends_with('.') {
        out.push('.');
    }
    length
}

/// Words and signs before a chain that leave its type alone.
fn strip_prefixes(mut text: &str) -> &str {
    const PREFIXES: [&str; 7] = ["&mut ", "&", "*", "new ", "await ", "mut ", "::"];
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim_start();
    }
    text
}

/// The length of a name at the start of a text.
fn word(text: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '@' || c == '#';
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// The length of what is between brackets at the start of a text, brackets included.
fn balanced(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut previous = 0;
    for (at, byte) in text.bytes().enumerate() {
        #[expect(
            clippy::match_same_arms,
            reason = "within a quote nothing counts, outside some does"
        )]
        match (quote, byte) {
            (Some(open), byte) if byte == open && previous != b'\\' => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'`') => quote = Some(byte),
            (None, b'(' | b'[' | b'{' | b'<') => depth += 1,
            (None, b'>') if matches!(previous, b'-' | b'=') => {}
            (None, b')' | b']' | b'}' | b'>') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            (None, _) => {}
        }
        previous = byte;
    }
    None
}

/// The name of a type, without its parameters, references and wrappers that methods see through.
pub fn type_name(text: &str) -> Option<String> {
    const WRAPPERS: [&str; 17] = [
        "Option",
        "Result",
        "Box",
        "Arc",
        "Rc",
        "Vec",
        "Promise",
        "Optional",
        "List",
        "Awaitable",
        "Type",
        "type",
        "io",
        "Readonly",
        "Ref",
        "RefMut",
        "MutexGuard",
    ];
    let mut text = text.trim().trim_start_matches([':', '>', '-']).trim();
    for _ in 0..8 {
        text = strip_prefixes(text).trim_start_matches(['?', '"']);
        // A name in quotes, as in Python; one quote alone begins a lifetime.
        if text.len() > 1 && text.ends_with('\'') {
            text = text.trim_matches('\'');
        }
        for word in ["dyn ", "impl ", "const ", "struct ", "static "] {
            text = text.strip_prefix(word).unwrap_or(text).trim_start();
        }
        // The lifetime of a reference.
        if let Some(rest) = text.strip_prefix('\'') {
            text = rest.split_once(' ').map_or("", |(_, rest)| rest);
            continue;
        }
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || "_.:$".contains(c)))
            .unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        let path = path.trim_matches([':', '.']);
        let name = path.rsplit([':', '.']).next().unwrap_or(path);
        let is_open = rest.trim_start().starts_with(['<', '[']);
        if is_open && WRAPPERS.contains(&name) && rest.len() > 1 {
            text = rest.trim_start()[1..].trim_start();
            continue;
        }
        return (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))
            .then(|| path.replace("::", "."));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_have_one_form() {
        let cases = [
            ("self", Some("self")),
            (
                "Store::open(path, \")\")?.files",
                Some("Store.open().files"),
            ),
            ("a->b.c[3]", Some("a.b.c[]")),
            ("(&mut self.x)", Some("self.x")),
            ("Vec::<u8>::new()", Some("Vec.new()")),
            ("this.#x?.y!", Some("this.#x.y")),
            ("self.f().await", Some("self.f()")),
            ("new Foo(1)", Some("Foo()")),
            ("a + b", None),
            ("\"text\"", None),
            ("[1, 2]", None),
            ("(((", None),
            ("", None),
        ];
        for (text, form) in cases {
            assert_eq!(chain(text).as_deref(), form, "{text}");
        }
    }

    #[test]
    fn types_are_seen_through_wrappers() {
        let cases = [
            ("Store", Some("Store")),
            ("&'a mut Store", Some("Store")),
            (
                "-> Result<Option<store::Store>, Error>",
                Some("store.Store"),
            ),
            (": Promise<Foo>", Some("Foo")),
            ("Optional[\"Foo\"]", Some("Foo")),
            ("*http.Client", Some("http.Client")),
            ("[]*Node", None),
            ("HashMap<String, u8>", Some("HashMap")),
            ("(A, B)", None),
        ];
        for (text, name) in cases {
            assert_eq!(type_name(text).as_deref(), name, "{text}");
        }
    }
}
