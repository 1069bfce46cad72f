//! Sandboxes that have served, on their way to serve again.
//!
//! ```text
//! lent to an exec ──Ended──▶ looked at ──Ready──▶ idle ──▶ lent to the next
//!        └─────────── gone ──────┴─────────────────┴ too many, or unused for long: let go
//! ```

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Fit;
use crate::message;
use crate::supervisor::Parting;

/// Longest wait for a supervisor that looks at its sandbox: to make another takes longer.
const LOOK_MAX: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// All of one zygote.
#[derive(Debug)]
pub(super) struct Used {
    /// Most that are kept while nobody uses them.
    idle_max: usize,
    lent: Vec<Lent>,
    /// The one used last at the end.
    idle: VecDeque<Idle>,
}

/// A supervisor with an exec.
#[derive(Debug)]
struct Lent {
    fit: Fit,
    supervisor: OwnedFd,
    /// Whether the exec is over, so that its sandbox is being looked at.
    ended: bool,
}

/// A supervisor without one.
#[derive(Debug)]
struct Idle {
    fit: Fit,
    supervisor: OwnedFd,
    since: Instant,
}

/// One that fits.
pub(super) enum Found {
    /// It waits for an exec.
    Ready(OwnedFd),
    /// Its exec is over, and it may be ready in a moment.
    Ending(OwnedFd),
}

impl Used {
    pub(super) fn new(idle_max: usize) -> Self {
        Self {
            idle_max,
            lent: Vec::new(),
            idle: VecDeque::new(),
        }
    }

    /// Whether any is kept at all.
    pub(super) fn keeps(&self) -> bool {
        self.idle_max > 0
    }

    /// Remembers a supervisor whose command runs.
    pub(super) fn lend(&mut self, fit: Fit, supervisor: OwnedFd) {
        let ended = false;
        self.lent.push(Lent {
            fit,
            supervisor,
            ended,
        });
    }

    /// Takes one that fits.
    pub(super) fn take(&mut self, fit: &Fit) -> Option<Found> {
        self.collect();
        while let Some(index) = self.idle.iter().rposition(|idle| idle.fit == *fit) {
            let supervisor = self.idle.remove(index)?.supervisor;
            if !message::is_hung_up(&supervisor) {
                return Some(Found::Ready(supervisor));
            }
        }
        let is_ending = |lent: &Lent| lent.ended && lent.fit == *fit;
        let index = self.lent.iter().position(is_ending)?;
        Some(Found::Ending(self.lent.swap_remove(index).supervisor))
    }

    /// Lets go of those that nobody used for so long.
    pub(super) fn let_go(&mut self, unused_for: Duration) {
        self.collect();
        self.idle.retain(|idle| idle.since.elapsed() < unused_for);
    }

    /// Sees which are idle now.
    fn collect(&mut self) {
        for index in (0..self.lent.len()).rev() {
            let lent = &mut self.lent[index];
            match lent.hear() {
                None => {}
                Some(IsReady(true)) => {
                    let Lent {
                        fit, supervisor, ..
                    } = self.lent.swap_remove(index);
                    let since = Instant::now();
                    self.idle.push_back(Idle {
                        fit,
                        supervisor,
                        since,
                    });
                }
                Some(IsReady(false)) => drop(self.lent.swap_remove(index)),
            }
        }
        while self.idle.len() > self.idle_max {
            self.idle.pop_front();
        }
    }
}

/// Whether a supervisor waits for another exec, or is gone.
struct IsReady(bool);

impl Lent {
    /// Hears what was said so far. `None` if that was not all.
    fn hear(&mut self) -> Option<IsReady> {
        while waits(&self.supervisor, &Timespec::default()) {
            match message::receive(self.supervisor.as_fd()) {
                Ok(Some((Parting::Ended, _))) => self.ended = true,
                Ok(Some((Parting::Ready, _))) => return Some(IsReady(true)),
                Ok(None) | Err(_) => return Some(IsReady(false)),
            }
        }
        None
    }
}

impl Found {
    /// The supervisor, once it is ready. `None` if it will not be.
    pub(super) fn ready(self) -> Option<OwnedFd> {
        match self {
            Self::Ready(supervisor) => Some(supervisor),
            Self::Ending(supervisor) if waits(&supervisor, &LOOK_MAX) => {
                let said = message::receive(supervisor.as_fd());
                matches!(said, Ok(Some((Parting::Ready, _)))).then_some(supervisor)
            }
            Self::Ending(_) => None,
        }
    }
}

/// Whether there is something to hear, be it the end of the connection, within a time.
fn waits(supervisor: &OwnedFd, within: &Timespec) -> bool {
    let mut polled = [PollFd::new(supervisor, PollFlags::IN)];
    poll(&mut polled, Some(within)).is_ok_and(|ready| ready > 0)
}
