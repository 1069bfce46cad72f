//! How many local workers there should be.
//!
//! More are started when tasks have waited for a moment and nobody who is there or on the way can
//! take them; one that has been idle for long is ended, one at a time. The two times lie far
//! apart, so that the pool does not swing.

use std::time::Duration;

/// Bounds and times of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Local workers at least. Default: 1.
    pub min: usize,
    /// Local workers at most. Default: 10.
    pub max: usize,
    /// Tasks a local worker is expected to run at once, before one has said it. Default: 2.
    pub slots: usize,
    /// Time that tasks wait before workers are started for them. Default: `500ms`.
    pub grow_after: Duration,
    /// Time a worker is idle before it is ended. Default: `5m`.
    pub shrink_after: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            min: 1,
            max: 10,
            slots: 2,
            grow_after: Duration::from_millis(500),
            shrink_after: Duration::from_mins(5),
        }
    }
}

/// The pool as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolView {
    /// Local workers, those that start or were given up included, those that stop not.
    pub workers: usize,
    /// Those of them that are not connected yet.
    pub starting: usize,
    /// Tasks that wait and that a new local worker could take.
    pub waiting: usize,
    /// For how long some have waited.
    pub waiting_for: Duration,
    /// How long the worker that is idle for the longest time has been so.
    pub idle_for: Option<Duration>,
    /// Tasks that a local worker runs at once.
    pub slots: usize,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolChange {
    /// Start so many.
    Start(usize),
    /// End the one that is idle for the longest time.
    StopIdle,
    /// Nothing.
    Keep,
}

/// Decides how the pool changes now.
pub fn change(config: &PoolConfig, view: &PoolView) -> PoolChange {
    let min = config.min.min(config.max);
    let room = config.max.saturating_sub(view.workers);
    let short_of_min = min.saturating_sub(view.workers);
    if short_of_min > 0 {
        return PoolChange::Start(short_of_min);
    }
    if view.waiting > 0 {
        let wanted = view.waiting.div_ceil(view.slots.max(1));
        let more = wanted.saturating_sub(view.starting).min(room);
        return if more > 0 && view.waiting_for >= config.grow_after {
            PoolChange::Start(more)
        } else {
            PoolChange::Keep
        };
    }
    let idle_long = view
        .idle_for
        .is_some_and(|idle| idle >= config.shrink_after);
    if idle_long && view.workers > min {
        return PoolChange::StopIdle;
    }
    PoolChange::Keep
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn long_wait(workers: usize, starting: usize, waiting: usize) -> PoolView {
        PoolView {
            workers,
            starting,
            waiting,
            waiting_for: Duration::from_mins(1),
            idle_for: None,
            slots: 2,
        }
    }

    #[test]
    fn waiting_tasks_bring_workers_for_them_and_no_more() {
        let config = PoolConfig::default();
        assert_eq!(
            change(&config, &long_wait(0, 0, 0)),
            PoolChange::Start(1),
            "the least"
        );
        assert_eq!(change(&config, &long_wait(1, 0, 3)), PoolChange::Start(2));
        assert_eq!(change(&config, &long_wait(3, 2, 3)), PoolChange::Keep);
        assert_eq!(
            change(&config, &long_wait(1, 0, 1000)),
            PoolChange::Start(9)
        );
        assert_eq!(change(&config, &long_wait(10, 0, 1000)), PoolChange::Keep);
        let short = PoolView {
            waiting_for: Duration::ZERO,
            ..long_wait(1, 0, 3)
        };
        assert_eq!(change(&config, &short), PoolChange::Keep);
    }

    #[test]
    fn long_idleness_ends_workers_down_to_the_least() {
        let config = PoolConfig::default();
        let idle = |workers, seconds| PoolView {
            workers,
            idle_for: Some(Duration::from_secs(seconds)),
            ..PoolView::default()
        };
        assert_eq!(change(&config, &idle(2, 300)), PoolChange::StopIdle);
        assert_eq!(change(&config, &idle(2, 299)), PoolChange::Keep);
        assert_eq!(change(&config, &idle(1, 3000)), PoolChange::Keep);
    }

    proptest! {
        #[test]
        fn the_bounds_hold(
            min in 0_usize..5, max in 0_usize..12, workers in 0_usize..12,
            starting in 0_usize..12, waiting in 0_usize..100, seconds in 0_u64..1000,
        ) {
            let config = PoolConfig { min, max, ..PoolConfig::default() };
            let view = PoolView {
                workers,
                starting: starting.min(workers),
                waiting,
                waiting_for: Duration::from_secs(seconds),
                idle_for: Some(Duration::from_secs(seconds)),
                slots: 2,
            };
            match change(&config, &view) {
                PoolChange::Start(more) => {
                    prop_assert!(more > 0);
                    prop_assert!(workers + more <= max);
                }
                PoolChange::StopIdle => prop_assert!(workers > min.min(max) && waiting == 0),
                PoolChange::Keep => prop_assert!(workers >= min.min(max)),
            }
        }
    }
}
