//! How far an analysis is, on one line of the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use cogo_analysis::analyse::Event;

/// A line that is drawn faster than this is not read.
const REDRAWN_AFTER: Duration = Duration::from_millis(80);
/// Work that is done sooner needs no bar.
const SHOWN_AFTER: Duration = Duration::from_millis(250);
const WIDTH: usize = 30;

/// A bar on stderr, if that is a terminal.
pub(super) struct Progress {
    is_terminal: bool,
    started_at: Instant,
    drawn_at: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            started_at: Instant::now(),
            drawn_at: None,
        }
    }

    pub(super) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::FileStored { path, done, total } => self.draw("parse", *done, *total, path),
            Event::Resolved { done, total } => self.draw("resolve", *done, *total, ""),
            Event::Scanned { .. } | Event::FileRemoved { .. } => {}
        }
    }

    fn draw(&mut self, what: &str, done: usize, total: usize, path: &str) {
        let is_due = self.started_at.elapsed() > SHOWN_AFTER
            && self.drawn_at.is_none_or(|at| at.elapsed() > REDRAWN_AFTER);
        if !self.is_terminal || !is_due {
            return;
        }
        self.drawn_at = Some(Instant::now());
        let filled = WIDTH * done / total.max(1);
        let bar: String = (0..WIDTH)
            .map(|at| if at < filled { '█' } else { '░' })
            .collect();
        let path: String = path.chars().filter(|c| !c.is_control()).take(40).collect();
        // A closed stderr is no reason to fail.
        let _ = write!(
            std::io::stderr().lock(),
            "\r\x1b[K{what:<8}{bar} {done}/{total} {path}"
        );
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.drawn_at.take().is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}
