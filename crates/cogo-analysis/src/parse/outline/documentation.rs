//! What stands before a definition: its documentation, and attributes that make it a test.

use super::Aside;
use crate::facts::{Definition, Kind};
use crate::language::Language;
use crate::parse::extract::{Names, slice};

/// Longest documentation that is kept.
const LENGTH_MAX: usize = 4000;

/// Gives each definition the comments right before it, and tells tests.
pub(super) fn attach(
    definitions: &mut [Definition],
    places: &[(u32, usize)],
    asides: &[Aside],
    language: Language,
    text: &[u8],
    names: &Names,
) {
    for (index, (start_line, start)) in places.iter().enumerate() {
        let mut next_line = *start_line;
        let mut at = asides.partition_point(|aside| aside.range.start < *start);
        let mut comments = Vec::new();
        let mut is_test = false;
        while let Some(aside) = at.checked_sub(1).map(|before| &asides[before]) {
            let is_adjacent = aside.end_line + 1 == next_line || aside.end_line == next_line;
            if !is_adjacent || is_trailing(aside, text) {
                break;
            }
            if aside.is_comment {
                comments.push(slice(text, &aside.range));
            } else {
                is_test |= is_test_attribute(&slice(text, &aside.range));
            }
            next_line = aside.start_line;
            at -= 1;
        }
        comments.reverse();
        let doc = cleaned(&comments.join("\n"));
        let parent_is_test = definitions[index]
            .parent
            .is_some_and(|parent| definitions[parent as usize].is_test);
        let definition = &mut definitions[index];
        definition.doc = (!doc.is_empty()).then_some(doc);
        let name = &names.list[definition.name as usize];
        definition.is_test |=
            is_test || parent_is_test || is_test_name(language, name, definition, text);
    }
}

/// A comment behind code belongs to that code.
fn is_trailing(aside: &Aside, text: &[u8]) -> bool {
    let before = &text[..aside.range.start];
    let line = before
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or(before);
    aside.is_comment && !line.trim_ascii().is_empty()
}

fn is_test_attribute(attribute: &str) -> bool {
    let attribute = attribute.trim_start_matches(['#', '[', ' ']);
    let name = attribute.split(['(', ']', '=', ' ']).next().unwrap_or("");
    name == "test"
        || name.ends_with("::test")
        || name == "rstest"
        || attribute.starts_with("cfg(test)")
}

fn is_test_name(language: Language, name: &str, definition: &Definition, text: &[u8]) -> bool {
    match language {
        Language::Python => {
            definition.kind.is_callable() && name.starts_with("test_")
                || definition.kind == Kind::Class && name.starts_with("Test")
        }
        Language::Go => {
            let is_test = ["Test", "Benchmark", "Fuzz", "Example"];
            definition.kind == Kind::Function
                && is_test.iter().any(|start| name.starts_with(start))
                && definition.signature.contains("testing.")
        }
        Language::Java | Language::Kotlin | Language::CSharp => {
            let end = (definition.end_byte as usize).min(definition.start_byte as usize + 200);
            let head = slice(text, &(definition.start_byte as usize..end));
            [
                "@Test",
                "@ParameterizedTest",
                "[Test]",
                "[Fact]",
                "[Theory]",
            ]
            .iter()
            .any(|mark| head.trim_start().starts_with(mark))
        }
        Language::Swift | Language::Ruby | Language::Php => {
            definition.kind.is_callable() && name.starts_with("test")
        }
        Language::Rust
        | Language::TypeScript
        | Language::Tsx
        | Language::JavaScript
        | Language::C
        | Language::Cpp
        | Language::Dart
        | Language::Bash
        | Language::Sql
        | Language::Html
        | Language::Css
        | Language::Json
        | Language::Yaml
        | Language::Toml
        | Language::Markdown => false,
    }
}

/// Whether a definition can be used from other modules, by the rules of its language.
pub(super) fn is_exported(language: Language, name: &str, signature: &str, kind: Kind) -> bool {
    let has = |word: &str| signature.split([' ', '(']).any(|found| found == word);
    match language {
        Language::Rust => signature.starts_with("pub") || kind == Kind::Variant,
        Language::Python | Language::Dart => !name.starts_with('_'),
        Language::Go => name.starts_with(char::is_uppercase),
        Language::TypeScript | Language::Tsx | Language::JavaScript => {
            matches!(kind, Kind::Method | Kind::Field | Kind::Variant)
                && !has("private")
                && !name.starts_with('#')
        }
        Language::Java | Language::CSharp => has("public") || has("protected"),
        Language::C | Language::Cpp => !has("static"),
        Language::Kotlin | Language::Swift | Language::Php => !has("private"),
        Language::Ruby
        | Language::Bash
        | Language::Sql
        | Language::Html
        | Language::Css
        | Language::Json
        | Language::Yaml
        | Language::Toml
        | Language::Markdown => true,
    }
}

/// A comment or docstring without its signs.
pub(super) fn cleaned(text: &str) -> String {
    let text = text
        .trim()
        .trim_start_matches(['r', 'b', 'u', 'R'])
        .trim_matches(['"', '\'']);
    let mut doc = String::new();
    for line in text.lines() {
        let line = line.trim();
        let line = ["///", "//!", "//", "/**", "/*", "*/", "##", "#", "*", "--"]
            .iter()
            .find_map(|sign| line.strip_prefix(sign))
            .unwrap_or(line);
        let line = line.trim_end_matches("*/").trim();
        if !doc.is_empty() {
            doc.push('\n');
        }
        doc.push_str(line);
        if doc.len() > LENGTH_MAX {
            break;
        }
    }
    doc.trim().to_owned()
}
