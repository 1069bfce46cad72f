//! How long something has to last before it is called a block.

use std::time::Duration;

/// Times and shares of the rules. The defaults accuse an honest program of nothing it could be
/// ended for.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// How long the tree has to stand still with nothing that could wake it. Two looks in which
    /// no thread ran are a proof; this is the time between them. Default: `700ms`.
    pub still: Duration,
    /// How long input has to be waited for when none was ever sent. Default: `700ms`.
    pub input: Duration,
    /// As [`Self::input`], when somebody sent input before: there is a conversation, and the next
    /// answer may take its time. Default: `5m`.
    pub input_attended: Duration,
    /// How long a thread waits for a reader, a server or an end of file while those who could
    /// give it sleep for longer than [`Self::long_sleep`]. Default: `1500ms`.
    pub stall: Duration,
    /// A sleep that lasts longer than this yet is no pause in work. Default: `60s`.
    pub long_sleep: Duration,
    /// How long nothing may come from outside, such as a server. Default: `60s`.
    pub remote: Duration,
    /// How long a program may wait for a signal with nobody inside to send one. Default: `30s`.
    pub signal: Duration,
    /// How long a full disk or used up descriptors have to stay so. Default: `1s`.
    pub exhausted: Duration,
    /// Run time before use of the processor alone can be a block. Default: `5m`.
    pub run_time: Duration,
    /// How long the processor has to be used without any effect. Default: `60s`.
    pub spin: Duration,
    /// As [`Self::spin`], where the system calls made show that nothing is achieved: reads that
    /// return nothing. Applies without [`Self::run_time`]. Default: `10s`.
    pub empty_spin: Duration,
    /// Share of one processor that counts as busy. Default: `0.9`.
    pub busy: f64,
    /// Share of one processor below which a tree counts as idle. Default: `0.02`.
    pub idle: f64,
    /// Share of the memory limit above which memory counts as short. Default: `0.9`.
    pub memory: f64,
    /// How long memory has to be short and grow, or be read back from disk. Default: `3s`.
    pub memory_short: Duration,
    /// Major faults in a second that count as thrashing. Default: `100`.
    pub thrashing: f64,
    /// How long an idle tree may only wake up to sleep again. Default: `5m`.
    pub idle_time: Duration,
    /// Run time at which an exec is blocked whatever it does. Default: none.
    pub run_time_max: Option<Duration>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            still: Duration::from_millis(700),
            input: Duration::from_millis(700),
            input_attended: Duration::from_mins(5),
            stall: Duration::from_millis(1500),
            long_sleep: Duration::from_mins(1),
            remote: Duration::from_mins(1),
            signal: Duration::from_secs(30),
            exhausted: Duration::from_secs(1),
            run_time: Duration::from_mins(5),
            spin: Duration::from_mins(1),
            empty_spin: Duration::from_secs(10),
            busy: 0.9,
            idle: 0.02,
            memory: 0.9,
            memory_short: Duration::from_secs(3),
            thrashing: 100.0,
            idle_time: Duration::from_mins(5),
            run_time_max: None,
        }
    }
}
