//! How a watch looks: a line for each run, what is found while it is found, and the end.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cogo_plan::diagnostic::{self, Diagnostic, Parser, Severity};
use cogo_plan::dispatch::DispatchError;
use cogo_plan::test_recovery::TestCommand;
use cogo_plan::test_results::{TestKey, TestParser, TestResult, TestStatus};
use cogo_protocol::record::{Stream, Utf8Chunker};
use cogo_protocol::verdict::Outcome;
use serde_json::{Value, json};

use crate::measure;
use crate::outlet::Outlet;
use crate::paint::{Color, Painter};

/// Silence after which what was written is taken for whole.
const PAUSE: Duration = Duration::from_millis(100);

/// The end of the output, for a failure that nothing was found of.
const TAIL_MAX: usize = 4 * 1024;

pub(super) struct Screen {
    json: bool,
    output: bool,
    painter: Painter,
    run: Option<Run>,
    outlet: Outlet,
}

/// What is known of the run that is shown.
struct Run {
    number: u64,
    began_at: Instant,
    findings: Parser,
    tests: TestParser,
    heard_at: Option<Instant>,
    errors: usize,
    warnings: usize,
    /// Tests that were told to have failed.
    failures: HashSet<TestKey>,
    tail: Vec<u8>,
    chunkers: [Utf8Chunker; 2],
}

impl Screen {
    pub(super) fn new(json: bool, output: bool) -> Self {
        Self {
            json,
            output,
            painter: Painter::stderr(),
            run: None,
            outlet: Outlet::default(),
        }
    }

    /// A run begins, `waited` after the edit that asks for it.
    pub(super) fn begin(
        &mut self,
        number: u64,
        argv: &[String],
        is_part: bool,
        changed: &[PathBuf],
        waited: Duration,
    ) {
        let command = TestCommand::recognize(argv, std::path::Path::new("."));
        self.run = Some(Run {
            number,
            began_at: Instant::now(),
            findings: Parser::new(Some(&argv.join(" "))),
            tests: TestParser::new(command.map(|command| command.tool)),
            heard_at: None,
            errors: 0,
            warnings: 0,
            failures: HashSet::new(),
            tail: Vec::new(),
            chunkers: Default::default(),
        });
        let line = argv.join(" ");
        let why = match changed {
            [] => String::new(),
            [one] => format!("{} changed: ", one.display()),
            [one, more @ ..] => format!(
                "{} and {} changed: ",
                one.display(),
                measure::count(more.len() as u64, "other")
            ),
        };
        self.event(
            &json!({"event": "run_started", "run": number, "argv": argv, "part": is_part,
                "changed": changed, "waited_ms": waited.as_millis() as u64}),
            Color::Cyan,
            &format!("▶ {why}{line}"),
        );
    }

    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(run) = &mut self.run else { return };
        run.heard_at = Some(Instant::now());
        run.tail.extend_from_slice(bytes);
        let excess = run.tail.len().saturating_sub(TAIL_MAX);
        run.tail.drain(..excess);
        let found = run.findings.feed(stream, bytes);
        let tests = run.tests.feed(stream, bytes);
        if self.output && self.json {
            let chunk = run.chunkers[usize::from(stream == Stream::Stderr)].push(bytes);
            let number = run.number;
            if let Some(chunk) = chunk {
                let line = json!({"event": "run_output", "run": number, "stream": stream,
                    "output": chunk.output, "encoding": chunk.encoding});
                self.outlet
                    .write(Stream::Stdout, format!("{line}\n").as_bytes());
            }
        } else if self.output {
            self.outlet.write(Stream::Stdout, bytes);
        }
        self.found(&found);
        self.tested(&tests);
    }

    /// Tells what has been found when output pauses.
    pub(super) fn pause(&mut self) {
        let Some(run) = &mut self.run else { return };
        if run.heard_at.is_some_and(|at| at.elapsed() >= PAUSE) {
            run.heard_at = None;
            let found = run.findings.idle();
            self.found(&found);
        }
    }

    pub(super) fn end(&mut self, result: &Result<Outcome, DispatchError>, is_stale: bool) {
        let Some(run) = &mut self.run else { return };
        let mut tests = std::mem::replace(&mut run.tests, TestParser::new(None)).finish();
        if is_stale {
            tests.clear();
        } else {
            let found = run.findings.finish();
            self.found(&found);
            self.tested(&tests);
        }
        let Some(run) = self.run.take() else { return };
        let took_ms = run.began_at.elapsed().as_millis() as u64;
        let counts = Counts::of(&run, &tests);
        let has_failed = !is_stale && *result != Ok(Outcome::Exited { code: 0 });
        // Nothing was recognised: what it wrote has to speak for itself.
        let is_dark = counts.errors + counts.failed == 0 && !self.output && !self.json;
        if has_failed && is_dark {
            self.outlet.write(Stream::Stdout, &run.tail);
        }
        let took = measure::time(Duration::from_millis(took_ms));
        let (color, text) = match result {
            _ if is_stale => (
                Color::Yellow,
                "– stopped: its files have changed".to_owned(),
            ),
            Ok(Outcome::Exited { code: 0 }) => (Color::Green, format!("✓ done in {took}{counts}")),
            Ok(outcome) => (
                Color::Red,
                format!("✗ {}, after {took}{counts}", outcome.describe()),
            ),
            Err(error) => (Color::Red, format!("✗ {}", error.message)),
        };
        let error = result.as_ref().err().map(|error| &error.message);
        self.event(
            &json!({"event": "run_ended", "run": run.number, "outcome": result.as_ref().ok(),
                "error": error, "stale": is_stale, "errors": counts.errors,
                "warnings": counts.warnings, "passed": counts.passed, "failed": counts.failed,
                "duration_ms": took_ms}),
            color,
            &text,
        );
    }

    fn found(&mut self, found: &[Diagnostic]) {
        for diagnostic in found {
            let Some(run) = &mut self.run else { return };
            let color = match diagnostic.severity {
                Severity::Error => {
                    run.errors += 1;
                    Color::Red
                }
                Severity::Warning => {
                    run.warnings += 1;
                    Color::Yellow
                }
                Severity::Info => Color::Cyan,
            };
            let event =
                json!({"event": "run_diagnostic", "run": run.number, "diagnostic": diagnostic});
            self.event(
                &event,
                color,
                &format!("  {}", diagnostic::line(diagnostic)),
            );
        }
    }

    /// Tells failures, each once.
    fn tested(&mut self, tests: &[TestResult]) {
        for result in tests {
            let Some(run) = &mut self.run else { return };
            if result.status.is_good() || !run.failures.insert(result.key.clone()) {
                continue;
            }
            let event = json!({"event": "run_test", "run": run.number, "test": result});
            let text = format!("  ✗ {} {}", result.key, result.status.name());
            self.event(&event, Color::Red, &text);
        }
    }

    fn event(&mut self, event: &Value, color: Color, text: &str) {
        let line = if self.json {
            format!("{event}\n")
        } else {
            format!("{}\n", self.painter.paint(color, text))
        };
        self.outlet.write(Stream::Stdout, line.as_bytes());
    }
}

/// What a run has found.
struct Counts {
    errors: usize,
    warnings: usize,
    failed: usize,
    passed: usize,
}

impl Counts {
    fn of(run: &Run, tests: &[TestResult]) -> Self {
        let count =
            |is: fn(TestStatus) -> bool| tests.iter().filter(|test| is(test.status)).count();
        Self {
            errors: run.errors,
            warnings: run.warnings,
            failed: count(|status| !status.is_good()),
            passed: count(|status| status == TestStatus::Passed),
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = [
            (self.errors, "error"),
            (self.warnings, "warning"),
            (self.failed, "failed test"),
            (self.passed, "passed test"),
        ];
        for (count, word) in counted.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {}", measure::count(count as u64, word))?;
        }
        Ok(())
    }
}

/// Whether the one who read our output is gone.
pub(super) fn is_unread() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut watched, Some(&now)).is_ok() && watched[0].revents().contains(PollFlags::ERR)
}
