//! The loop: tries candidates, keeps what is better, follows what uncovers other errors.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use super::agent::{self, Agent};
use super::change::{Candidate, Change, Fixer};
use super::check::Checker;
use super::command::Command;
use super::findings::{Comparison, Findings, Lines, Located};
use super::tree::Tree;
use super::{
    Attempt, AttemptResult, End, Event, FixError, Report, Settings, dependency, patch, rules,
    suggestion, tool,
};
use crate::dispatch::{Cancel, Dispatch};
use crate::document::StepNetwork;

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
    means: &Means<'_>,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Report, FixError> {
    let mut search = Search {
        settings,
        agent: means.agent,
        checker: Checker {
            command,
            dispatch: means.dispatch,
            cancel: means.cancel,
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
        errors_left: state.errors.iter().map(Located::line).collect(),
        budget_exhausted: !state.succeeded() && search.is_exhausted(),
        attempts: search.attempts,
        diff: search.tree.diff(),
    })
}

/// By what fixing is done.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Runs the command, and what else has to be run.
    pub dispatch: &'a dyn Dispatch,
    /// Ends it.
    pub cancel: &'a Cancel,
    /// Who is asked when nothing else helps.
    pub agent: Option<&'a dyn Agent>,
}

struct Search<'a> {
    settings: &'a Settings,
    agent: Option<&'a dyn Agent>,
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
            if let Some(better) = self.improve_by_asking(state, fixer, depth)? {
                return Ok(Some(better));
            }
            let candidates = self.candidates(state, fixer);
            let sure = together(self.tree, &candidates, |candidate| candidate.sure);
            // What only helps together with the repair of another error.
            let all = together(self.tree, &candidates, |_| true);
            for candidate in sure.iter().chain(&candidates).chain(&all) {
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

    /// Has the tool or the agent propose something. They are asked from what is kept only.
    fn improve_by_asking(
        &mut self,
        state: &Findings,
        fixer: Fixer,
        depth: usize,
    ) -> Result<Option<Findings>, FixError> {
        if depth > 0 || self.is_exhausted() {
            return Ok(None);
        }
        match fixer {
            Fixer::Tools => self.improve_by_tool(state),
            Fixer::Dependencies => self.improve_by_dependency(state),
            Fixer::Agent => self.improve_by_agent(state),
            Fixer::Suggestions | Fixer::Rules => Ok(None),
        }
    }

    fn improve_by_tool(&mut self, state: &Findings) -> Result<Option<Findings>, FixError> {
        let Some(argv) = tool::own_fix(self.checker.command) else {
            return Ok(None);
        };
        (self.tell)(&Event::Asking(Fixer::Tools));
        let network = self.checker.command.network.clone();
        self.improve_by_running(state, Fixer::Tools, argv, network)
    }

    fn improve_by_dependency(&mut self, state: &Findings) -> Result<Option<Findings>, FixError> {
        let is_offline = self.checker.command.network == StepNetwork::None;
        let missing = dependency::missing(self.tree, self.checker.command, state.problems());
        for missing in missing {
            if !self.settings.may_change_dependencies || is_offline {
                let advice = "it is added with --allow-dependencies and a network";
                (self.tell)(&Event::Note(format!(
                    "{} is missing; {advice}",
                    missing.name
                )));
                continue;
            }
            if self.is_exhausted() {
                break;
            }
            (self.tell)(&Event::Asking(Fixer::Dependencies));
            let network = self.checker.command.network.clone();
            let better =
                self.improve_by_running(state, Fixer::Dependencies, missing.argv, network)?;
            if better.is_some() {
                return Ok(better);
            }
        }
        Ok(None)
    }

    /// Runs a program that changes files, and keeps what it did if it is better.
    fn improve_by_running(
        &mut self,
        state: &Findings,
        fixer: Fixer,
        argv: Vec<String>,
        network: StepNetwork,
    ) -> Result<Option<Findings>, FixError> {
        let begin = self.tree.touched();
        let texts = self.tree.texts();
        let description = format!("`{}`", argv.join(" "));
        self.checker.run_other(self.tree, argv, network)?;
        let change = self.tree.adopt(&texts);
        // Back to where it was: the change is tried like any other.
        let undo = Change {
            files: change
                .files
                .keys()
                .map(|file| (file.clone(), texts.get(file).cloned()))
                .collect(),
        };
        self.tree.apply(&undo)?;
        if change.files.is_empty() {
            return Ok(None);
        }
        let candidate = Candidate {
            fixer,
            cause: first_cause(state),
            description,
            sure: false,
            change,
            replacements: Vec::new(),
        };
        match self.attempt(state, &candidate)? {
            Some((Comparison::Better, after)) => Ok(Some(after)),
            Some((Comparison::Different | Comparison::NotBetter, _)) | None => {
                self.tree.restore(&begin)?;
                Ok(None)
            }
        }
    }

    /// Asks the agent, and tells it what came of its last answer, a few times.
    fn improve_by_agent(&mut self, state: &Findings) -> Result<Option<Findings>, FixError> {
        let Some(agent) = self.agent else {
            return Ok(None);
        };
        let begin = self.tree.touched();
        let mut feedback = Vec::new();
        for _ in 0..agent::ROUNDS_MAX {
            if self.is_exhausted() {
                break;
            }
            (self.tell)(&Event::Asking(Fixer::Agent));
            let request = agent::Request::new(self.tree, self.checker.command, state, &feedback);
            let time = self
                .checker
                .deadline
                .saturating_duration_since(Instant::now());
            let answer = match agent.propose(&request, time, self.checker.cancel) {
                Ok(answer) => answer,
                Err(error) => {
                    (self.tell)(&Event::Note(format!("the agent gave no answer: {error}")));
                    break;
                }
            };
            if self.checker.cancel.is_asked() {
                return Err(FixError::Cancelled);
            }
            let change = patch::change(self.tree, &answer).map_err(|error| error.to_string());
            let change = change.and_then(|change| {
                agent::acceptable(self.tree, &change, self.settings).map(|()| change)
            });
            let mut candidate = Candidate {
                fixer: Fixer::Agent,
                cause: first_cause(state),
                description: "what the agent proposes".to_owned(),
                sure: false,
                change: Change::default(),
                replacements: Vec::new(),
            };
            candidate.change = match change {
                Ok(change) => change,
                Err(reason) => {
                    feedback.push(reason.clone());
                    let refused = AttemptResult::Refused { reason };
                    self.record(&candidate, answer, refused, state, None);
                    continue;
                }
            };
            match self.attempt(state, &candidate)? {
                Some((Comparison::Better, after)) => return Ok(Some(after)),
                Some((_, after)) => {
                    let lines = after.errors.iter().take(10).map(Located::line);
                    let lines: Vec<String> = lines.collect();
                    feedback.push(format!("with it the errors are:\n{}", lines.join("\n")));
                    self.tree.restore(&begin)?;
                }
                None => feedback.push("that was tried already".to_owned()),
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
                .flat_map(|error| rules::candidates(self.tree, error))
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

/// The first candidate of each error that counts, as one: most of them are right, and a run costs
/// time.
fn together(
    tree: &Tree,
    candidates: &[Candidate],
    counts: impl Fn(&Candidate) -> bool,
) -> Option<Candidate> {
    let mut replacements = Vec::new();
    let mut causes = HashSet::new();
    let mut count = 0;
    for candidate in candidates.iter().filter(|candidate| counts(candidate)) {
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
    let description = format!("{count} repairs of different errors at once");
    Candidate::new(
        tree,
        first.fixer,
        first.cause.clone(),
        description,
        replacements,
    )
}

fn first_cause(state: &Findings) -> String {
    let first = state.problems().first().map(Located::line);
    first.unwrap_or_else(|| "the command fails".to_owned())
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
