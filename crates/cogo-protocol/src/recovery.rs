//! Recovery: why an attempt failed, what is tried then, and what came of it.
//!
//! A task asks for it with a [`RecoveryRequest`]. Each time an attempt fails, a [`RecoveryRecord`]
//! says by which [`Cause`], which [`Strategy`] was chosen and what it changed. The rules that choose
//! are the manager's; which strategies address which block is here, because workers report it too.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::BlockReason;
use crate::command::StdinRequest;
use crate::worker::WorkerId;

/// A way to get a task done after an attempt has failed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// End what is left of it and try the same again.
    Retry,
    /// Give it the configured answer, or the end of its input.
    Input,
    /// Try with a higher memory limit.
    MoreMemory,
    /// Try with fewer things at once.
    LessParallelism,
    /// Try without what earlier runs have left in the workspace.
    CleanWorkspace,
    /// Try without what tools remember of earlier runs.
    ClearCaches,
    /// Start the worker's process anew, then try again.
    RestartWorker,
    /// Try on another worker, and never again on this one.
    OtherWorker,
    /// Run the task's alternative command instead.
    Alternative,
    /// Try no more, and report what is known.
    Quarantine,
}

impl Strategy {
    /// All of them that lead to another attempt.
    pub const ALL: [Self; 9] = [
        Self::Retry,
        Self::Input,
        Self::MoreMemory,
        Self::LessParallelism,
        Self::CleanWorkspace,
        Self::ClearCaches,
        Self::RestartWorker,
        Self::OtherWorker,
        Self::Alternative,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Input => "input",
            Self::MoreMemory => "more_memory",
            Self::LessParallelism => "less_parallelism",
            Self::CleanWorkspace => "clean_workspace",
            Self::ClearCaches => "clear_caches",
            Self::RestartWorker => "restart_worker",
            Self::OtherWorker => "other_worker",
            Self::Alternative => "alternative",
            Self::Quarantine => "quarantine",
        }
    }
}

/// Why an attempt failed, as far as it decides what may help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Cause {
    /// The command said so itself, by its exit code.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal ended the command.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel killed a process at the memory limit.
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
        /// The highest usage seen.
        peak_bytes: u64,
    },
    /// The kernel refused processes at the pids limit.
    PidsExhausted {
        /// The limit.
        limit: u32,
    },
    /// The private file system was full.
    DiskFull {
        /// The limit.
        limit_bytes: u64,
    },
    /// It ran too long.
    TimedOut {
        /// Its bound.
        after_ms: u64,
        /// Whether it kept a processor busy meanwhile: then it is slow or spins, and was not stuck.
        busy: bool,
    },
    /// It printed nothing for too long.
    Silent {
        /// Its bound.
        after_ms: u64,
        /// Whether it kept a processor busy meanwhile.
        busy: bool,
    },
    /// Its worker saw it hang.
    Blocked {
        /// Why it hung.
        reason: BlockReason,
        /// What the kernel showed of it, stacks included.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<String>,
    },
    /// Its worker went away or silent, and nobody knows the end.
    WorkerLost,
    /// Its worker lives, and neither starts nor ends it when told to.
    WorkerHung,
    /// Its worker could not make the sandbox.
    StartRefused,
    /// The command could not be executed.
    NotStarted,
    /// Nobody saw the end.
    Unknown,
}

impl Cause {
    /// For people, as a lowercase fragment.
    pub fn describe(&self) -> String {
        match self {
            Self::Exited { code } => format!("exited with {code}"),
            Self::Signaled { signal } => format!("ended by signal {signal}"),
            Self::OutOfMemory { .. } => "out of memory".to_owned(),
            Self::PidsExhausted { limit } => format!("reached the limit of {limit} processes"),
            Self::DiskFull { .. } => "private disk full".to_owned(),
            Self::TimedOut { busy: false, .. } => "timed out without doing anything".to_owned(),
            Self::TimedOut { busy: true, .. } => "timed out while computing".to_owned(),
            Self::Silent { busy: false, .. } => "silent and idle for too long".to_owned(),
            Self::Silent { busy: true, .. } => "computing in silence for too long".to_owned(),
            Self::Blocked { reason, .. } => format!("hung: {}", reason.describe()),
            Self::WorkerLost => "its worker was lost".to_owned(),
            Self::WorkerHung => "its worker does not do what it is told".to_owned(),
            Self::StartRefused => "its worker could not start it".to_owned(),
            Self::NotStarted => "the command could not be executed".to_owned(),
            Self::Unknown => "nobody saw the end".to_owned(),
        }
    }
}

impl BlockReason {
    /// What may help against it, in the order in which it is tried.
    pub const fn strategies(self) -> &'static [Strategy] {
        use Strategy::{
            Alternative, ClearCaches, Input, LessParallelism, MoreMemory, OtherWorker,
            RestartWorker, Retry,
        };
        match self {
            Self::WaitingForInput => &[Input, Alternative],
            // A race may go the other way the next time, and surely does with one thing at once.
            Self::Deadlock => &[Retry, LessParallelism, Alternative],
            Self::MemoryExhausted => &[MoreMemory, LessParallelism, Alternative],
            Self::PidsExhausted => &[LessParallelism, Alternative],
            // Less of it is written when tools keep nothing for next time.
            Self::DiskExhausted => &[ClearCaches, LessParallelism, Alternative],
            Self::CpuExhausted => &[OtherWorker, LessParallelism, Alternative],
            Self::HeartbeatLost => &[OtherWorker, RestartWorker, Retry],
            // The same program would come to the same place again.
            Self::InfiniteLoop | Self::OutputStalled | Self::Timeout | Self::Unknown => {
                &[Alternative]
            }
        }
    }

    /// Whether there is a strategy that may help, whatever the task.
    pub fn is_recoverable(self) -> bool {
        self.strategies()
            .iter()
            .any(|strategy| *strategy != Strategy::Alternative)
    }
}

/// What a task wants done when it fails by a cause that something can be done about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryRequest {
    /// Whether anything is tried beyond lost attempts, which are always repeated. Limits that the
    /// task asks for are then where it begins, and may be raised. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Attempts made by it at most. Default: 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// Milliseconds from the first start after which nothing more is tried. Default: one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_max: Option<u64>,
    /// What to answer when the command waits for input. A line feed is added where it has none.
    /// Default: the end of its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What to run instead when nothing else is left, also after a plain failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative: Option<AlternativeCommand>,
    /// The only strategies allowed. Default: all, but `clean_workspace` only on a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategies: Option<Vec<Strategy>>,
    /// How often a plain failure is repeated: a non-zero exit code, or a crash. Default: 0, it is
    /// an answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failure_retries: u32,
}

impl Default for RecoveryRequest {
    fn default() -> Self {
        Self {
            enabled: true,
            attempts_max: None,
            time_max: None,
            answer: None,
            alternative: None,
            strategies: None,
            failure_retries: 0,
        }
    }
}

const fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A command to run instead: a line for the shell, or program and arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AlternativeCommand {
    /// A line for `/bin/sh -c`.
    Line(String),
    /// Program and arguments.
    Argv(Vec<String>),
}

/// What a strategy changes of the command and of where it runs. Later ones lie over earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Adjustment {
    /// The memory limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Cores it may use, and sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Variables added.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<AlternativeCommand>,
    /// Standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<StdinRequest>,
    /// Whether what can be made again is removed from the workspace first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub clean_workspace: bool,
    /// A worker that does not get it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avoid_worker: Option<WorkerId>,
}

/// One failed attempt, what was decided then, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryRecord {
    /// The number of the attempt that failed.
    pub after_attempt: u32,
    /// Where it failed.
    pub worker_id: WorkerId,
    /// Why it failed.
    pub cause: Cause,
    /// What was decided.
    pub strategy: Strategy,
    /// What it changed.
    #[serde(default)]
    pub change: Adjustment,
    /// The same in words.
    pub note: String,
    /// Unix time in milliseconds of the decision.
    pub decided_at: u64,
    /// How the attempt ended that was made by it, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_on_unless_it_says_otherwise() {
        let request: RecoveryRequest = serde_json::from_str("{}").unwrap();
        assert_eq!(request, RecoveryRequest::default());
        assert!(request.enabled);
        let off: RecoveryRequest = serde_json::from_str(r#"{"enabled":false}"#).unwrap();
        assert!(!off.enabled);
    }

    #[test]
    fn names_are_what_is_on_the_wire() {
        for strategy in Strategy::ALL.into_iter().chain([Strategy::Quarantine]) {
            let text = serde_json::to_string(&strategy).unwrap();
            assert_eq!(text, format!("\"{}\"", strategy.name()));
        }
    }

    #[test]
    fn records_round_trip() {
        let text = concat!(
            r#"{"afterAttempt":1,"workerId":"w","#,
            r#""cause":{"kind":"out_of_memory","limitBytes":5,"peakBytes":5},"#,
            r#""strategy":"more_memory","change":{"memoryBytes":10},"#,
            r#""note":"more","decidedAt":7,"result":"exited with 0"}"#,
        );
        let record: RecoveryRecord = serde_json::from_str(text).unwrap();
        assert_eq!(record.change.memory_bytes, Some(10));
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
    }

    #[test]
    fn a_place_that_is_come_to_again_is_not_recoverable() {
        assert!(BlockReason::Deadlock.is_recoverable());
        assert!(BlockReason::HeartbeatLost.is_recoverable());
        assert!(!BlockReason::InfiniteLoop.is_recoverable());
    }
}
