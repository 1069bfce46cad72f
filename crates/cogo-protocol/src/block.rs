//! A block: a hang, with reason and evidence.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
