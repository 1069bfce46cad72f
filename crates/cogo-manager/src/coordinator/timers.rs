//! What to look at again, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use cogo_protocol::worker::WorkerId;

use crate::rules::queue::TaskNumber;

/// Something that has to be looked at when its time has come. What is due there follows from its
/// state, not from the timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Task(TaskNumber),
    Worker(WorkerId),
    Pool,
}

/// The times at which subjects have to be looked at: at most one for each, whose time the subject
/// itself keeps.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Duration, Subject)>);

impl Timers {
    /// Sets the subject's time, which is kept in `kept`.
    pub(super) fn set(
        &mut self,
        kept: &mut Option<Duration>,
        at: Option<Duration>,
        subject: impl Fn() -> Subject,
    ) {
        if *kept == at {
            return;
        }
        if let Some(old) = kept.take() {
            self.0.remove(&(old, subject()));
        }
        if let Some(at) = at {
            self.0.insert((at, subject()));
        }
        *kept = at;
    }

    /// Takes out a subject whose time has come. Its kept time is now wrong; the caller clears it.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Subject> {
        if self.0.first()?.0 > now {
            return None;
        }
        self.0.pop_first().map(|(_, subject)| subject)
    }

    /// The earliest time of all.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }
}
