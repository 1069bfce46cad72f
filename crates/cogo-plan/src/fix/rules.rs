//! Repairs for errors whose message says what is missing, where the tool proposes none itself.
//!
//! A rule is general: it knows a kind of error and its usual cause, and no project. Whether it was right
//! this time is found out like for every other candidate.

mod c;
mod names;
mod python;
mod rust;
mod symbols;
mod typescript;

use std::path::Path;

use super::change::{Candidate, Fixer, Replacement};
use super::findings::Located;
use super::text;
use super::tree::Tree;

/// Candidates for one error, the likeliest first.
pub(super) fn candidates(tree: &Tree, error: &Located) -> Vec<Candidate> {
    let Some(case) = Case::new(tree, error) else {
        return Vec::new();
    };
    let mut found = names::candidates(&case);
    let extension = case.file.extension().unwrap_or_default();
    found.extend(match extension.to_str().unwrap_or_default() {
        "rs" => rust::candidates(&case),
        "ts" | "tsx" | "mts" | "js" | "jsx" | "mjs" => typescript::candidates(&case),
        "py" | "pyi" => python::candidates(&case),
        "c" | "h" | "cc" | "cpp" | "cxx" | "hpp" | "hh" => c::candidates(&case),
        _ => Vec::new(),
    });
    found
}

/// An error with the text that it is about.
struct Case<'a> {
    tree: &'a Tree,
    error: &'a Located,
    file: &'a Path,
    text: String,
    /// The line, from 1.
    line: u32,
    message: &'a str,
}

impl<'a> Case<'a> {
    fn new(tree: &'a Tree, error: &'a Located) -> Option<Self> {
        let file = error.file.as_deref()?;
        Some(Self {
            tree,
            error,
            file,
            text: tree.read(file)?,
            line: error.diagnostic.line?,
            message: &error.diagnostic.message,
        })
    }

    /// The tool's name for the error.
    fn code(&self) -> &str {
        self.error.diagnostic.code.as_deref().unwrap_or_default()
    }

    /// The line it is about, without its end.
    fn line_text(&self) -> &str {
        text::line(&self.text, self.line).unwrap_or_default()
    }

    fn line_start(&self) -> usize {
        text::line_start(&self.text, self.line).unwrap_or(self.text.len())
    }

    /// The byte it is about, where the tool tells a column.
    fn offset(&self) -> Option<usize> {
        text::offset(&self.text, self.line, self.error.diagnostic.column?)
    }

    fn replace(
        &self,
        what: impl Into<String>,
        range: std::ops::Range<usize>,
        with: impl Into<String>,
    ) -> Option<Candidate> {
        self.replace_in(what, self.file, range, with)
    }

    fn replace_in(
        &self,
        what: impl Into<String>,
        file: &Path,
        range: std::ops::Range<usize>,
        with: impl Into<String>,
    ) -> Option<Candidate> {
        let replacement = Replacement {
            file: file.to_owned(),
            range,
            text: with.into(),
        };
        let cause = self.error.line();
        Candidate::new(self.tree, Fixer::Rules, cause, what, vec![replacement])
    }

    fn insert(
        &self,
        what: impl Into<String>,
        at: usize,
        text: impl Into<String>,
    ) -> Option<Candidate> {
        self.replace(what, at..at, text)
    }

    /// Puts a text in the place of the line.
    fn replace_line(&self, what: &str, with: impl Into<String>) -> Option<Candidate> {
        let start = self.line_start();
        self.replace(what, start..start + self.line_text().len(), with)
    }

    /// The text between the first quotes of the message, whichever they are.
    fn quoted(&self) -> Option<&'a str> {
        quoted(self.message)
    }
}

/// The text between the first quotes.
fn quoted(message: &str) -> Option<&str> {
    let start = message.find(['\'', '"', '`', '‘'])?;
    let open = message[start..].chars().next()?;
    let close = if open == '‘' { '’' } else { open };
    let rest = &message[start + open.len_utf8()..];
    rest.split(close).next().filter(|text| !text.is_empty())
}

/// Where a word stands in a text, not as a part of another.
fn word_at(text: &str, word: &str, from: usize) -> Option<usize> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let rest = text.get(from..)?;
    let mut places = rest.match_indices(word).map(|(at, _)| from + at);
    places.find(|at| {
        !is_part(text[..*at].chars().next_back())
            && !is_part(text[at + word.len()..].chars().next())
    })
}
