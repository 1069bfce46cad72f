//! What a run of the command says, and whether another one says less.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use cogo_protocol::verdict::Outcome;

use super::change::Change;
use super::text::changed_lines;
use super::tree::Tree;
use crate::diagnostic::{Diagnostic, Severity, line};

/// What one run of the command says.
#[derive(Clone, Debug)]
pub struct Findings {
    /// How it ended.
    pub outcome: Outcome,
    /// What it finds wrong, each thing once.
    pub errors: Vec<Located>,
    /// What it warns of.
    pub warnings: Vec<Located>,
    /// What it wrote.
    pub output: String,
}

/// A diagnostic, with its file found in the tree.
#[derive(Clone, Debug)]
pub struct Located {
    /// The diagnostic.
    pub diagnostic: Diagnostic,
    /// Its file from the top of the workspace, if it is one of it.
    pub file: Option<PathBuf>,
}

impl Located {
    /// One line for people.
    pub fn line(&self) -> String {
        match &self.file {
            Some(file) => line(&Diagnostic {
                file: Some(file.display().to_string()),
                ..self.diagnostic.clone()
            }),
            None => line(&self.diagnostic),
        }
    }

    /// What makes two findings the same although lines have moved.
    fn key(&self) -> Key {
        Key {
            file: self.file.clone(),
            code: self.diagnostic.code.clone(),
            message: self.diagnostic.message.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    file: Option<PathBuf>,
    code: Option<String>,
    message: String,
}

/// How a run after a change compares with the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Fewer errors, no new one, and no more warnings than errors went.
    Better,
    /// Something went, but something came: perhaps what the first error hid.
    Different,
    /// Not better in any way.
    NotBetter,
}

impl Findings {
    /// Sorts what was found.
    pub(super) fn new(
        tree: &Tree,
        cwd: &std::path::Path,
        outcome: Outcome,
        found: Vec<Diagnostic>,
        output: String,
    ) -> Self {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for diagnostic in found {
            // Two errors in one macro differ in nothing but what is to be done about them.
            let same = serde_json::to_string(&diagnostic).unwrap_or_default();
            if !seen.insert(same) {
                continue;
            }
            let file = diagnostic.file.as_deref();
            let file = file.and_then(|file| tree.resolve(cwd, file));
            let located = Located { diagnostic, file };
            match located.diagnostic.severity {
                Severity::Error => errors.push(located),
                Severity::Warning => warnings.push(located),
                Severity::Info => {}
            }
        }
        Self {
            outcome,
            errors,
            warnings,
            output,
        }
    }

    /// Whether the command succeeded.
    pub fn succeeded(&self) -> bool {
        self.outcome == Outcome::Exited { code: 0 }
    }

    /// How many errors there are. A failure without a reason is one.
    pub fn error_count(&self) -> usize {
        match (self.succeeded(), self.errors.len()) {
            (true, _) => 0,
            (false, count) => count.max(1),
        }
    }

    /// What the command is about: its errors, or its warnings where these are what it fails for.
    pub fn problems(&self) -> &[Located] {
        if self.errors.is_empty() && !self.succeeded() {
            &self.warnings
        } else {
            &self.errors
        }
    }

    /// Whether the command could be run to its own end at all.
    fn ended_by_itself(&self) -> bool {
        matches!(self.outcome, Outcome::Exited { .. })
    }

    /// Compares with the run before a change.
    pub(super) fn compare(&self, before: &Self, lines: &Lines) -> Comparison {
        if !self.ended_by_itself() {
            return Comparison::NotBetter;
        }
        let (old, new) = (count(before.problems()), count(self.problems()));
        let gone = surplus(&old, &new);
        let fresh = surplus(&new, &old);
        let fewer = if self.succeeded() {
            !before.succeeded()
        } else {
            self.problems().len() < before.problems().len() && fresh == 0 && !self.is_silent()
        };
        if fewer && self.new_warnings(before, lines) <= gone.max(1) {
            return Comparison::Better;
        }
        if gone > 0 && !self.is_silent() {
            return Comparison::Different;
        }
        Comparison::NotBetter
    }

    /// Whether it failed without a word that is understood.
    fn is_silent(&self) -> bool {
        !self.succeeded() && self.problems().is_empty()
    }

    /// Warnings on lines that the change has written, beyond those that were there. Warnings
    /// elsewhere were only hidden by the errors.
    fn new_warnings(&self, before: &Self, lines: &Lines) -> usize {
        let on_changed = self.warnings.iter().filter(|warning| lines.hold(warning));
        let old = count(&before.warnings);
        on_changed
            .filter(|warning| !old.contains_key(&warning.key()))
            .count()
    }
}

fn count(found: &[Located]) -> BTreeMap<Key, usize> {
    let mut counts = BTreeMap::new();
    for located in found {
        *counts.entry(located.key()).or_default() += 1;
    }
    counts
}

/// How many of the first are not in the second.
fn surplus(a: &BTreeMap<Key, usize>, b: &BTreeMap<Key, usize>) -> usize {
    a.iter()
        .map(|(key, count)| count.saturating_sub(b.get(key).copied().unwrap_or(0)))
        .sum()
}

/// The lines that a change has written.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<PathBuf, std::ops::Range<u32>>);

impl Lines {
    /// The lines that differ between two states of the files that fixers touch.
    pub(super) fn between(before: &Change, after: &Change) -> Self {
        let mut lines = BTreeMap::new();
        for (file, text) in &after.files {
            let old = before.files.get(file).cloned().flatten();
            if let Some(text) = text {
                let range = changed_lines(&old.unwrap_or_default(), text);
                lines.insert(file.clone(), range);
            }
        }
        Self(lines)
    }

    fn hold(&self, located: &Located) -> bool {
        let range = located.file.as_ref().and_then(|file| self.0.get(file));
        let line = located.diagnostic.line.unwrap_or(0);
        range.is_some_and(|range| range.contains(&line))
    }
}
