//! Time, as an argument.

use std::time::Duration;

/// A reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the manager started; never goes back. Leases, timeouts and aging go by this.
    pub monotonic: Duration,
    /// Unix time in milliseconds, for people. It may jump.
    pub unix_ms: u64,
}
