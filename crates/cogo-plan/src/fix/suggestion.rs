//! Repairs that a tool proposes in its output, of any applicability.
//!
//! rustc puts alternatives for one place into one suggestion; each is a candidate of its own. What was
//! proposed with a placeholder is tried as it is: whether it compiles is found out.

mod fixits;
mod lint;

use super::change::{Candidate, Fixer, Replacement};
use super::findings::{Findings, Located};
use super::text;
use super::tree::Tree;
use crate::diagnostic::{Edit, Suggestion};

/// Candidates for one error, the likeliest first.
pub(super) fn candidates(
    tree: &Tree,
    cwd: &std::path::Path,
    findings: &Findings,
    error: &Located,
) -> Vec<Candidate> {
    let mut found: Vec<(u8, Candidate)> = Vec::new();
    let diagnostic = &error.diagnostic;
    let mut suggestions = diagnostic.suggestions.clone();
    suggestions.extend(fixits::suggestions(&findings.output, error));
    suggestions.extend(lint::suggestions(tree, cwd, &findings.output, error));
    if let Some(all) = all_at_once(&suggestions) {
        let candidate = candidate(tree, cwd, error, &all, &all.edits);
        found.extend(candidate.map(|candidate| (3, candidate)));
    }
    for suggestion in &suggestions {
        let rank = rank(suggestion.applicability.as_deref());
        for (place, edits) in alternatives(&suggestion.edits).into_iter().enumerate() {
            let candidate = candidate(tree, cwd, error, suggestion, &edits);
            let later = u8::from(place > 0) * 4;
            found.extend(candidate.map(|candidate| (rank + later, candidate)));
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// How likely a suggestion is right, by what the tool says of it.
fn rank(applicability: Option<&str>) -> u8 {
    match applicability {
        Some("MachineApplicable") => 0,
        Some("MaybeIncorrect") => 1,
        None | Some("Unspecified") => 2,
        Some(_) => 3,
    }
}

/// The sets of edits that make sense together, the likeliest first: all, if they do not overlap; those
/// between repetitions of a place; each alone.
fn alternatives(edits: &[Edit]) -> Vec<Vec<Edit>> {
    let overlap = |a: &Edit, b: &Edit| {
        a.file == b.file
            && (a.start == b.start && a.end == b.end || a.start < b.end && b.start < a.end)
    };
    let mut sets: Vec<Vec<Edit>> = Vec::new();
    for edit in edits {
        match sets.last_mut() {
            Some(set) if !set.iter().any(|other| overlap(other, edit)) => set.push(edit.clone()),
            _ => sets.push(vec![edit.clone()]),
        }
    }
    if sets.len() > 1 {
        sets.extend(edits.iter().map(|edit| vec![edit.clone()]));
    }
    let mut fresh: Vec<Vec<Edit>> = Vec::new();
    for set in sets {
        if !fresh.contains(&set) {
            fresh.push(set);
        }
    }
    fresh
}

/// All repairs of one error as one: some belong together. Those that overlap an earlier one are left
/// out.
fn all_at_once(suggestions: &[Suggestion]) -> Option<Suggestion> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut count = 0;
    for suggestion in suggestions {
        let mut more = edits.clone();
        more.extend(suggestion.edits.iter().cloned());
        if alternatives(&more).len() == 1 {
            edits = more;
            count += 1;
        }
    }
    (count > 1).then(|| Suggestion {
        message: format!("{count} repairs of this error at once"),
        applicability: None,
        edits,
    })
}

fn candidate(
    tree: &Tree,
    cwd: &std::path::Path,
    error: &Located,
    suggestion: &Suggestion,
    edits: &[Edit],
) -> Option<Candidate> {
    let replacements = edits.iter().map(|edit| replacement(tree, cwd, edit));
    let replacements: Option<Vec<Replacement>> = replacements.collect();
    let description = first_line(&suggestion.message);
    let is_sure = suggestion.applicability.as_deref() == Some("MachineApplicable");
    let candidate = Candidate::new(
        tree,
        Fixer::Suggestions,
        error.line(),
        description,
        replacements?,
    )?;
    Some(candidate.sure(is_sure))
}

fn replacement(tree: &Tree, cwd: &std::path::Path, edit: &Edit) -> Option<Replacement> {
    let file = tree.resolve(cwd, &edit.file)?;
    let content = tree.read(&file)?;
    let start = text::offset(&content, edit.start.0, edit.start.1)?;
    let end = text::offset(&content, edit.end.0, edit.end.1)?;
    (start <= end).then(|| Replacement {
        file,
        range: start..end,
        text: edit.replacement.clone(),
    })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}
