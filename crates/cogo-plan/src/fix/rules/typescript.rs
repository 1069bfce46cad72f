//! Rules for tsc, in its codes.

use std::path::Path;

use super::names::relative;
use super::symbols::definitions;
use super::{Candidate, Case, quoted, word_at};
use crate::fix::text;

const ENDINGS: [&str; 3] = ["ts", "tsx", "mts"];
const DEFINITION: &str = r"^(?:export\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:const|let|var|function\*?|class|interface|type|enum)\s+NAME\b";

pub(super) fn candidates(case: &Case) -> Vec<Candidate> {
    let found = match case.code().trim_start_matches("TS") {
        "1005" => token(case),
        "2304" | "2552" | "2503" => return import(case),
        "2305" | "2459" | "2614" => export(case),
        "2588" => not_constant(case),
        "1308" => asynchronous(case),
        "2532" | "18047" | "18048" => optional(case),
        _ => None,
    };
    found.into_iter().collect()
}

/// `')' expected.`
fn token(case: &Case) -> Option<Candidate> {
    let token = quoted(case.message).filter(|_| case.message.ends_with("expected."))?;
    let at = case.offset()?;
    case.insert(format!("add `{token}`"), at, token)
}

/// Imports the name from the file of the repository that exports it.
fn import(case: &Case) -> Vec<Candidate> {
    let Some(name) = case.quoted() else {
        return Vec::new();
    };
    let here = case.file.parent().unwrap_or(Path::new(""));
    definitions(case, name, &ENDINGS, DEFINITION)
        .into_iter()
        .filter(|symbol| symbol.file != case.file && symbol.line.starts_with("export"))
        .filter_map(|symbol| {
            let from = relative(here, &symbol.file.with_extension(""));
            let line = format!("import {{ {name} }} from \"{from}\";\n");
            case.insert(format!("import `{name}` from `{from}`"), 0, line)
        })
        .collect()
}

/// Exports what another file wants to import.
fn export(case: &Case) -> Option<Candidate> {
    let names = case
        .message
        .split(['\'', '"'])
        .filter(|name| !name.is_empty());
    let names: Vec<&str> = names.collect();
    let all = names
        .iter()
        .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
    all.flat_map(|name| definitions(case, name, &ENDINGS, DEFINITION).into_iter())
        .find(|symbol| !symbol.line.starts_with("export") && symbol.file != case.file)
        .and_then(|symbol| {
            let range = symbol.start..symbol.start;
            case.replace_in("export it", &symbol.file, range, "export ")
        })
}

/// A constant that is assigned to is none.
fn not_constant(case: &Case) -> Option<Candidate> {
    let name = case.quoted()?;
    let declaration = format!("const {name}");
    let before = case.text.get(..case.line_start())?;
    let at = before.rmatch_indices(&declaration).find_map(|(at, _)| {
        let end = at + declaration.len();
        (word_at(before, &declaration, at) == Some(at) && end <= before.len()).then_some(at)
    })?;
    case.replace(
        format!("declare `{name}` with `let`"),
        at..at + "const".len(),
        "let",
    )
}

/// `await` needs a function that is asynchronous.
fn asynchronous(case: &Case) -> Option<Candidate> {
    let before = case.text.get(..case.line_start())?;
    let at = before.rfind("function")?;
    let line = text::line(&case.text, text::line_of(&case.text, at))?;
    if line.contains("async") {
        return None;
    }
    case.insert("make the function asynchronous", at, "async ")
}

/// Asks for what may be undefined only if it is there.
fn optional(case: &Case) -> Option<Candidate> {
    let at = case.offset()?;
    let name = case.quoted().unwrap_or_default();
    let dot = at + case.text.get(at..)?.find(&format!("{name}."))? + name.len();
    case.insert("look only if it is there", dot, "?")
}
