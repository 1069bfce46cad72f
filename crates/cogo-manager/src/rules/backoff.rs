//! How long to wait before trying again.

use std::collections::VecDeque;
use std::time::Duration;

/// Waits that double, up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after so many failures, one at least.
    pub fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first
            .saturating_mul(1_u32 << doublings)
            .min(self.longest)
    }
}

/// When a thing that keeps failing is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashLoop {
    /// Failures in a row that are too many.
    pub failures: usize,
    /// The time within which they have to lie.
    pub window: Duration,
}

/// The latest failures of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(VecDeque<Duration>);

impl Failures {
    /// Notes one and says how many lie within the window, this one included.
    pub fn note(&mut self, now: Duration, rule: CrashLoop) -> usize {
        self.0.push_back(now);
        let oldest = now.saturating_sub(rule.window);
        while self.0.front().is_some_and(|at| *at < oldest) || self.0.len() > rule.failures.max(1) {
            self.0.pop_front();
        }
        self.0.len()
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: CrashLoop = CrashLoop {
        failures: 3,
        window: Duration::from_mins(1),
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(3),
        };
        let waits = [0, 1, 2, 3, 4, u32::MAX].map(|failures| backoff.after(failures).as_millis());
        assert_eq!(waits, [500, 500, 1000, 2000, 3000, 3000]);
    }

    #[test]
    fn only_failures_close_together_are_a_loop() {
        let mut slow = Failures::default();
        for minute in 1..10 {
            assert!(slow.note(Duration::from_secs(61 * minute), RULE) < RULE.failures);
        }
        let mut fast = Failures::default();
        let counts: Vec<_> = (1..=4)
            .map(|second| fast.note(Duration::from_secs(second), RULE))
            .collect();
        assert_eq!(counts, [1, 2, 3, 3]);
    }
}
