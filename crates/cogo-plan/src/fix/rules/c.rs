//! Rules for gcc and clang.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::names::relative;
use super::symbols::definitions;
use super::{Candidate, Case};

/// What the compiler says of a header, in a message or in a note.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"include [‘'`]?(<[\w./+-]+>)|header [‘'`](<[\w./+-]+>)")
        .expect("the pattern is sound")
});

const HEADERS: [&str; 3] = ["h", "hpp", "hh"];

pub(super) fn candidates(case: &Case) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = standard_header(case).into_iter().collect();
    let message = case.message;
    let is_unknown = [
        "implicit declaration",
        "undeclared",
        "was not declared",
        "unknown type name",
    ]
    .iter()
    .any(|words| message.contains(words));
    let is_incomplete = [
        "incomplete type",
        "storage size",
        "isn't known",
        "isn’t known",
    ]
    .iter()
    .any(|words| message.contains(words));
    if is_unknown || is_incomplete {
        found.extend(own_header(case));
    }
    if message.contains("redefinition of") {
        found.extend(guard(case));
    }
    if message.contains("discards qualifiers") {
        found.extend(constant_method(case));
    }
    if message.contains("expected declaration or statement at end of input")
        || message.contains("expected '}'")
    {
        found.extend(brace(case));
    }
    found
}

/// Where an `#include` belongs: before the first one, else at the top.
fn include_place(text: &str) -> usize {
    text.find("#include").unwrap_or(0)
}

fn include(case: &Case, header: &str) -> Option<Candidate> {
    let line = format!("#include {header}\n");
    if case.text.contains(line.trim_end()) {
        return None;
    }
    case.insert(format!("include {header}"), include_place(&case.text), line)
}

fn standard_header(case: &Case) -> Option<Candidate> {
    let notes = case
        .error
        .diagnostic
        .notes
        .iter()
        .map(|note| note.message.as_str());
    let mut texts = std::iter::once(case.message).chain(notes);
    let header = texts.find_map(|text| {
        let found = HEADER.captures(text)?;
        Some(found.get(1).or_else(|| found.get(2))?.as_str())
    })?;
    include(case, header)
}

/// Includes the header of the repository that has the name.
fn own_header(case: &Case) -> Vec<Candidate> {
    let here = case.file.parent().unwrap_or(Path::new(""));
    let names = case.message.split(['‘', '’', '\'', '`', ' ']);
    let names = names.filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
    let mut found = Vec::new();
    for name in names.filter(|name| name.len() > 1) {
        let pattern = r"^\s*(?:struct|union|enum|class)\s+NAME\b|^[\w][\w\s*]*[\s*]NAME\s*\(|^#define\s+NAME\b|^typedef\b.*\bNAME\s*;|^extern\b.*\bNAME\b";
        for symbol in definitions(case, name, &HEADERS, pattern) {
            let path = relative(here, &symbol.file);
            let path = path.trim_start_matches("./");
            found.extend(include(case, &format!("\"{path}\"")));
        }
    }
    found
}

/// A header that is read twice says that once is enough.
fn guard(case: &Case) -> Option<Candidate> {
    let is_header = case
        .file
        .extension()
        .is_some_and(|ending| HEADERS.iter().any(|header| ending == *header));
    let has_guard =
        case.text.contains("#pragma once") || case.text.trim_start().starts_with("#ifndef");
    (is_header && !has_guard)
        .then(|| case.insert("have it read once", 0, "#pragma once\n"))
        .flatten()
}

/// A method that is called on a constant, and says so nowhere.
fn constant_method(case: &Case) -> Option<Candidate> {
    // passing ‘const Account’ as ‘this’ argument …; the note has the method's place.
    let note = case
        .error
        .diagnostic
        .notes
        .iter()
        .find(|note| note.message.contains("in call to"))?;
    let file = case.tree.named(note.file.as_deref()?)?;
    let text = case.tree.read(&file)?;
    let start = crate::fix::text::line_start(&text, note.line?)?;
    let line = crate::fix::text::line(&text, note.line?)?;
    let at = start + line.rfind(')')? + 1;
    let before_body = line.find('{').or_else(|| line.find(';'))?;
    let at = line[..before_body]
        .rfind(')')
        .map_or(at, |place| start + place + 1);
    case.replace_in("promise that it changes nothing", &file, at..at, " const")
}

/// Closes what is open before the next definition, or at the end.
fn brace(case: &Case) -> Vec<Candidate> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut blank) = (0i32, 0, None);
    for line in case.text.split_inclusive('\n') {
        let begins_definition = !line.starts_with([' ', '\t', '}', '#', '/', '\n']);
        if begins_definition && depth > 0 {
            let at = blank.unwrap_or(start);
            found.extend(case.insert("close the block", at, "}\n".repeat(depth as usize)));
            found.extend(close_inside(case, at));
            break;
        }
        depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
        if line.trim().is_empty() {
            blank.get_or_insert(start);
        } else {
            blank = None;
        }
        start += line.len();
    }
    found.extend(case.insert("close the block at the end", case.text.len(), "}\n"));
    found
}

/// An inner block that was left open: closes it before the outer one closes.
fn close_inside(case: &Case, at: usize) -> Option<Candidate> {
    let outer = case.text[..at].trim_end().strip_suffix('}')?;
    let line_start = outer.rfind('\n')? + 1;
    let body = outer.trim_end();
    let last = body.rsplit('\n').next()?;
    let indent = crate::fix::text::indentation(last);
    let indent = indent
        .strip_suffix("    ")
        .or_else(|| indent.strip_suffix('\t'))?;
    let end = body.len() + 1;
    (end <= line_start)
        .then(|| case.insert("close the inner block", end, format!("{indent}}}\n")))
        .flatten()
}
