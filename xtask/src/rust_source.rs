//! Just enough Rust to tell which paths a file uses outside of its tests.
//!
//! It reads tokens and expands `use` groups. It knows no scopes and no macros: the checks built on
//! it catch what a person writes by habit, not what someone hides.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One path such as `std::env::var`, in code that is not a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    /// Where it starts.
    pub(crate) line: usize,
    /// Its parts; `*` for a glob.
    pub(crate) segments: Vec<String>,
    /// Whether an import gives it another name.
    pub(crate) renamed: bool,
}

/// A parsed file.
#[derive(Debug, Default)]
pub(crate) struct RustSource {
    /// The paths it uses.
    pub(crate) paths: Vec<PathUse>,
    /// Modules it declares for tests only, whose files do not count.
    test_modules: Vec<String>,
}

impl RustSource {
    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Self {
        let (tokens, test_modules) = without_tests(&tokens(text));
        Self {
            paths: paths(&tokens),
            test_modules,
        }
    }
}

/// The files below `folder` that are not tests, each with what was read from it.
pub(crate) fn sources_in(folder: &Path) -> Result<Vec<(PathBuf, RustSource)>> {
    let mut sources = Vec::new();
    for file in files_in(folder)? {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("failed to read `{}`", file.display()))?;
        sources.push((file, RustSource::parse(&text)));
    }
    let tests: BTreeSet<PathBuf> = sources
        .iter()
        .flat_map(|(file, source)| {
            source
                .test_modules
                .iter()
                .map(|name| module_folder(file).join(name))
        })
        .collect();
    sources.retain(|(file, _)| {
        !file
            .ancestors()
            .any(|part| tests.contains(&part.with_extension("")))
    });
    Ok(sources)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("failed to list `{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_in(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The folder that holds the modules a file declares.
fn module_folder(file: &Path) -> PathBuf {
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") => file.parent().unwrap_or(file).to_path_buf(),
        _ => file.with_extension(""),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text
            .starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// Names, `::` and single characters; neither comments nor literals.
fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner {
        rest: text,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(first) = scanner.rest.chars().next() {
        let line = scanner.line;
        if scanner.skip_blank_or_literal(first) {
            continue;
        }
        let length = match first {
            _ if first.is_alphanumeric() || first == '_' => name_length(scanner.rest),
            ':' if scanner.rest.starts_with("::") => 2,
            other => other.len_utf8(),
        };
        tokens.push(Token {
            line,
            text: scanner.rest[..length].to_owned(),
        });
        scanner.advance(length);
    }
    tokens
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl Scanner<'_> {
    fn advance(&mut self, length: usize) {
        let (passed, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    fn skip_blank_or_literal(&mut self, first: char) -> bool {
        let length = match first {
            _ if first.is_whitespace() => first.len_utf8(),
            '/' if self.rest.starts_with("//") => self.rest.find('\n').unwrap_or(self.rest.len()),
            '/' if self.rest.starts_with("/*") => block_comment_length(self.rest),
            '"' => 1 + quoted_length(&self.rest[1..], '"'),
            '\'' => quote_length(self.rest),
            'r' | 'b' | 'c' => match prefixed_literal_length(self.rest) {
                Some(length) => length,
                None => return false,
            },
            _ => return false,
        };
        self.advance(length);
        true
    }
}

fn name_length(text: &str) -> usize {
    text.find(|next: char| !next.is_alphanumeric() && next != '_')
        .unwrap_or(text.len())
}

fn block_comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            let Some(next) = rest.chars().next() else {
                return at;
            };
            at += next.len_utf8();
        }
        if depth == 0 {
            return at;
        }
    }
}

/// Length up to and including the closing quote.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in text.char_indices() {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if next == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// A character literal, or the quote of a lifetime.
fn quote_length(text: &str) -> usize {
    let mut inner = text[1..].chars();
    match (inner.next(), inner.next()) {
        (Some('\\'), _) | (_, Some('\'')) => 1 + quoted_length(&text[1..], '\''),
        _ => 1,
    }
}

/// A literal such as `b"…"`, `r#"…"#` or `b'x'`; `None` if a name starts here.
fn prefixed_literal_length(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(['"', '#', '\'']))
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let body = rest[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(prefix.len() + hashes + 1 + length);
    }
    match rest.as_bytes()[0] {
        b'"' => Some(prefix.len() + 1 + quoted_length(&rest[1..], '"')),
        b'\'' if prefix == "b" => Some(prefix.len() + 1 + quoted_length(&rest[1..], '\'')),
        _ => None,
    }
}

/// Drops items under `#[cfg(test)]`; returns the modules among them that are files of their own.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let Some(item) = test_attribute_end(tokens, at) else {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        };
        at = item_end(tokens, item);
        if let [keyword, name, end] = &tokens[item..at]
            && keyword.text == "mod"
            && end.text == ";"
        {
            modules.push(name.text.clone());
        }
    }
    (kept, modules)
}

fn test_attribute_end(tokens: &[Token], at: usize) -> Option<usize> {
    let starts_with = |expected: &[&str]| {
        tokens.len() >= at + expected.len()
            && expected
                .iter()
                .zip(&tokens[at..])
                .all(|(text, token)| token.text == *text)
    };
    if starts_with(&["#", "[", "cfg", "(", "test", ")", "]"])
        || starts_with(&["#", "[", "cfg", "(", "all", "(", "test"])
    {
        return Some(skip_attributes(tokens, at));
    }
    None
}

fn skip_attributes(tokens: &[Token], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| token.text == "#") {
        at = group_end(tokens, at + 1);
    }
    at
}

/// Past the `;` or the closing brace that ends the item.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match &*token.text {
            ";" => return at + 1,
            "{" => return group_end(tokens, at),
            "(" | "[" => at = group_end(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// Past the bracket that closes the one at `at`.
fn group_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(token) = tokens.get(at) {
        match &*token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn paths(tokens: &[Token]) -> Vec<PathUse> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let separated = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        at = if tokens[at].is_name() && separated {
            read_path(tokens, at, &[], &mut found)
        } else {
            at + 1
        };
    }
    found
}

/// Reads the path at `at`, every branch of it, and returns where it ends.
fn read_path(tokens: &[Token], at: usize, prefix: &[String], found: &mut Vec<PathUse>) -> usize {
    let line = tokens.get(at).map_or(0, |token| token.line);
    let mut segments = prefix.to_vec();
    let mut at = at;
    while let Some(token) = tokens.get(at) {
        match &*token.text {
            "{" => return read_branches(tokens, at + 1, &segments, found),
            "*" => segments.push("*".to_owned()),
            _ if token.is_name() => segments.push(token.text.clone()),
            _ => break,
        }
        at += 1;
        match tokens.get(at) {
            Some(next) if next.text == "::" => at += 1,
            _ => break,
        }
    }
    let renamed = tokens.get(at).is_some_and(|next| next.text == "as")
        // `x::y as u64` is a cast; after an import comes a name that is kept, not a type's end.
        && tokens.get(at + 2).is_some_and(|end| matches!(&*end.text, ";" | "," | "}"));
    found.push(PathUse {
        line,
        segments,
        renamed,
    });
    at
}

fn read_branches(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<PathUse>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match &*token.text {
            "}" => return at + 1,
            "," => at += 1,
            _ => {
                at = read_path(tokens, at, prefix, found);
                while tokens
                    .get(at)
                    .is_some_and(|next| !matches!(&*next.text, "," | "}"))
                {
                    at += 1;
                }
            }
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths_of(text: &str) -> Vec<String> {
        RustSource::parse(text)
            .paths
            .iter()
            .map(|path| path.segments.join("::"))
            .collect()
    }

    #[test]
    fn use_groups_are_expanded() {
        assert_eq!(
            paths_of("use std::{env, fs::{self, File}, io::*};"),
            ["std::env", "std::fs::self", "std::fs::File", "std::io::*"]
        );
    }

    #[test]
    fn paths_in_code_are_found_with_their_line() {
        let source = RustSource::parse("fn main() {\n    let x = env::var(\"X\");\n}\n");
        assert_eq!(source.paths[0].line, 2);
        assert_eq!(source.paths[0].segments, ["env", "var"]);
    }

    #[test]
    fn path_from_the_global_root_is_the_same_path() {
        assert_eq!(paths_of("::std::env::vars()"), ["std::env::vars"]);
    }

    #[test]
    fn renaming_is_noted_and_a_cast_elsewhere_is_not_lost() {
        let source = RustSource::parse("use std::env as e; let x = a::b as u64 + c::d;");
        assert!(source.paths[0].renamed);
        assert!(!source.paths[1].renamed);
        assert_eq!(source.paths[2].segments, ["c", "d"]);
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = r##"
            // a::b
            /* a::b /* a::b */ a::b */
            let text = "a::b \" a::b";
            let raw = r#"a::b " a::b"#;
            let bytes = b"a::b"; let quote = '"'; let escaped = '\''; let byte = b'\'';
            fn f<'a>(x: &'a str) { c::d }
            let r#type = e::f;
        "##;
        assert_eq!(paths_of(text), ["c::d", "e::f"]);
    }

    #[test]
    fn test_items_are_left_out_and_what_follows_is_not() {
        let text = "
            #[cfg(test)]
            use a::{b, c};
            #[cfg(test)]
            #[expect(dead_code)]
            mod tests { fn f() -> [u8; 3] { d::e() } }
            #[cfg(not(test))]
            fn g() { f::g() }
        ";
        assert_eq!(paths_of(text), ["f::g"]);
    }

    #[test]
    fn test_modules_in_files_are_left_out() {
        let folder = std::env::temp_dir().join(format!("xtask-source-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("lib.rs", "mod queue; #[cfg(test)] mod fixture;");
        write("queue.rs", "#[cfg(test)] mod tests;");
        write("queue/order.rs", "");
        write("queue/tests.rs", "");
        write("queue/tests/more.rs", "");
        write("fixture.rs", "");
        let found = sources_in(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();

        let names: Vec<_> = found
            .iter()
            .map(|(file, _)| file.strip_prefix(&folder).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["lib.rs", "queue/order.rs", "queue.rs"]);
    }
}
