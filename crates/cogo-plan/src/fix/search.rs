//! The loop: tries candidates, keeps what is better, follows what uncovers other errors.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use super::change::{Candidate, Change, Fixer};
use super::check::Checker;
use super::command::Command;
use super::findings::{Comparison, Findings, Lines};
use super::tree::Tree;
use super::{Attempt, AttemptResult, End, Event, FixError, Report, Settings, patch, rules, suggestion};
use crate::dispatch::{Cancel, Dispatch};

/// Errors that are looked at before another run; the rest is mostly their consequence.
const ERRORS_MAX: usize = 40;
/// Changes in a row that are followed before their sum has to be better.
const DEPTH_MAX: usize = 4;
/// Ways that are followed from one state.
const DETOURS_MAX: usize = 6;

/// Repairs the copy until the command succeeds, nothing helps, or the budget is used up.
///
/// # Errors
///
/// When the command cannot be run, or the copy cannot be changed.
pub fn fix(
    tree: &mut Tree,
    command: &Command,
    settings: &Settings,
    dispatch: &dyn Dispatch,
    cancel: &Cancel,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Report, FixError> {
    let mut search = Search {
        settings,
        checker: Checker {
            command,
            dispatch,
            cancel,
            deadline: Instant::now() + settings.time_max,
            count: 0,
        },
        tree,
        tell,
        attempts: Vec::new(),
        runs: 0,
        tried: HashSet::new(),
    };
    let first = search.checker.check(search.tree)?;
    let errors_before = first.error_count();
    (search.tell)(&Event::Begun {
        errors: errors_before,
    });
    let mut state = first;
    while !state.succeeded() && !search.is_exhausted() {
        match search.improve(&state, 0)? {
            Some(better) => state = better,
            None => break,
        }
    }
    let end = match (errors_before, state.error_count()) {
        (0, _) => End::NothingToFix,
        (_, 0) => End::Fixed,
        (before, after) if after < before => End::Improved,
        _ => End::NotFixed,
    };
    Ok(Report {
        end,
        errors_before,
        errors_after: state.error_count(),
        errors_left: state.errors.iter().map(super::findings::Located::line).collect(),
        budget_exhausted: !state.succeeded() && search.is_exhausted(),
        attempts: search.attempts,
        diff: search.tree.diff(),
    })
}

struct Search<'a> {
    settings: &'a Settings,
    checker: Checker<'a>,
    tree: &'a mut Tree,
    tell: &'a mut dyn FnMut(&Event<'_>),
    attempts: Vec<Attempt>,
    runs: u32,
    /// Contents that were checked already.
    tried: HashSet<u64>,
}

/// A change that uncovers other errors.
struct Detour {
    after: Findings,
    state: Change,
}

impl Search<'_> {
    fn is_exhausted(&self) -> bool {
        self.runs >= self.settings.attempts_max || Instant::now() >= self.checker.deadline
    }

    /// Leaves the copy strictly better than `state`, or as it is.
    fn improve(&mut self, state: &Findings, depth: usize) -> Result<Option<Findings>, FixError> {
        let begin = self.tree.touched();
        let mut detours = Vec::new();
        for fixer in self.settings.fixers.clone() {
            let candidates = self.candidates(state, fixer);
            let batch = together(self.tree, &candidates);
            for candidate in batch.iter().chain(&candidates) {
                if self.is_exhausted() {
                    break;
                }
                match self.attempt(state, candidate)? {
                    Some((Comparison::Better, after)) => return Ok(Some(after)),
                    Some((Comparison::Different, after)) => {
                        detours.push(Detour {
                            after,
                            state: self.tree.touched(),
                        });
                        self.tree.restore(&begin)?;
                    }
                    Some((Comparison::NotBetter, _)) | None => {}
                }
            }
        }
        if depth < DEPTH_MAX {
            detours.sort_by_key(|detour| detour.after.error_count());
            for detour in detours.into_iter().take(DETOURS_MAX) {
                if let Some(better) = self.follow(state, &begin, detour, depth)? {
                    return Ok(Some(better));
                }
            }
        }
        Ok(None)
    }

    /// Goes on from a change that is not better by itself.
    fn follow(
        &mut self,
        state: &Findings,
        begin: &Change,
        detour: Detour,
        depth: usize,
    ) -> Result<Option<Findings>, FixError> {
        self.tree.restore(&detour.state)?;
        let mut now = detour.after;
        while !self.is_exhausted() {
            let Some(next) = self.improve(&now, depth + 1)? else {
                break;
            };
            let lines = Lines::between(begin, &self.tree.touched());
            if next.compare(state, &lines) == Comparison::Better {
                return Ok(Some(next));
            }
            now = next;
        }
        self.tree.restore(begin)?;
        Ok(None)
    }

    fn candidates(&self, state: &Findings, fixer: Fixer) -> Vec<Candidate> {
        let cwd = &self.checker.command.cwd;
        let problems = state.problems().iter().take(ERRORS_MAX);
        match fixer {
            Fixer::Suggestions => problems
                .flat_map(|error| suggestion::candidates(self.tree, cwd, state, error))
                .collect(),
            Fixer::Rules => problems
                .flat_map(|error| rules::candidates(self.tree, cwd, error))
                .collect(),
            Fixer::Tools | Fixer::Dependencies | Fixer::Agent => Vec::new(),
        }
    }

    /// Applies a candidate and runs the command. The change stays unless it is not better. None if it
    /// was tried before.
    fn attempt(
        &mut self,
        state: &Findings,
        candidate: &Candidate,
    ) -> Result<Option<(Comparison, Findings)>, FixError> {
        let before = self.tree.touched();
        let undo = self.tree.apply(&candidate.change)?;
        let after_change = self.tree.touched();
        if !self.tried.insert(hash_of(&after_change)) {
            self.tree.apply(&undo)?;
            return Ok(None);
        }
        let diff = diff_of(&undo, &candidate.change);
        self.runs += 1;
        let after = self.checker.check(self.tree)?;
        let lines = Lines::between(&before, &after_change);
        let comparison = after.compare(state, &lines);
        let result = match comparison {
            Comparison::Better => AttemptResult::Kept,
            Comparison::Different => AttemptResult::Followed,
            Comparison::NotBetter => AttemptResult::NotBetter,
        };
        self.record(candidate, diff, result, state, Some(after.error_count()));
        if comparison == Comparison::NotBetter {
            self.tree.apply(&undo)?;
        }
        Ok(Some((comparison, after)))
    }

    fn record(
        &mut self,
        candidate: &Candidate,
        diff: String,
        result: AttemptResult,
        state: &Findings,
        errors_after: Option<usize>,
    ) {
        let attempt = Attempt {
            number: self.attempts.len() as u32 + 1,
            fixer: candidate.fixer,
            cause: candidate.cause.clone(),
            description: candidate.description.clone(),
            diff,
            result,
            errors_before: state.error_count(),
            errors_after,
        };
        (self.tell)(&Event::Attempt(&attempt));
        self.attempts.push(attempt);
    }
}

/// The first sure candidate of each error, as one: most of them are right, and a run costs time.
fn together(tree: &Tree, candidates: &[Candidate]) -> Option<Candidate> {
    let mut replacements = Vec::new();
    let mut causes = HashSet::new();
    let mut count = 0;
    for candidate in candidates.iter().filter(|candidate| candidate.sure) {
        if candidate.replacements.is_empty() || !causes.insert(&candidate.cause) {
            continue;
        }
        let mut more = replacements.clone();
        more.extend(candidate.replacements.iter().cloned());
        if Change::of(tree, &more).is_some() {
            replacements = more;
            count += 1;
        }
    }
    if count < 2 {
        return None;
    }
    let first = candidates.first()?;
    let description = format!("{count} repairs of which the tool is sure");
    Candidate::new(tree, first.fixer, first.cause.clone(), description, replacements)
}

fn hash_of(change: &Change) -> u64 {
    let mut hasher = DefaultHasher::new();
    change.hash(&mut hasher);
    hasher.finish()
}

/// A change as text, from what it replaces and what it puts there.
fn diff_of(before: &Change, after: &Change) -> String {
    let files = after.files.iter().map(|(file, now)| {
        let was = before.files.get(file).cloned().flatten();
        patch::diff(
            file,
            was.as_deref().unwrap_or_default(),
            now.as_deref().unwrap_or_default(),
            was.is_some(),
            now.is_some(),
        )
    });
    files.collect()
}
