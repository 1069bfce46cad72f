//! How tests look: the command's own output, a line for each repeat, and what came of it all.

use std::time::{Duration, Instant};

use cogo_plan::diagnostic::{self, Diagnostic, Parser, Severity};
use cogo_plan::test_recovery::{
    Class, Quarantine, Report, TestEvent, TestReport, TestsOutcome, Why,
};
use cogo_plan::test_results::TestStatus;
use cogo_protocol::record::{Stream, Utf8Chunker};
use cogo_protocol::verdict::Outcome;
use serde_json::json;

use crate::failure::{Failure, note, print, tell};
use crate::measure;
use crate::outlet::Outlet;
use crate::paint::{Color, Painter};

/// Errors that are shown when the command failed and no test did.
const ERRORS_SHOWN: usize = 10;

/// Names that a line about a repeat has at most.
const NAMES_SHOWN: usize = 3;

pub(super) struct Screen {
    json: bool,
    quiet: bool,
    painter: Painter,
    began_at: Instant,
    chunkers: [Utf8Chunker; 2],
    /// What compilers say of a command that fails before its tests.
    findings: Parser,
    errors: Vec<Diagnostic>,
    outlet: Outlet,
}

impl Screen {
    pub(super) fn new(json: bool, quiet: bool, command: &[String]) -> Self {
        Self {
            json,
            quiet,
            painter: Painter::stderr(),
            began_at: Instant::now(),
            chunkers: Default::default(),
            findings: Parser::new(Some(&command.join(" "))),
            errors: Vec::new(),
            outlet: Outlet::default(),
        }
    }

    pub(super) fn show(&mut self, event: &TestEvent<'_>) {
        if let TestEvent::TestOutput {
            why: Why::Asked,
            stream,
            bytes,
        } = event
        {
            let found = self.findings.feed(*stream, bytes);
            self.keep(found);
        }
        if self.json {
            let line = self.as_json(event);
            self.outlet.write(Stream::Stdout, line.as_bytes());
            return;
        }
        match event {
            TestEvent::TestOutput {
                why: Why::Asked | Why::Infrastructure,
                stream,
                bytes,
            } if !self.quiet => {
                self.outlet.write(*stream, bytes);
            }
            TestEvent::TestRunStarted { why, tests, .. } => {
                if let Some(text) = again(*why, tests) {
                    note(&text);
                }
            }
            TestEvent::TestOutput { .. }
            | TestEvent::TestEnded { .. }
            | TestEvent::TestRunEnded { .. } => {}
        }
    }

    /// Tells what came of it.
    pub(super) fn finish(
        mut self,
        report: &Report,
        quarantine: &Quarantine,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let rest = self.findings.finish();
        self.keep(rest);
        if self.json {
            let event = json!({"event": "tests_finished", "report": report,
                "errors": self.errors.iter().take(ERRORS_SHOWN).collect::<Vec<_>>()});
            return print(&format!("{event}\n"));
        }
        let mut text = String::new();
        for way in &report.recovered {
            let (mark, color) = if way.helped {
                ("✓", Color::Green)
            } else {
                ("✗", Color::Yellow)
            };
            let mark = self.painter.paint(color, mark);
            text.push_str(&format!("  {mark} {}: {}\n", way.cause, way.change));
        }
        for test in &report.tests {
            text.push_str(&self.test(test, quarantine, now_ms));
        }
        if report.outcome == TestsOutcome::CommandFailed {
            text.push_str(&self.errors());
        }
        let label = self.painter.paint(Color::Cyan, "cogo:");
        text.push_str(&format!("{label} {}\n", self.summary(report)));
        tell(&text);
        Ok(())
    }

    fn keep(&mut self, found: Vec<Diagnostic>) {
        let room = ERRORS_SHOWN.saturating_sub(self.errors.len());
        let errors = found
            .into_iter()
            .filter(|found| found.severity == Severity::Error);
        self.errors.extend(errors.take(room));
    }

    fn as_json(&mut self, event: &TestEvent<'_>) -> String {
        let mut object = serde_json::to_value(event).expect("events have string keys only");
        if let TestEvent::TestOutput { stream, bytes, .. } = event {
            let chunker = &mut self.chunkers[usize::from(*stream == Stream::Stderr)];
            let Some(chunk) = chunker.push(bytes) else {
                return String::new();
            };
            object["output"] = chunk.output.into();
            object["encoding"] = serde_json::to_value(chunk.encoding).expect("a word");
        }
        format!("{object}\n")
    }

    /// A test that is worth a line.
    fn test(&self, test: &TestReport, quarantine: &Quarantine, now_ms: u64) -> String {
        let class = test.judgement.class;
        let (mark, color) = match class {
            Class::Good => return String::new(),
            Class::Flaky | Class::NeedsIsolation => ("~", Color::Yellow),
            Class::Broken
            | Class::TimedOut
            | Class::Blocked
            | Class::OutOfMemory
            | Class::Unknown => ("✗", Color::Red),
        };
        let word = class.name();
        let head = self.painter.paint(color, format!("{mark} {word}"));
        let mut lines = format!("  {head} {}", test.result.key);
        if let Some(message) = (test.tries.iter()).find_map(|result| result.message.as_deref()) {
            lines.push_str(&format!(": {message}"));
        }
        let judgement = &test.judgement;
        let sure = if judgement.confidence < 0.995 {
            format!(", {:.0} % sure", judgement.confidence * 100.0)
        } else {
            String::new()
        };
        lines.push_str(&format!("\n      {}{sure}\n", judgement.evidence));
        if let Some(reason) = &test.quarantine {
            lines.push_str(&format!("      excused: {reason}\n"));
        } else if let Some(entry) =
            (quarantine.entry(&test.result.key)).filter(|entry| entry.is_expired(now_ms))
        {
            lines.push_str(&format!(
                "      was excused until {}: {}\n",
                entry.expires, entry.reason
            ));
        }
        lines
    }

    /// What the tools said of a command that failed without a failed test.
    fn errors(&self) -> String {
        let lines = self.errors.iter().map(diagnostic::line);
        lines
            .map(|line| format!("  {}\n", self.painter.paint(Color::Red, line)))
            .collect()
    }

    fn summary(&self, report: &Report) -> String {
        let counted = [
            (report.count(TestStatus::Passed), "passed"),
            (
                report.tests.iter().filter(|test| test.counts()).count(),
                "failed",
            ),
            (
                report
                    .tests
                    .iter()
                    .filter(|test| test.judgement.class == Class::Flaky)
                    .count(),
                "flaky",
            ),
            (
                report
                    .tests
                    .iter()
                    .filter(|test| test.quarantine.is_some())
                    .count(),
                "excused",
            ),
            (report.count(TestStatus::Skipped), "skipped"),
        ];
        let counted: Vec<String> = (counted.iter().filter(|(count, _)| *count > 0))
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let tests = if counted.is_empty() {
            "no test has told its result".to_owned()
        } else {
            counted.join(", ")
        };
        let end = match report.outcome {
            TestsOutcome::Recovered => "; all well in the end".to_owned(),
            TestsOutcome::Passed | TestsOutcome::Failed => String::new(),
            TestsOutcome::Cancelled => "; cancelled".to_owned(),
            TestsOutcome::CommandFailed => {
                let how = report.verdict.as_ref().map(Outcome::describe);
                format!(
                    "; the command {}",
                    how.unwrap_or_else(|| "could not be run".to_owned())
                )
            }
        };
        let took = measure::time(Duration::from_millis(
            self.began_at.elapsed().as_millis() as u64
        ));
        format!("{tests}{end}, in {took}")
    }
}

/// What is run again, and why.
fn again(why: Why, tests: &[cogo_plan::test_results::TestKey]) -> Option<String> {
    let names = || {
        let mut names: Vec<String> = tests
            .iter()
            .take(NAMES_SHOWN)
            .map(ToString::to_string)
            .collect();
        if tests.len() > NAMES_SHOWN {
            names.push(format!("{} more", tests.len() - NAMES_SHOWN));
        }
        if names.is_empty() {
            "all tests".to_owned()
        } else {
            names.join(", ")
        }
    };
    match why {
        Why::Asked | Why::List => None,
        Why::Infrastructure => Some("the sandbox failed; trying again".to_owned()),
        Why::Resources => {
            Some("there was too little of something; trying with a change".to_owned())
        }
        Why::Missing => Some(format!("no result yet, running again: {}", names())),
        Why::Failed => Some(format!("failed, running again: {}", names())),
    }
}
