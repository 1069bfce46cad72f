//! What `cogo fix` shows: progress on stderr and the diff on stdout, or events for a program.

use std::path::PathBuf;

use cogo_plan::fix::{Attempt, AttemptResult, End, Event, Report};
use serde_json::json;

use crate::failure::{Failure, note, print, tell};
use crate::paint::{Color, Painter};

pub(super) struct Screen {
    json: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Shows what happens. A reader that went away is told nothing more.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        if self.json {
            let event = match event {
                Event::Begun { errors } => json!({ "type": "fix_started", "errors": errors }),
                Event::Attempt(attempt) => json!({ "type": "fix_attempt", "attempt": attempt }),
                Event::Asking(fixer) => json!({ "type": "fix_asking", "fixer": fixer }),
                Event::Note(text) => json!({ "type": "fix_note", "message": text }),
            };
            let _ = print(&format!("{event}\n"));
            return;
        }
        match event {
            Event::Begun { errors: 0 } => note("the command succeeds; there is nothing to fix"),
            Event::Begun { errors } => note(&format!("{errors} to repair")),
            Event::Attempt(attempt) => tell(&line(attempt)),
            Event::Asking(fixer) => note(&format!("asking: {}", fixer.name())),
            Event::Note(text) => note(text),
        }
    }

    /// Shows what was done.
    pub(super) fn finish(&self, report: &Report, written: &[PathBuf]) -> Result<(), Failure> {
        if self.json {
            let event = json!({ "type": "fix_finished", "report": report, "written": written });
            return print(&format!("{event}\n"));
        }
        print(&colored(&report.diff))?;
        if report.end == End::NothingToFix {
            return Ok(());
        }
        let painter = Painter::stderr();
        let what = match report.end {
            End::NothingToFix | End::Fixed => painter.paint(Color::Green, "fixed"),
            End::Improved => painter.paint(Color::Yellow, "better, but it still fails"),
            End::NotFixed => painter.paint(Color::Red, "not fixed"),
        };
        note(&format!(
            "{what}: {} → {} errors after {} attempts{}",
            report.errors_before,
            report.errors_after,
            report.attempts.len(),
            if report.budget_exhausted {
                "; the budget is used up"
            } else {
                ""
            },
        ));
        for line in report.errors_left.iter().take(10) {
            tell(&format!("  {line}\n"));
        }
        match (written.len(), report.diff.is_empty()) {
            (0, false) => note("nothing is written; --write brings this into the workspace"),
            (0, true) => {}
            (count, _) => note(&format!("{count} files of the workspace are changed")),
        }
        Ok(())
    }
}

/// An attempt in one line.
fn line(attempt: &Attempt) -> String {
    let painter = Painter::stderr();
    let (sign, color) = match &attempt.result {
        AttemptResult::Kept => ("✓", Color::Green),
        AttemptResult::Followed => ("…", Color::Yellow),
        AttemptResult::NotBetter | AttemptResult::Refused { .. } => ("✗", Color::Red),
    };
    let after = match (&attempt.result, attempt.errors_after) {
        (AttemptResult::Refused { reason }, _) => format!("refused: {reason}"),
        (_, Some(after)) => format!("{} → {after} errors", attempt.errors_before),
        (_, None) => String::new(),
    };
    format!(
        "{} {}: {} ({after})\n    {}\n",
        painter.paint(color, sign),
        attempt.fixer.name(),
        attempt.description.replace('\n', " "),
        attempt.cause,
    )
}

/// A diff with its lines in colours, on a terminal.
fn colored(diff: &str) -> String {
    let painter = Painter::stdout();
    diff.split_inclusive('\n')
        .map(|line| {
            let color = match line.chars().next() {
                Some('+') => Some(Color::Green),
                Some('-') => Some(Color::Red),
                Some('@') => Some(Color::Cyan),
                Some(_) | None => None,
            };
            match (color, line.strip_suffix('\n')) {
                (Some(color), Some(text)) => format!("{}\n", painter.paint(color, text)),
                (Some(_) | None, _) => line.to_owned(),
            }
        })
        .collect()
}
