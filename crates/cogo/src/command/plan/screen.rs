//! How a run looks: lines with the name of their step before them, or JSON.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use cogo_plan::diagnostic::{self, Diagnostic, Severity};
use cogo_plan::execute::Event;
use cogo_plan::graph::Node;
use cogo_plan::progress::PlanOutcome;
use cogo_plan::test_recovery::Class;
use cogo_protocol::record::{Stream, Utf8Chunker};

use super::execute::How;
use crate::failure::{Failure, print};
use crate::outlet::Outlet;
use crate::paint::{Color, Painter};
use crate::{measure, state};

/// Output of a quiet run that is kept for the case of a failure.
const KEPT_MAX: usize = 1 << 20;

/// Errors that are shown once more when a step has failed.
const ERRORS_SHOWN: usize = 10;

/// A line is shown in pieces past this length.
const LINE_MAX: usize = 64 * 1024;

pub(super) struct Screen {
    json: bool,
    quiet: bool,
    painter: Painter,
    width: usize,
    steps: HashMap<String, StepScreen>,
    /// Put findings where GitHub shows them.
    annotate: bool,
    /// Findings of all steps, if they are asked for.
    sarif: Option<(PathBuf, Vec<Diagnostic>)>,
    /// Nobody reads our output any more.
    outlet: Outlet,
}

/// What of a step is not shown yet.
#[derive(Default)]
struct StepScreen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Whole lines of a quiet run.
    kept: Vec<u8>,
    /// The first errors of the attempt, and how many there were.
    errors: Vec<Diagnostic>,
    error_count: usize,
    chunkers: [Utf8Chunker; 2],
}

impl Screen {
    pub(super) fn new(how: &How, nodes: &[Node]) -> Self {
        Self {
            json: how.json,
            quiet: how.quiet,
            annotate: state::variable("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
            sarif: how.sarif.clone().map(|path| (path, Vec::new())),
            painter: Painter::stderr(),
            width: nodes
                .iter()
                .map(|node| node.name.chars().count())
                .max()
                .unwrap_or(0),
            steps: HashMap::new(),
            outlet: Outlet::default(),
        }
    }

    pub(super) fn begin(&mut self, run: &str) -> Result<(), Failure> {
        if self.json {
            return print(&format!(
                "{}\n",
                serde_json::json!({"event": "plan_started", "run": run})
            ));
        }
        Ok(())
    }

    pub(super) fn show(&mut self, event: &Event<'_>) {
        if let Event::StepDiagnostic { step, diagnostic } = event {
            self.keep(step, diagnostic);
        }
        let text = if self.json {
            self.as_json(event)
        } else {
            self.as_text(event)
        };
        if !text.is_empty() {
            self.outlet.write(Stream::Stdout, &text);
        }
    }

    /// Writes the findings to where they were asked for.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Some((path, findings)) = self.sarif else {
            return Ok(());
        };
        let text = serde_json::to_vec_pretty(&diagnostic::sarif(&findings))?;
        std::fs::write(&path, text).map_err(|error| {
            Failure::caused(format!("failed to write `{}`", path.display()), &error)
        })
    }

    /// Keeps a finding for the end of its step, and of the plan.
    fn keep(&mut self, name: &str, found: &Diagnostic) {
        if let Some((_, findings)) = &mut self.sarif {
            findings.push(found.clone());
        }
        if found.severity == Severity::Error {
            let step = self.steps.entry(name.to_owned()).or_default();
            step.error_count += 1;
            if step.errors.len() < ERRORS_SHOWN {
                step.errors.push(found.clone());
            }
        }
    }

    fn as_json(&mut self, event: &Event<'_>) -> Vec<u8> {
        let mut object = serde_json::to_value(event).expect("events have string keys only");
        if let Event::StepOutput {
            step,
            stream,
            bytes,
        } = event
        {
            let step = self.steps.entry((*step).to_owned()).or_default();
            let chunker = &mut step.chunkers[usize::from(*stream == Stream::Stderr)];
            let Some(chunk) = chunker.push(bytes) else {
                return Vec::new();
            };
            object["output"] = chunk.output.into();
            object["encoding"] = serde_json::to_value(chunk.encoding).expect("a word");
        }
        format!("{object}\n").into_bytes()
    }

    fn as_text(&mut self, event: &Event<'_>) -> Vec<u8> {
        match event {
            Event::StepStarted { step, attempt, .. } => {
                let attempt = match attempt {
                    1 => String::new(),
                    more => format!(", attempt {more}"),
                };
                self.line(step, Color::Cyan, &format!("▶ started{attempt}"))
            }
            Event::StepOutput {
                step,
                stream,
                bytes,
            } => self.output(step, *stream, bytes),
            // The output has it already, in the tool's own words.
            Event::StepDiagnostic { diagnostic, .. } if self.annotate => {
                format!("{}\n", diagnostic::github(diagnostic)).into_bytes()
            }
            Event::StepDiagnostic { .. } => Vec::new(),
            Event::StepTests { step, report } => {
                let tests = report
                    .tests
                    .iter()
                    .filter(|test| test.judgement.class != Class::Good);
                let lines = tests.map(|test| {
                    let color = if test.counts() {
                        Color::Red
                    } else {
                        Color::Yellow
                    };
                    self.line(step, color, &test.describe())
                });
                lines.flatten().collect()
            }
            Event::StepEnded {
                step,
                error,
                hint,
                retry,
                duration_ms,
                done,
                total,
                ..
            } => {
                let took = measure::time(Duration::from_millis(*duration_ms));
                let errors = self.errors(step, error.is_some());
                let mut text = self.rest(step, error.is_some());
                text.extend(errors);
                text.extend(match error {
                    None => self.line(
                        step,
                        Color::Green,
                        &format!("✓ done in {took} ({done}/{total})"),
                    ),
                    Some(error) => {
                        let again = if *retry { "; trying again" } else { "" };
                        self.line(step, Color::Red, &format!("✗ {error}, after {took}{again}"))
                    }
                });
                if let Some(hint) = hint {
                    text.extend(self.line(step, Color::Cyan, &format!("hint: {hint}")));
                }
                text
            }
            Event::StepCached { step } => {
                self.line(step, Color::Green, "✓ done before with the same inputs")
            }
            Event::StepSkipped { step } => self.line(step, Color::Yellow, "– skipped"),
            Event::PlanFinished { outcome } => {
                let (color, word) = match outcome {
                    PlanOutcome::Succeeded => (Color::Green, "succeeded"),
                    PlanOutcome::Failed => (Color::Red, "failed"),
                    PlanOutcome::Cancelled => (Color::Yellow, "was cancelled"),
                };
                let text = self.painter.paint(color, format!("the plan {word}"));
                format!("{text}\n").into_bytes()
            }
        }
    }

    /// What a failed step found, once more and in short: the output before it may be long.
    fn errors(&mut self, name: &str, failed: bool) -> Vec<u8> {
        let Some(step) = self.steps.get_mut(name) else {
            return Vec::new();
        };
        let errors = std::mem::take(&mut step.errors);
        let more = std::mem::take(&mut step.error_count) - errors.len();
        if !failed {
            return Vec::new();
        }
        let mut lines: Vec<String> = errors.iter().map(diagnostic::line).collect();
        if more > 0 {
            lines.push(format!("and {}", measure::count(more as u64, "more error")));
        }
        let lines = lines.iter().map(|line| self.line(name, Color::Red, line));
        lines.flatten().collect()
    }

    fn line(&self, step: &str, color: Color, text: &str) -> Vec<u8> {
        let text = self.painter.paint(color, text);
        [self.head(step).as_bytes(), text.as_bytes(), b"\n"].concat()
    }

    fn head(&self, step: &str) -> String {
        let padding = " ".repeat(self.width.saturating_sub(step.chars().count()));
        format!("{}{padding} │ ", self.painter.paint(Color::Cyan, step))
    }

    /// Whole lines of a step, each behind its name.
    fn output(&mut self, name: &str, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let head = self.head(name);
        let step = self.steps.entry(name.to_owned()).or_default();
        let unfinished = match stream {
            Stream::Stdout => &mut step.stdout,
            Stream::Stderr => &mut step.stderr,
        };
        unfinished.extend_from_slice(bytes);
        let end = match unfinished.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if unfinished.len() > LINE_MAX => unfinished.len(),
            None => return Vec::new(),
        };
        let whole: Vec<u8> = unfinished.drain(..end).collect();
        let text = behind(&head, &whole);
        if !self.quiet {
            return text;
        }
        step.kept.extend(text);
        // The end of what a failed step said matters most.
        let excess = step.kept.len().saturating_sub(KEPT_MAX);
        step.kept.drain(..excess);
        Vec::new()
    }

    /// What is left of a step that is over.
    fn rest(&mut self, name: &str, failed: bool) -> Vec<u8> {
        let head = self.head(name);
        let Some(step) = self.steps.remove(name) else {
            return Vec::new();
        };
        if self.quiet && !failed {
            return Vec::new();
        }
        let mut text = step.kept;
        for held in [step.stdout, step.stderr] {
            if !held.is_empty() {
                text.extend(behind(&head, &held));
            }
        }
        text
    }
}

fn behind(head: &str, lines: &[u8]) -> Vec<u8> {
    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
    let mut text = Vec::with_capacity(lines.len() + head.len());
    for line in lines.split(|byte| *byte == b'\n') {
        text.extend_from_slice(head.as_bytes());
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}
