//! Rules for rustc, in its codes, where it says what is wrong and proposes nothing.

use super::{Candidate, Case, word_at};
use crate::fix::text;

pub(super) fn candidates(case: &Case) -> Vec<Candidate> {
    let found = match case.code() {
        "E0185" => take_self_in_trait(case),
        "E0186" => take_self(case),
        "E0197" | "E0198" => remove_word(case, "unsafe"),
        "E0603" | "E0624" | "E0616" => make_public(case),
        _ => None,
    };
    found.into_iter().collect()
}

/// The method takes no `&self`, and its trait says that it does.
fn take_self(case: &Case) -> Option<Candidate> {
    let receiver = if case.message.contains("`&mut self`") {
        "&mut self"
    } else {
        "&self"
    };
    take(case, case.line, receiver)
}

/// The trait's method takes no `&self`, and its implementations do.
fn take_self_in_trait(case: &Case) -> Option<Candidate> {
    let receiver = if case.message.contains("`&mut self`") {
        "&mut self"
    } else {
        "&self"
    };
    let notes = &case.error.diagnostic.notes;
    let note = notes.iter().find(|note| note.message.contains("trait"))?;
    take(case, note.line?, receiver)
}

fn take(case: &Case, line: u32, receiver: &str) -> Option<Candidate> {
    let start = text::line_start(&case.text, line)?;
    let line = text::line(&case.text, line)?;
    let function = line.find("fn ")?;
    let open = function + line[function..].find('(')? + 1;
    let is_empty = line[open..].trim_start().starts_with(')');
    let insert = if is_empty {
        receiver.to_owned()
    } else {
        format!("{receiver}, ")
    };
    case.insert(format!("take `{receiver}`"), start + open, insert)
}

/// A word that must not stand on the line.
fn remove_word(case: &Case, word: &str) -> Option<Candidate> {
    let line = case.line_text();
    let at = word_at(line, word, 0)?;
    let start = case.line_start() + at;
    let end = start + word.len() + usize::from(line[at + word.len()..].starts_with(' '));
    case.replace(format!("remove `{word}`"), start..end, "")
}

/// What is private to its module, and used from outside of it, in the same crate.
fn make_public(case: &Case) -> Option<Candidate> {
    let notes = case.error.diagnostic.notes.iter();
    let mut notes = notes.filter(|note| note.message.contains("defined here"));
    let note = notes.next()?;
    let file = case
        .tree
        .resolve(std::path::Path::new(""), note.file.as_deref()?)?;
    let content = case.tree.read(&file)?;
    let at = text::offset(&content, note.line?, note.column?)?;
    let line = text::line(&content, note.line?)?;
    if line.trim_start().starts_with("pub") {
        return None;
    }
    case.replace_in("make it visible in the crate", &file, at..at, "pub(crate) ")
}
