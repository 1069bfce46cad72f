//! How an exec ended, in the kernel's words: the output of one exec.
//!
//! These types are also the on-disk format of `verdict.json` in an exec directory.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The end of one exec. Written once, durably, before anyone is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How the command ended.
    pub outcome: Outcome,
    /// Bounds that were hit on the way, whether or not they ended the command.
    pub incidents: Vec<Incident>,
    /// What the whole process tree used.
    pub usage: Usage,
    /// Processes of the exec alive after the final kill. Zero, or the sandbox is broken.
    pub survivors: u32,
    /// Sequence number after the last log record.
    pub log_end: u64,
    /// Unix time of the end, in milliseconds.
    pub ended_at_ms: u64,
}

/// How the command ended. Every variant but `Unknown` is something the kernel said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The command exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the command.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel says that it dumped core.
        core_dumped: bool,
    },
    /// The kernel killed a process of the exec at the memory limit, and the command failed.
    OutOfMemory {
        /// The limit, in bytes.
        limit: u64,
        /// The highest usage seen by the kernel, in bytes.
        peak: u64,
        /// How the command itself ended.
        status: ExitStatus,
    },
    /// The kernel refused a process or thread at the pids limit, and the command failed.
    PidsExhausted {
        /// The limit.
        limit: u32,
        /// How the command itself ended.
        status: ExitStatus,
    },
    /// The sandbox's private file system was full, and the command failed.
    DiskFull {
        /// The limit, in bytes.
        limit: u64,
        /// How the command itself ended.
        status: ExitStatus,
    },
    /// The exec was stopped because it ran too long.
    TimedOut {
        /// The bound that was passed.
        after: Duration,
        /// Which clock passed it.
        clock: TimeoutClock,
    },
    /// The exec hung and was stopped for that.
    Blocked {
        /// Why, and how that was seen.
        block: BlockCause,
        /// How the command itself ended when it was stopped, if that was seen.
        status: Option<ExitStatus>,
    },
    /// The exec was stopped because someone asked.
    Cancelled,
    /// The command could not be started inside the sandbox.
    NotStarted {
        /// The errno of `execve`.
        errno: i32,
        /// What failed, for a reader.
        message: String,
    },
    /// Nobody saw the end; the kernel's word is lost. Never to be taken for success.
    Unknown {
        /// Why the end is not known.
        reason: String,
    },
}

/// Why an exec hung, as whoever watched it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCause {
    /// The reason's name, such as `deadlock`.
    pub reason: String,
    /// For how long it had hung.
    pub duration: Duration,
    /// What the kernel showed of it, one fact each.
    pub evidence: Vec<String>,
}

/// How a process ended, as `waitpid` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

/// The clock that stopped an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutClock {
    /// Wall time since the start.
    Wall,
    /// Time since the last output.
    Silence,
}

/// A bound that was hit while the exec ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Incident {
    /// The kernel killed processes at the memory limit.
    OomKills {
        /// How many.
        count: u64,
        /// The limit, in bytes.
        limit: u64,
        /// The highest usage seen by the kernel, in bytes.
        peak: u64,
    },
    /// The kernel refused new processes or threads at the pids limit.
    PidsLimitHits {
        /// How many were refused.
        count: u64,
        /// The limit.
        limit: u32,
    },
    /// The private file system was seen full.
    DiskFull {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Processes outlived the command and were killed with it.
    LeftoversKilled {
        /// How many were seen.
        count: u32,
    },
    /// The middle of the log was cut to keep to its bound.
    LogCut {
        /// Bytes of output that are gone.
        bytes: u64,
    },
    /// The filtering proxy refused connections.
    NetworkRefused {
        /// The first few servers that were asked for, each with the reason.
        servers: Vec<String>,
        /// Connections refused in all.
        count: u64,
    },
    /// The log could not be written; output is missing from here on.
    LogWriteFailed {
        /// The system's message.
        message: String,
    },
}

/// What an exec's whole process tree used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From start to end.
    pub wall: Duration,
    /// CPU time in user mode.
    pub cpu_user: Duration,
    /// CPU time in the kernel.
    pub cpu_system: Duration,
    /// Highest memory usage, in bytes.
    pub memory_peak: u64,
    /// Bytes read from storage.
    pub io_read: u64,
    /// Bytes written to storage.
    pub io_write: u64,
    /// Most processes and threads alive at once, where the kernel counts them.
    pub pids_peak: Option<u64>,
    /// Where these figures come from.
    pub source: UsageSource,
}

/// Where usage figures come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// cgroup v2 counters: the whole tree, exact.
    CgroupV2,
    /// cgroup v1 counters: the whole tree, exact.
    CgroupV1,
    /// `wait4` totals: processes that were reaped; the peak is the largest single process.
    #[default]
    Rusage,
}
