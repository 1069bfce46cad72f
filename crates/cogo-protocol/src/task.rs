//! Tasks as clients submit and see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::BlockInfo;
use crate::command::CommandRequest;
use crate::id::ExecId;
use crate::name::name_type;
use crate::recovery::{RecoveryRecord, RecoveryRequest};
use crate::verdict::{Usage, Verdict};
use crate::worker::WorkerId;

name_type! {
    /// Names a task. Clients may choose it, as a key that makes submission idempotent.
    TaskId, "task id"
}

/// Grows with every lease of a task. What comes from a holder of an older one is refused.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// How urgent a task is, from 0 to 9; 9 goes first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "u8", into = "u8")]
#[schemars(with = "u8", extend("maximum" = 9))]
pub struct Priority(u8);

impl Priority {
    /// The least urgent.
    pub const MIN: Self = Self(0);
    /// The most urgent.
    pub const MAX: Self = Self(9);

    /// The number.
    pub const fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

/// A number that is no priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a priority is a number from 0 to 9, not {0}")]
pub struct InvalidPriority(pub u8);

impl TryFrom<u8> for Priority {
    type Error = InvalidPriority;

    fn try_from(level: u8) -> Result<Self, InvalidPriority> {
        (level <= Self::MAX.0)
            .then_some(Self(level))
            .ok_or(InvalidPriority(level))
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// What `POST execute` takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRequest {
    /// The task's name. Submitting the same name again changes nothing and answers with the task
    /// that is there. Default: a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// What to run.
    #[serde(flatten)]
    pub command: CommandRequest,
    /// What the worker has to offer.
    #[serde(default)]
    pub requirements: Requirements,
    /// How urgent it is. Default: 5.
    #[serde(default)]
    pub priority: Priority,
    /// Attempts at most, the first included. Default: 3. Only lost attempts are repeated: a
    /// command that failed has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// Milliseconds it may wait in the queue before it fails. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<u64>,
    /// What to do when it fails by a cause that something can be done about. Default: nothing, but
    /// lost attempts are repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRequest>,
}

/// What a worker has to offer to get a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// Only this worker may run it. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Worker type, such as `basic`. Default: any.
    #[serde(
        rename = "type",
        alias = "workerType",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<String>,
    /// Labels the worker must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Cores to set aside for it. Default: 0, it takes its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Bytes of memory to set aside for it. Default: its memory limit, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for a worker.
    Queued,
    /// A worker has it and was not heard to run it yet.
    Leased,
    /// It runs.
    Running,
    /// Its command exited with 0.
    Succeeded,
    /// Its command failed, or could not be started.
    Failed,
    /// It ran or waited too long.
    TimedOut,
    /// It hung and was ended for that.
    Blocked,
    /// It was cancelled.
    Cancelled,
    /// Nobody knows how its last attempt ended, and no attempt is left.
    Lost,
}

impl TaskState {
    /// Whether nothing more will happen to the task.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Leased | Self::Running => false,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::Blocked
            | Self::Cancelled
            | Self::Lost => true,
        }
    }
}

/// A task as `GET tasks/{id}` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The task.
    pub task_id: TaskId,
    /// Where it stands.
    #[serde(rename = "status")]
    pub state: TaskState,
    /// The command as a person would type it.
    pub command: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Who submitted it: the name of the token used, or `local`.
    pub submitter: String,
    /// The worker that has or had it last.
    pub worker_id: Option<WorkerId>,
    /// Place in the queue, 0 first, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<usize>,
    /// Exit code as messages carry it, once it is final and known.
    pub exit_code: Option<i32>,
    /// How it ended, in the kernel's words.
    pub verdict: Option<Verdict>,
    /// What it used.
    pub usage: Option<Usage>,
    /// Why it failed without a verdict.
    pub error: Option<String>,
    /// Why it hangs, while it hangs. One that was ended for that has the reason in its verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockInfo>,
    /// All attempts, the first one first.
    pub attempts: Vec<AttemptStatus>,
    /// What was decided after attempts that failed, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<RecoveryRecord>,
    /// Unix time in milliseconds of the submission.
    pub created_at: u64,
    /// Of the first start.
    pub started_at: Option<u64>,
    /// Of the end.
    pub ended_at: Option<u64>,
}

/// One try at a task on one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptStatus {
    /// Its number, from 1.
    pub number: u32,
    /// The right it ran under.
    pub fence: Fence,
    /// Where it ran.
    pub worker_id: WorkerId,
    /// What it was on the worker.
    pub exec_id: Option<ExecId>,
    /// Unix time in milliseconds of its lease.
    pub leased_at: u64,
    /// Of its start.
    pub started_at: Option<u64>,
    /// Of its end, or of the loss of its lease.
    pub ended_at: Option<u64>,
    /// What became of it, for a reader: `exited with 0`, `worker lost`.
    pub result: Option<String>,
    /// Output that its worker could not give, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_missing: Vec<MissingOutput>,
}

/// Records of output that are gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingOutput {
    /// The first of them.
    pub first_seq: u64,
    /// The record after the last of them.
    pub end_seq: u64,
    /// Bytes of output in them; 0 if nobody knows.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_only_a_command() {
        let request: TaskRequest = serde_json::from_str(r#"{"command":"make"}"#).unwrap();
        assert_eq!(request.priority, Priority::default());
        assert_eq!(request.command.title(), "make");
        assert_eq!(request.requirements, Requirements::default());
    }

    #[test]
    fn the_fixed_fields_are_read() {
        let text = r#"{"taskId":"t1","command":"make","requirements":{"workerType":"flutter",
            "cpu":2,"memory":1024},"priority":9,"timeout":60000,"color":"red"}"#;
        let request: TaskRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request.task_id, Some("t1".parse().unwrap()));
        assert_eq!(request.requirements.kind.as_deref(), Some("flutter"));
        assert_eq!(request.requirements.memory, Some(1024));
        assert_eq!(request.priority, Priority::MAX);
        assert_eq!(request.command.limits().timeout_ms, Some(60_000));
    }

    #[test]
    fn a_priority_past_nine_is_refused() {
        let error = serde_json::from_str::<Priority>("10").unwrap_err();
        assert!(error.to_string().contains("0 to 9"), "{error}");
    }

    #[test]
    fn requests_round_trip() {
        let text = r#"{"taskId":"t","argv":["a","b"],"requirements":{"labels":{"os":"linux"}}}"#;
        let request: TaskRequest = serde_json::from_str(text).unwrap();
        let again = serde_json::to_string(&request).unwrap();
        assert_eq!(
            serde_json::from_str::<TaskRequest>(&again).unwrap(),
            request
        );
    }
}
