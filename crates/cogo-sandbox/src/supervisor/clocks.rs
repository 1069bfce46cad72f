//! The clocks of one exec: run time, silence, the kill after a stop, the sampling of disks.

use std::time::{Duration, Instant};

use crate::spec::Limits;
use crate::verdict::TimeoutClock;

/// Shortest time between two looks at the scratch space.
const SAMPLE_PERIOD: Duration = Duration::from_millis(500);

/// What the clocks know.
#[derive(Debug)]
pub(super) struct Clocks {
    started: Instant,
    last_output: Instant,
    last_sample: Option<Instant>,
    timeout: Option<Duration>,
    silence_timeout: Option<Duration>,
    kill_at: Option<Instant>,
}

/// What has to happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The grace period is over.
    Kill,
    /// A bound of the spec is passed.
    Timeout {
        after: Duration,
        clock: TimeoutClock,
    },
}

impl Clocks {
    /// Starts all clocks.
    pub(super) fn start(limits: &Limits, now: Instant) -> Self {
        Self {
            started: now,
            last_output: now,
            last_sample: None,
            timeout: limits.timeout,
            silence_timeout: limits.silence_timeout,
            kill_at: None,
        }
    }

    pub(super) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn output_seen(&mut self) {
        self.last_output = Instant::now();
    }

    /// Sets the end of the grace period. A second stop may bring it nearer, never push it away.
    pub(super) fn kill_in(&mut self, grace_period: Duration) {
        let at = Instant::now() + grace_period;
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        // The exec is being stopped already.
        self.timeout = None;
        self.silence_timeout = None;
    }

    /// The next instant at which something may be due.
    pub(super) fn next(&self, other: Option<Instant>) -> Option<Instant> {
        let timeout = self.timeout.map(|after| self.started + after);
        let silence = self.silence_timeout.map(|after| self.last_output + after);
        [timeout, silence, self.kill_at, other]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is due now, if anything.
    pub(super) fn due(&self) -> Option<Due> {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| now >= at) {
            return Some(Due::Kill);
        }
        let passed =
            |since: Instant, after: Option<Duration>| after.filter(|after| now >= since + *after);
        if let Some(after) = passed(self.started, self.timeout) {
            return Some(Due::Timeout {
                after,
                clock: TimeoutClock::Wall,
            });
        }
        passed(self.last_output, self.silence_timeout).map(|after| Due::Timeout {
            after,
            clock: TimeoutClock::Silence,
        })
    }

    /// Whether it is time to look at the scratch space again; sets the clock if so.
    pub(super) fn sample_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self
            .last_sample
            .is_none_or(|last| now >= last + SAMPLE_PERIOD);
        if due {
            self.last_sample = Some(now);
        }
        due
    }
}
