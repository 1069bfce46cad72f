//! Time, as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the manager started; never goes back. Leases, timeouts and aging go by this.
    pub monotonic: Duration,
    /// Unix time in milliseconds, for people. It may jump.
    pub unix_ms: u64,
}

/// Reads the clocks of this host.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// What it shows.
    pub fn now(&self) -> Now {
        Now {
            monotonic: self.started.elapsed(),
            unix_ms: unix_ms(),
        }
    }
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
