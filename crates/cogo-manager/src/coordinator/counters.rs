//! What has happened since the manager started, counted.

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks taken.
    pub submitted: u64,
    /// Submissions of a name that was known already.
    pub repeated: u64,
    /// Submissions refused because the queue was full.
    pub queue_full: u64,
    /// Leases given.
    pub leased: u64,
    /// Attempts heard to run.
    pub started: u64,
    /// Tasks that ended with success.
    pub succeeded: u64,
    /// Tasks that ended otherwise by their command's doing, or could not be run.
    pub failed: u64,
    /// Tasks that ran or waited too long.
    pub timed_out: u64,
    /// Tasks that hung and were ended.
    pub blocked: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks of which nobody knows the end.
    pub lost: u64,
    /// Attempts that were lost.
    pub attempts_lost: u64,
    /// Attempts after which something was tried by their cause.
    pub recoveries: u64,
    /// Attempts that a worker did not take.
    pub attempts_refused: u64,
    /// Attempts that a returning worker went on with.
    pub adopted: u64,
    /// Messages about a right that was taken away, which were refused.
    pub stale: u64,
    /// Workers that connected.
    pub workers_connected: u64,
    /// Workers that were silent for a whole lease.
    pub workers_lost: u64,
    /// Local workers started, again included.
    pub workers_started: u64,
}
