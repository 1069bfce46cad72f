//! Runs tests, and runs again what did not pass, as its cause asks.

use std::path::Path;

use cogo_protocol::record::Stream;
use cogo_protocol::units::Bytes;
use cogo_protocol::verdict::Outcome;
use serde::Serialize;

use super::TestCommand;
use super::history::History;
use super::quarantine::Quarantine;
use super::report::{Recovered, Report};
use crate::dispatch::{Cancel, Dispatch, DispatchError, Progress, Work};
use crate::test_results::{TestKey, TestParser, TestResult, TestStatus, TestTool, read_report};

mod cases;
mod repeats;
mod resources;

use cases::Cases;

/// How far to go.
#[derive(Clone, Debug)]
pub struct RecoverySettings {
    /// Repeats of a failed test at most.
    pub reruns: u32,
    /// Tests that are run alone at most after a run that did not end by itself.
    pub alone_max: usize,
    /// Memory at most, when there was too little.
    pub memory_max: Option<Bytes>,
    /// Files with results, as globs below the workspace, that the command writes.
    pub reports: Vec<String>,
    /// The directory that `reports` are below.
    pub workspace: std::path::PathBuf,
    /// The time, for what expires and is remembered: Unix, in milliseconds.
    pub now_ms: u64,
}

/// Why a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It was asked for.
    Asked,
    /// It could not be started, or nobody saw its end.
    Infrastructure,
    /// There was too little memory, too few processes or too little disk.
    Resources,
    /// The run before ended too early to tell of these tests.
    Missing,
    /// Which tests there are is to be found out.
    List,
    /// These tests failed.
    Failed,
}

/// What happens, for those who watch.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TestEvent<'a> {
    /// A command begins.
    TestRunStarted {
        /// Why.
        why: Why,
        /// The command.
        argv: &'a [String],
        /// The tests it is to run; empty for all.
        tests: &'a [TestKey],
    },
    /// It wrote something.
    TestOutput {
        /// Why it runs.
        why: Why,
        /// Where.
        stream: Stream,
        /// What.
        #[serde(skip)]
        bytes: &'a [u8],
    },
    /// A test has ended.
    TestEnded {
        /// Why it was run.
        why: Why,
        /// How it ended.
        #[serde(flatten)]
        result: &'a TestResult,
    },
    /// The command has ended.
    TestRunEnded {
        /// Why it was run.
        why: Why,
        /// How; nothing if it could not be started or its end is not known.
        outcome: Option<&'a Outcome>,
        /// Why there is no outcome.
        error: Option<&'a str>,
    },
}

/// One command that was run.
struct Ran {
    outcome: Result<Outcome, DispatchError>,
    results: Vec<TestResult>,
    tool: Option<TestTool>,
    /// The beginning of what it wrote: lists of tests are read from it.
    text: Vec<u8>,
}

/// All that stays the same through the repeats.
struct Engine<'a, D> {
    dispatch: &'a D,
    command: Option<TestCommand>,
    /// The work as it was asked for, with what was found to be needed.
    work: Work,
    settings: &'a RecoverySettings,
    cancel: &'a Cancel,
    observe: &'a mut dyn FnMut(&TestEvent<'_>),
    /// What the dispatch says of the first command, so that it is found again after our death.
    handle: &'a mut dyn FnMut(&str),
    runs: u32,
    recovered: Vec<Recovered>,
}

/// A list of tests that is longer is not read.
const TEXT_MAX: usize = 4 << 20;

/// Starts that are tried when the way to the sandbox fails.
const INFRASTRUCTURE_TRIES: u32 = 3;

/// Runs the tests of `work`, and again what failed. When `cancel` is asked, nothing more is run.
///
/// `handle` is told what finds the first command again; a later call with it in `work` follows that
/// command, and does the repeats anew.
pub fn recover<D: Dispatch>(
    dispatch: &D,
    work: &Work,
    (settings, history, quarantine): (&RecoverySettings, &History, &Quarantine),
    cancel: &Cancel,
    handle: &mut dyn FnMut(&str),
    observe: &mut dyn FnMut(&TestEvent<'_>),
) -> Report {
    let command = TestCommand::recognize(&work.argv, &work.cwd);
    let mut engine = Engine {
        dispatch,
        command,
        work: work.clone(),
        settings,
        cancel,
        observe,
        handle,
        runs: 0,
        recovered: Vec::new(),
    };
    let argv = match &engine.command {
        Some(command) => command.all(),
        None => work.argv.clone(),
    };
    let first = engine.first(&argv);
    let mut cases = Cases::new(&first.results);
    let (verdict, error) = match &first.outcome {
        Ok(outcome) => (Some(outcome.clone()), None),
        Err(error) => (None, Some(error.clone())),
    };
    engine.settle(first, &argv, &mut cases);
    let is_cancelled = cancel.is_asked();
    let mut report = cases.into_report(
        (verdict, is_cancelled),
        engine.recovered,
        history,
        quarantine,
        settings.now_ms,
    );
    report.error = error;
    report
}

impl<D: Dispatch> Engine<'_, D> {
    /// The run that was asked for, until the sandbox has told how it ended.
    fn first(&mut self, argv: &[String]) -> Ran {
        let mut ran = self.run(Why::Asked, argv, &[], &[]);
        for attempt in 2..=INFRASTRUCTURE_TRIES {
            let cause = match &ran.outcome {
                Err(error) => error.message.clone(),
                Ok(outcome @ Outcome::Unknown { .. }) => outcome.describe(),
                Ok(_) => break,
            };
            if self.cancel.is_asked() {
                break;
            }
            ran = self.run(Why::Infrastructure, argv, &[], &[]);
            self.recovered.push(Recovered {
                cause,
                change: format!("run again, try {attempt}"),
                helped: !matches!(&ran.outcome, Err(_) | Ok(Outcome::Unknown { .. })),
            });
        }
        ran
    }

    /// Does what the first run's end asks for.
    fn settle(&mut self, first: Ran, argv: &[String], cases: &mut Cases) {
        let ran = self.with_resources(first, argv, cases);
        if self.cancel.is_asked() {
            cases.end = ran.outcome.ok();
            return;
        }
        if ended_early(&ran) {
            cases.is_whole = false;
            self.missing(&ran, argv, cases);
        }
        cases.end = ran.outcome.ok();
        self.repeat_failures(argv, cases);
    }

    /// Runs a command and reads its results.
    fn run(
        &mut self,
        why: Why,
        argv: &[String],
        env: &[(&'static str, &'static str)],
        tests: &[TestKey],
    ) -> Ran {
        (self.observe)(&TestEvent::TestRunStarted { why, argv, tests });
        let mut work = self.work.clone();
        argv.clone_into(&mut work.argv);
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        work.env.extend(env);
        if self.runs > 0 {
            work.key = format!("{}-again-{}", self.work.key, self.runs);
            work.handle = None;
        }
        let is_first = self.runs == 0;
        self.runs += 1;
        let mut parser = TestParser::new(self.command.as_ref().map(|command| command.tool));
        let mut text = Vec::new();
        let observe = &mut *self.observe;
        let handle = &mut *self.handle;
        let mut tell = |progress: Progress<'_>| match progress {
            Progress::Handle(found) if is_first => handle(found),
            Progress::Handle(_) => {}
            Progress::Output(stream, bytes) => {
                observe(&TestEvent::TestOutput { why, stream, bytes });
                if text.len() < TEXT_MAX {
                    text.extend_from_slice(bytes);
                }
                for result in &parser.feed(stream, bytes) {
                    observe(&TestEvent::TestEnded { why, result });
                }
            }
        };
        let outcome = self.dispatch.run(&work, &mut tell, self.cancel);
        let error = outcome.as_ref().err().map(|error| error.message.clone());
        (self.observe)(&TestEvent::TestRunEnded {
            why,
            outcome: outcome.as_ref().ok(),
            error: error.as_deref(),
        });
        let tool = parser.seen();
        let mut results = parser.finish();
        if why != Why::List {
            results.extend(self.reports());
        }
        Ran {
            outcome,
            results,
            tool,
            text,
        }
    }

    /// Results in files that the command has written.
    fn reports(&self) -> Vec<TestResult> {
        let workspace: &Path = &self.settings.workspace;
        let files = crate::files::named(workspace, &self.settings.reports).unwrap_or_default();
        let texts = files
            .iter()
            .filter_map(|file| std::fs::read_to_string(workspace.join(file)).ok());
        texts
            .filter_map(|text| read_report(&text))
            .flatten()
            .collect()
    }

    /// Whether anything more may be run.
    fn may_go_on(&self) -> bool {
        !self.cancel.is_asked()
    }
}

/// Whether tests may have been left out: the runner was ended, or died.
fn ended_early(ran: &Ran) -> bool {
    let is_open = |result: &TestResult| result.status == TestStatus::Unfinished;
    match &ran.outcome {
        Ok(Outcome::Exited { code }) if *code != 0 => {
            ran.results.iter().any(is_open) || libtest_died(ran) || python_died(ran)
        }
        Ok(
            Outcome::Signaled { .. }
            | Outcome::OutOfMemory { .. }
            | Outcome::PidsExhausted { .. }
            | Outcome::DiskFull { .. }
            | Outcome::TimedOut { .. }
            | Outcome::Blocked { .. },
        ) => true,
        Ok(
            Outcome::Exited { .. }
            | Outcome::Cancelled
            | Outcome::NotStarted { .. }
            | Outcome::Unknown { .. },
        )
        | Err(_) => false,
    }
}

/// `running 2 tests`, and fewer have a result: a test ended the whole program.
fn libtest_died(ran: &Ran) -> bool {
    if ran.tool != Some(TestTool::Libtest) {
        return false;
    }
    let text = String::from_utf8_lossy(&ran.text);
    let announced = text.lines().filter(|line| {
        line.strip_prefix("running ")
            .is_some_and(|rest| rest.ends_with(" tests") || rest.ends_with(" test"))
    });
    let ended = text
        .lines()
        .filter(|line| line.starts_with("test result: "));
    announced.count() > ended.count()
}

/// pytest ends with a line of counts, unless it dies.
fn python_died(ran: &Ran) -> bool {
    let text = String::from_utf8_lossy(&ran.text);
    ran.tool == Some(TestTool::Pytest)
        && !text
            .lines()
            .any(|line| line.starts_with("===") && line.contains(" in "))
}
