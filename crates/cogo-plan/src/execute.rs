//! Runs a plan: starts what may begin, hears how it ends, and writes down both.
//!
//! The caller's thread decides; each attempt has a thread of its own that follows it. What they
//! tell comes through one bounded channel, so a slow observer slows the followers down, and not
//! the commands, whose output is on disk anyway.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard};
use std::thread::Scope;
use std::time::{Duration, Instant};

use cogo_protocol::record::Stream;
use cogo_protocol::verdict::Outcome;
use serde::Serialize;

use crate::cache::{self, Cache, Key};
use crate::diagnostic::{Diagnostic, Parser};
use crate::dispatch::{Cancel, Dispatch, DispatchError, Progress as Telling, Work};
use crate::expression::{self, ExpressionError};
use crate::graph::Graph;
use crate::journal::{Entry, Journal};
use crate::progress::{PlanOutcome, Progress};
use crate::route::Route;
use crate::test_recovery::Report;

mod outputs;
mod restore;
mod tests_of_step;
mod work;

use outputs::OutputScanner;

/// Pieces of output that may wait for a slow observer.
const PENDING_MAX: usize = 256;

/// Silence of a step after which what it wrote is taken for whole.
const PAUSE: Duration = Duration::from_millis(100);

/// How soon a request to cancel is noticed.
const CANCEL_PACE: Duration = Duration::from_millis(50);

/// What a run works with.
#[derive(Debug)]
pub struct Settings {
    /// The run's name, part of the key of each attempt.
    pub run: String,
    /// The directory all steps work in: absolute.
    pub workspace: PathBuf,
    /// Where artifacts of this run go.
    pub artifacts: PathBuf,
    /// Where results of earlier runs are. Nothing: every step is run.
    pub cache: Option<Cache>,
    /// What earlier runs have shown of the workspace's tests. Nothing: that is neither asked nor kept.
    pub test_history: Option<PathBuf>,
    /// Attempts at the same time at most. Default: the plan's, else the number of cores.
    pub parallel: Option<NonZeroUsize>,
}

/// What happens in a run, for those who watch it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// An attempt begins.
    StepStarted {
        /// The instance.
        step: &'a str,
        /// The attempt, from 1.
        attempt: u32,
        /// Where it runs.
        route: Route,
    },
    /// It wrote something.
    StepOutput {
        /// The instance.
        step: &'a str,
        /// Where.
        stream: Stream,
        /// What.
        #[serde(skip)]
        bytes: &'a [u8],
    },
    /// Its output says this.
    StepDiagnostic {
        /// The instance.
        step: &'a str,
        /// What was found.
        diagnostic: &'a Diagnostic,
    },
    /// Its tests have been run, those that failed more than once.
    StepTests {
        /// The instance.
        step: &'a str,
        /// What came of them.
        report: &'a Report,
    },
    /// An attempt ended.
    StepEnded {
        /// The instance.
        step: &'a str,
        /// The attempt.
        attempt: u32,
        /// How; nothing if it could not be started or its end is not known.
        outcome: Option<&'a Outcome>,
        /// Why there is no outcome, or no success.
        error: Option<&'a str>,
        /// What to do about the error.
        hint: Option<&'a str>,
        /// Another attempt will be made.
        retry: bool,
        /// Milliseconds it took.
        duration_ms: u64,
        /// Instances that are over.
        done: usize,
        /// All instances.
        total: usize,
    },
    /// It succeeded before with the same inputs.
    StepCached {
        /// The instance.
        step: &'a str,
    },
    /// It is not run: its condition does not hold.
    StepSkipped {
        /// The instance.
        step: &'a str,
    },
    /// Nothing waits or runs any more.
    PlanFinished {
        /// How it ended.
        outcome: PlanOutcome,
    },
}

/// Why a run could not go on. What ran was ended; the journal has all that was done.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// What happened cannot be written down.
    #[error("failed to write the journal")]
    Journal(#[source] io::Error),
}

/// What followers tell.
enum Message {
    Output(usize, Stream, Vec<u8>),
    Tests(usize, Box<Report>),
    Ended(usize, Result<Outcome, DispatchError>, Duration),
}

/// What all threads of a run see.
struct Shared<'a, D> {
    graph: &'a Graph,
    settings: &'a Settings,
    dispatch: &'a D,
    cancel: &'a Cancel,
    journal: Mutex<Journal>,
}

/// A run under way.
struct Run<'s, 'a, D> {
    shared: &'s Shared<'a, D>,
    progress: Progress,
    /// What is known of the instances that run.
    running: BTreeMap<usize, Attempt>,
    /// Instances whose end a run before this one did not see, and what finds them again.
    in_flight: BTreeMap<usize, Option<String>>,
    observe: &'s mut dyn FnMut(&Event<'_>),
}

/// An attempt that runs.
struct Attempt {
    number: u32,
    outputs: OutputScanner,
    findings: Parser,
    /// When it last wrote something that may have more to it.
    heard_at: Option<Instant>,
    key: Option<Key>,
}

/// Runs a plan to its end, or takes up a run: `before` is what its journal holds. When `cancel` is
/// asked, what runs is ended and nothing more begins.
///
/// # Errors
///
/// When the journal cannot be written.
pub fn execute<D: Dispatch>(
    graph: &Graph,
    settings: &Settings,
    (journal, before): (Journal, Vec<Entry>),
    dispatch: &D,
    cancel: &Cancel,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<PlanOutcome, ExecuteError> {
    let mut progress = Progress::new(graph);
    let in_flight = restore::restore(graph, &mut progress, &before);
    let shared = Shared {
        graph,
        settings,
        dispatch,
        cancel,
        journal: Mutex::new(journal),
    };
    let run = Run {
        shared: &shared,
        progress,
        running: BTreeMap::new(),
        in_flight,
        observe,
    };
    std::thread::scope(|scope| {
        let outcome = run.follow_all(scope);
        // After an error there are commands that nobody follows to a written end.
        if outcome.is_err() {
            cancel.ask();
        }
        outcome
    })
}

impl<'s, D: Dispatch> Run<'s, '_, D> {
    fn follow_all<'scope>(
        mut self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<PlanOutcome, ExecuteError>
    where
        's: 'scope,
    {
        // The receiver is dropped at the end of this function, which frees followers that wait.
        let (sender, receiver) = sync_channel(PENDING_MAX);
        // Only an end lets others begin; output, which is most of what comes, does not.
        let mut has_room = true;
        loop {
            if has_room || self.shared.cancel.is_asked() {
                self.begin_what_may(scope, &sender)?;
                has_room = false;
            }
            if self.running.is_empty() {
                break;
            }
            match receiver.recv_timeout(CANCEL_PACE) {
                Ok(Message::Output(node, stream, bytes)) => self.output(node, stream, &bytes),
                Ok(Message::Tests(node, report)) => (self.observe)(&Event::StepTests {
                    step: &self.shared.graph.nodes[node].name,
                    report: &report,
                }),
                Ok(Message::Ended(node, result, took)) => {
                    self.ended(node, result, took)?;
                    has_room = true;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.pause();
        }
        let outcome = self.progress.outcome(self.shared.graph);
        self.shared.note(&Entry::Finished { outcome })?;
        (self.observe)(&Event::PlanFinished { outcome });
        Ok(outcome)
    }

    /// Begins, skips or takes from the cache whatever is ready.
    fn begin_what_may<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        sender: &SyncSender<Message>,
    ) -> Result<(), ExecuteError>
    where
        's: 'scope,
    {
        loop {
            if self.shared.cancel.is_asked() {
                self.progress.cancel();
                return Ok(());
            }
            let mut is_settled = true;
            for node in self.progress.ready(self.shared.graph) {
                is_settled &= self.take_up(node, scope, sender)?;
            }
            // What was skipped or cached may have let others be ready.
            if is_settled {
                return Ok(());
            }
        }
    }

    /// Takes up one instance that is ready. Whether others are as ready as before.
    fn take_up<'scope>(
        &mut self,
        node: usize,
        scope: &'scope Scope<'scope, '_>,
        sender: &SyncSender<Message>,
    ) -> Result<bool, ExecuteError>
    where
        's: 'scope,
    {
        match self.decide(node) {
            Ok(None) => {
                self.progress.skip(self.shared.graph, node);
                (self.observe)(&Event::StepSkipped {
                    step: &self.shared.graph.nodes[node].name,
                });
                Ok(false)
            }
            Ok(Some(_)) if self.running.len() >= self.shared.parallel() => Ok(true),
            Ok(Some(work)) => self.begin(node, work, scope, sender),
            Err(error) => {
                self.progress.begin_last(self.shared.graph, node);
                let error = DispatchError {
                    message: error.to_string(),
                    hint: None,
                };
                self.over(node, &Err(error), BTreeMap::new(), Duration::ZERO)?;
                Ok(false)
            }
        }
    }

    /// What to run for an instance; nothing if its condition does not hold.
    fn decide(&self, node: usize) -> Result<Option<Work>, ExpressionError> {
        let graph = self.shared.graph;
        let mut scope = self.progress.scope(graph, node);
        scope.env = work::plain_env(graph, node);
        if let Some(condition) = &graph.step(node).condition {
            let outlook = self.progress.outlook(graph, node);
            if !expression::holds(&condition.value, &scope, outlook)? {
                return Ok(None);
            }
        } else if !self.progress.outlook(graph, node).success {
            return Ok(None);
        }
        work::work(graph, node, self.shared.settings, &scope).map(Some)
    }

    /// Begins an attempt, unless the cache has its result. Whether others are as ready as before.
    fn begin<'scope>(
        &mut self,
        node: usize,
        mut work: Work,
        scope: &'scope Scope<'scope, '_>,
        sender: &SyncSender<Message>,
    ) -> Result<bool, ExecuteError>
    where
        's: 'scope,
    {
        let shared = self.shared;
        let step = shared.graph.step(node);
        let name = &shared.graph.nodes[node].name;
        let earlier = self.in_flight.remove(&node);
        // What cannot be read now, the step itself will stumble over, and say so.
        let key =
            shared.settings.cache.as_ref().and_then(|_| {
                Cache::key(step, &work, &shared.settings.workspace).unwrap_or_default()
            });
        if earlier.is_none()
            && let (Some(cache), Some(key)) = (&shared.settings.cache, &key)
            && let Ok(Some(outputs)) = cache.take(key, &shared.settings.workspace)
        {
            let number = self.progress.begin(node);
            shared.note(&Entry::Started {
                node: name.clone(),
                attempt: number,
            })?;
            shared.note(&Entry::Ended {
                node: name.clone(),
                outcome: Some(Outcome::Exited { code: 0 }),
                outputs: outputs.clone(),
            })?;
            self.progress.succeed(node, outputs);
            (self.observe)(&Event::StepCached { step: name });
            return Ok(false);
        }
        let number = self.progress.begin(node);
        work.key = format!("{}-{node}-{number}", shared.settings.run);
        work.handle = earlier.clone().flatten();
        if earlier.is_none() {
            shared.note(&Entry::Started {
                node: name.clone(),
                attempt: number,
            })?;
        }
        (self.observe)(&Event::StepStarted {
            step: name,
            attempt: number,
            route: work.route,
        });
        let attempt = Attempt {
            number,
            outputs: OutputScanner::new(&step.outputs),
            findings: Parser::new(Some(&work.argv.join(" "))),
            heard_at: None,
            key,
        };
        self.running.insert(node, attempt);
        let sender = sender.clone();
        scope.spawn(move || shared.follow(node, &work, &sender));
        Ok(true)
    }

    fn output(&mut self, node: usize, stream: Stream, bytes: &[u8]) {
        (self.observe)(&Event::StepOutput {
            step: &self.shared.graph.nodes[node].name,
            stream,
            bytes,
        });
        let Some(attempt) = self.running.get_mut(&node) else {
            return;
        };
        if stream == Stream::Stdout {
            attempt.outputs.push(bytes);
        }
        attempt.heard_at = Some(Instant::now());
        let found = attempt.findings.feed(stream, bytes);
        self.found(node, &found);
    }

    /// Tells what steps have found that write nothing more just now.
    fn pause(&mut self) {
        let quiet: Vec<usize> = (self.running.iter())
            .filter(|(_, attempt)| attempt.heard_at.is_some_and(|at| at.elapsed() >= PAUSE))
            .map(|(node, _)| *node)
            .collect();
        for node in quiet {
            let Some(attempt) = self.running.get_mut(&node) else {
                continue;
            };
            attempt.heard_at = None;
            let found = attempt.findings.idle();
            self.found(node, &found);
        }
    }

    fn found(&mut self, node: usize, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            (self.observe)(&Event::StepDiagnostic {
                step: &self.shared.graph.nodes[node].name,
                diagnostic,
            });
        }
    }

    fn ended(
        &mut self,
        node: usize,
        mut result: Result<Outcome, DispatchError>,
        took: Duration,
    ) -> Result<(), ExecuteError> {
        let step = self.shared.graph.step(node);
        let workspace = &self.shared.settings.workspace;
        let (outputs, found) = match self.running.get_mut(&node) {
            Some(attempt) => (attempt.outputs.finish(), attempt.findings.finish()),
            None => (BTreeMap::new(), Vec::new()),
        };
        self.found(node, &found);
        if is_success(&result) {
            let to = self
                .shared
                .settings
                .artifacts
                .join(&self.shared.graph.nodes[node].name);
            if let Err(error) = cache::copy_artifacts(step, workspace, &to) {
                result = Err(DispatchError {
                    message: format!("failed to keep its artifacts: {error}"),
                    hint: None,
                });
            }
        }
        let key = self
            .running
            .get(&node)
            .and_then(|attempt| attempt.key.clone());
        if is_success(&result)
            && let (Some(cache), Some(key)) = (&self.shared.settings.cache, key)
        {
            // A result that is not kept is made again.
            let _ = cache.keep(&key, step, &outputs, workspace);
        }
        self.over(node, &result, outputs, took)
    }

    /// An attempt has come to its end.
    fn over(
        &mut self,
        node: usize,
        result: &Result<Outcome, DispatchError>,
        outputs: BTreeMap<String, String>,
        took: Duration,
    ) -> Result<(), ExecuteError> {
        let graph = self.shared.graph;
        let name = &graph.nodes[node].name;
        self.shared.note(&Entry::Ended {
            node: name.clone(),
            outcome: result.as_ref().ok().cloned(),
            outputs: outputs.clone(),
        })?;
        let retry = if is_success(result) {
            self.progress.succeed(node, outputs);
            false
        } else {
            self.progress.fail(graph, node)
        };
        let attempt = self
            .running
            .remove(&node)
            .map_or(1, |attempt| attempt.number);
        let described = match result {
            Ok(_) if is_success(result) => None,
            Ok(outcome) => Some(outcome.describe()),
            Err(error) => Some(error.message.clone()),
        };
        (self.observe)(&Event::StepEnded {
            step: name,
            attempt,
            outcome: result.as_ref().ok(),
            error: described.as_deref(),
            hint: result
                .as_ref()
                .err()
                .and_then(|error| error.hint.as_deref()),
            retry,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            done: self.progress.done(),
            total: graph.nodes.len(),
        });
        Ok(())
    }
}

fn is_success(result: &Result<Outcome, DispatchError>) -> bool {
    matches!(result, Ok(Outcome::Exited { code: 0 }))
}

impl<D: Dispatch> Shared<'_, D> {
    fn parallel(&self) -> usize {
        let cores = || std::thread::available_parallelism().ok();
        let parallel = self.settings.parallel.or(self.graph.plan.parallel);
        parallel.or_else(cores).map_or(1, NonZeroUsize::get)
    }

    /// Follows one attempt, on a thread of its own. When nobody listens any more the run has
    /// failed, and the attempt is ended by `cancel`.
    fn follow(&self, node: usize, work: &Work, sender: &SyncSender<Message>) {
        let begin = Instant::now();
        let mut tell = |telling: Telling<'_>| match telling {
            Telling::Handle(handle) => {
                // A handle that is not written down costs a later run one more attempt.
                let _ = self.note(&Entry::Handle {
                    node: self.graph.nodes[node].name.clone(),
                    handle: handle.to_owned(),
                });
            }
            Telling::Output(stream, bytes) => {
                let _ = sender.send(Message::Output(node, stream, bytes.to_vec()));
            }
        };
        let result = if tests_of_step::is_recovered(self.graph.step(node), work) {
            self.run_tests(node, work, &mut tell, sender)
        } else {
            self.dispatch.run(work, &mut tell, self.cancel)
        };
        let _ = sender.send(Message::Ended(node, result, begin.elapsed()));
    }

    fn note(&self, entry: &Entry) -> Result<(), ExecuteError> {
        self.lock_journal()
            .append(entry)
            .map_err(ExecuteError::Journal)
    }

    fn lock_journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests;
