//! A block: a hang, with reason and evidence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task::TaskId;
use crate::worker::WorkerId;

/// What a worker saw of a blocked exec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockInfo {
    /// The task that hangs.
    pub task_id: TaskId,
    /// Where it hangs.
    pub worker_id: WorkerId,
    /// Why it hangs.
    pub reason: BlockReason,
    /// For how long, in milliseconds.
    pub duration: u64,
    /// What it uses meanwhile.
    pub resource_usage: ResourceUsage,
    /// Whether there is a strategy that may help.
    pub recoverable: bool,
    /// What the kernel shows of it, for a reader; one fact each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// Why an exec does not get on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BlockReason {
    /// It ran past its time.
    Timeout,
    /// It spins without an effect.
    InfiniteLoop,
    /// Memory is used up.
    MemoryExhausted,
    /// The processor is used up.
    CpuExhausted,
    /// It hangs, and the evidence does not say why.
    Unknown,
    /// It reads input that nobody sends.
    WaitingForInput,
    /// Its threads or processes wait for each other.
    Deadlock,
    /// It writes to something that nobody reads.
    OutputStalled,
    /// No more processes or threads are allowed.
    PidsExhausted,
    /// Its private disk is full.
    DiskExhausted,
    /// Its worker went silent.
    HeartbeatLost,
}

impl BlockReason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Timeout,
        Self::InfiniteLoop,
        Self::MemoryExhausted,
        Self::CpuExhausted,
        Self::Unknown,
        Self::WaitingForInput,
        Self::Deadlock,
        Self::OutputStalled,
        Self::PidsExhausted,
        Self::DiskExhausted,
        Self::HeartbeatLost,
    ];

    /// Its name in messages, such as `waiting_for_input`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::InfiniteLoop => "infinite_loop",
            Self::MemoryExhausted => "memory_exhausted",
            Self::CpuExhausted => "cpu_exhausted",
            Self::Unknown => "unknown",
            Self::WaitingForInput => "waiting_for_input",
            Self::Deadlock => "deadlock",
            Self::OutputStalled => "output_stalled",
            Self::PidsExhausted => "pids_exhausted",
            Self::DiskExhausted => "disk_exhausted",
            Self::HeartbeatLost => "heartbeat_lost",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The reason as a short lowercase fragment for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Timeout => "ran past its time",
            Self::InfiniteLoop => "infinite loop",
            Self::MemoryExhausted => "memory exhausted",
            Self::CpuExhausted => "processor exhausted",
            Self::Unknown => "hangs",
            Self::WaitingForInput => "waiting for input",
            Self::Deadlock => "deadlock",
            Self::OutputStalled => "nobody reads its output",
            Self::PidsExhausted => "processes exhausted",
            Self::DiskExhausted => "disk exhausted",
            Self::HeartbeatLost => "its worker is silent",
        }
    }
}

/// How long each kind of hang has to last before it is called a block, in milliseconds. `null`:
/// never. What is not named keeps its default.
pub type BlockAfter = BTreeMap<BlockReason, Option<u64>>;

/// Shares of what there is, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceUsage {
    /// Processor time, 0 to 100.
    pub cpu: f64,
    /// Memory, 0 to 100.
    pub memory: f64,
    /// Disk, 0 to 100.
    pub disk: f64,
}

/// What to do about a blocked exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockPolicy {
    /// Record it.
    Observe,
    /// Tell everyone.
    Warn,
    /// Try what may help.
    Recover,
    /// End the exec.
    Kill,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_messages() {
        for reason in BlockReason::ALL {
            let name = serde_json::to_value(reason).unwrap();
            assert_eq!(name, reason.name());
            assert_eq!(BlockReason::from_name(reason.name()), Some(reason));
        }
        assert_eq!(BlockReason::from_name("boredom"), None);
    }

    #[test]
    fn times_are_given_by_reason() {
        let text = r#"{"deadlock":1500,"waiting_for_input":null}"#;
        let after: BlockAfter = serde_json::from_str(text).unwrap();
        assert_eq!(after[&BlockReason::Deadlock], Some(1500));
        assert_eq!(after[&BlockReason::WaitingForInput], None);
        let again = serde_json::to_string(&after).unwrap();
        assert_eq!(serde_json::from_str::<BlockAfter>(&again).unwrap(), after);
    }
}
