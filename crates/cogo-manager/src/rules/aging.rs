//! How a task that waits becomes more urgent.
//!
//! A task gains one level per step that it has waited, up to the highest. As long as it waits it
//! therefore stands at a fixed distance from every other task, and one number per task is enough
//! to order them for ever: the instant at which it reaches the highest level, when it is *ripe*.
//!
//! The bound that follows: a task of priority `p` is ripe after `(9 - p)` steps at the latest, and
//! from then on no task goes before it but those of its own level whose submitter has had less.

use std::time::Duration;

use cogo_protocol::task::Priority;

/// How fast tasks gain levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aging {
    step_ms: i64,
}

/// The instant at which a task reaches the highest level, in milliseconds of the monotonic clock.
/// It may lie before the clock's start, for a task that has waited in an earlier manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RipeAt(pub i64);

impl Aging {
    /// Gains one level per `step`, which is a millisecond at least.
    pub fn new(step: Duration) -> Self {
        Self {
            step_ms: (millis(step)).max(1),
        }
    }

    /// When a task is ripe that has waited for `waited` at `now`.
    pub fn ripe_at(self, priority: Priority, now: Duration, waited: Duration) -> RipeAt {
        let levels = i64::from(Priority::MAX.level() - priority.level());
        RipeAt(millis(now) - millis(waited) + levels * self.step_ms)
    }

    /// The level that a waiting task has at `now`.
    pub fn level(self, ripe_at: RipeAt, now: Duration) -> u8 {
        let highest = i64::from(Priority::MAX.level());
        let steps = (millis(now) - ripe_at.0).div_euclid(self.step_ms);
        (highest + steps).clamp(0, highest) as u8
    }

    /// The longest time that a task needs to become ripe. Waiting for longer changes nothing.
    pub fn longest(self) -> Duration {
        let levels = i64::from(Priority::MAX.level());
        Duration::from_millis((levels * self.step_ms) as u64)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEP: Duration = Duration::from_secs(30);

    proptest! {
        #[test]
        fn a_level_per_step_up_to_the_highest(
            priority in 0_u8..=9,
            queued_at in 0_u64..1_000_000,
            waited in 0_u64..1_000_000,
        ) {
            let aging = Aging::new(STEP);
            let ripe_at = aging.ripe_at(
                Priority::try_from(priority).unwrap(),
                Duration::from_millis(queued_at),
                Duration::ZERO,
            );
            let now = Duration::from_millis(queued_at + waited);
            let expected = (u64::from(priority) + waited / 30_000).min(9);
            prop_assert_eq!(u64::from(aging.level(ripe_at, now)), expected);
        }

        #[test]
        fn an_earlier_ripeness_is_never_a_lower_level(
            one in -1_000_000_i64..1_000_000,
            other in -1_000_000_i64..1_000_000,
            now in 0_u64..1_000_000,
        ) {
            let aging = Aging::new(STEP);
            let now = Duration::from_millis(now);
            if one <= other {
                prop_assert!(aging.level(RipeAt(one), now) >= aging.level(RipeAt(other), now));
            }
        }
    }
}
