//! What a worker tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::{BlockInfo, BlockReason};
use crate::exec::Isolation;
use crate::id::ExecId;
use crate::record::{Chunk, Stream};
use crate::task::{Fence, TaskId};
use crate::verdict::{Usage, Verdict};
use crate::worker::{Capabilities, Health, WorkerId, WorkerStatus};

/// A message from a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    /// The first message on a connection.
    Welcome(Box<Welcome>),
    /// A command runs.
    ExecutionStarted(ExecutionStarted),
    /// A program wrote something.
    TaskOutput(TaskOutput),
    /// Output is missing, because the log was cut to keep to its bound or cannot be read.
    OutputCut(OutputCut),
    /// A command ended, and its end is known.
    TaskComplete(Box<TaskComplete>),
    /// A command could not be started or its end is not known, or a request was refused.
    TaskError(TaskError),
    /// A command hangs.
    BlockDetected(Box<BlockDetected>),
    /// A command gets on.
    ProgressUpdate(ProgressUpdate),
    /// The worker lives.
    Heartbeat(Heartbeat),
    /// The answer to a `ping`.
    Pong(Pong),
    /// The answer to `list_tasks`.
    TaskList(TaskList),
    /// The answer to `detect_block`.
    BlockReport(Box<BlockReport>),
}

/// The first message on a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The worker.
    pub worker_id: WorkerId,
    /// Its type, such as `basic`.
    pub worker_type: String,
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).
    pub protocol_version: u32,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The tiers of isolation it can enforce.
    pub isolation: Vec<Isolation>,
    /// The tasks it has: running ones, and ended ones whose end was not acknowledged.
    #[serde(default)]
    pub tasks: Vec<TaskBrief>,
    /// When it was sent.
    pub timestamp: u64,
}

/// A task that a worker has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskBrief {
    /// The task.
    pub task_id: TaskId,
    /// The number of the attempt, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The right it runs under, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// What it is on the worker.
    pub exec_id: ExecId,
    /// Whether its command still runs.
    pub running: bool,
    /// Sequence number after the last log record.
    pub last_seq: u64,
    /// Why it hangs, if it hangs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<BlockReason>,
}

/// A command runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStarted {
    /// The task.
    pub task_id: TaskId,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// When it started.
    pub timestamp: u64,
    /// The command's process id on the worker's host, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The number of the attempt, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The right it runs under, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// What it is on the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_id: Option<ExecId>,
    /// What stands for the task in binary frames on this connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<u32>,
}

/// A program wrote something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskOutput {
    /// The task.
    pub task_id: TaskId,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// Where the program wrote.
    pub stream: Stream,
    /// When it was read.
    pub timestamp: u64,
    /// Place in the log. Rises within an exec and may skip.
    #[serde(default)]
    pub seq: u64,
    /// What was written.
    #[serde(flatten)]
    pub chunk: Chunk,
}

/// Records of a task's output are gone: its log was cut to keep to its bound, or cannot be read.
/// What comes next on the connection is what the program wrote after them. The task itself is not
/// affected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputCut {
    /// The task.
    pub task_id: TaskId,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// The first missing record.
    pub first_seq: u64,
    /// The record after the last missing one.
    pub end_seq: u64,
    /// Bytes of output in the missing records; 0 if nobody knows.
    pub bytes: u64,
    /// When it was sent.
    pub timestamp: u64,
    /// The right that the attempt runs under, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// A command ended, and its end is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskComplete {
    /// The task.
    pub task_id: TaskId,
    /// Where it ran.
    pub worker_id: WorkerId,
    /// Its exit code, or 128 + n for signal n; see [`Outcome::exit_code`].
    ///
    /// [`Outcome::exit_code`]: crate::verdict::Outcome::exit_code
    pub exit_code: i32,
    /// When it ended.
    pub timestamp: u64,
    /// How it ended, in the kernel's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Sequence number after the last log record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<u64>,
    /// From start to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The number of the attempt, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The right it ran under, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Something went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskError {
    /// The task, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The worker that says so.
    pub worker_id: WorkerId,
    /// The fact.
    pub error: String,
    /// For programs; see [`error_code`](super::error_code).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What can be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When it was sent.
    pub timestamp: u64,
    /// How it ended, if the task ended by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Sequence number after the last log record, if the task ended by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<u64>,
    /// The right it ran under, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// What a close look at running tasks found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockReport {
    /// Where they run.
    pub worker_id: WorkerId,
    /// The request's own number, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<u64>,
    /// The tasks that were looked at.
    pub tasks: Vec<ExaminedTask>,
    /// When it was sent.
    pub timestamp: u64,
}

/// What a close look at one running task found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExaminedTask {
    /// The task.
    pub task_id: TaskId,
    /// The right it runs under, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// The block, if it hangs.
    pub block_info: Option<BlockInfo>,
    /// What its threads do, for a reader; one line each.
    #[serde(default)]
    pub evidence: Vec<String>,
}

/// A command hangs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockDetected {
    /// The task.
    pub task_id: TaskId,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// Why, since when, and how that is known.
    pub block_info: BlockInfo,
    /// When it was sent.
    pub timestamp: u64,
    /// The right it runs under, if a manager gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// A command gets on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressUpdate {
    /// The task.
    pub task_id: TaskId,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// How far it is.
    pub progress: Progress,
    /// When it was sent.
    pub timestamp: u64,
}

/// How far a command is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// 0 to 100.
    pub percentage: f64,
    /// What it is doing.
    pub stage: Stage,
    /// For a reader.
    pub message: String,
    /// Milliseconds that are left, as far as earlier runs tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_time_remaining: Option<u64>,
}

/// What a command is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A compiler runs.
    Compiling,
    /// Things are put together.
    Building,
    /// Tests run.
    Testing,
    /// Code is looked at.
    Analyzing,
}

/// The worker lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The worker.
    pub worker_id: WorkerId,
    /// When it was sent.
    pub timestamp: u64,
    /// What it is doing.
    pub status: WorkerStatus,
    /// How its host is doing.
    pub health: Health,
    /// The task it has run longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_task: Option<TaskId>,
    /// The tasks it has: running ones, and those of a manager whose end was not acknowledged.
    #[serde(default)]
    pub tasks: Vec<TaskBrief>,
    /// Whether it takes no more tasks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub draining: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The answer to a `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pong {
    /// The worker.
    pub worker_id: WorkerId,
    /// The `ping`'s.
    pub timestamp: u64,
    /// When it was answered.
    pub worker_timestamp: u64,
}

/// The answer to `list_tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskList {
    /// The worker.
    pub worker_id: WorkerId,
    /// Its tasks, the oldest first.
    pub tasks: Vec<TaskBrief>,
    /// When it was sent.
    pub timestamp: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &FromWorker, text: &str) {
        assert_eq!(serde_json::to_string(message).unwrap(), text);
        assert_eq!(&serde_json::from_str::<FromWorker>(text).unwrap(), message);
    }

    fn worker_id() -> WorkerId {
        "w".parse().unwrap()
    }

    #[test]
    fn output_has_its_text() {
        check(
            &FromWorker::TaskOutput(TaskOutput {
                task_id: "t".parse().unwrap(),
                worker_id: worker_id(),
                stream: Stream::Stderr,
                timestamp: 5,
                seq: 7,
                chunk: Chunk::from_bytes(b"hi\n".to_vec()),
            }),
            r#"{"type":"task_output","taskId":"t","workerId":"w","stream":"stderr","timestamp":5,"seq":7,"output":"hi\n","encoding":"utf8"}"#,
        );
    }

    #[test]
    fn an_error_without_a_task_has_its_text() {
        check(
            &FromWorker::TaskError(TaskError {
                task_id: None,
                worker_id: worker_id(),
                error: "no".into(),
                code: Some("bad_message".into()),
                hint: None,
                timestamp: 5,
                verdict: None,
                last_seq: None,
                fence: None,
            }),
            r#"{"type":"task_error","workerId":"w","error":"no","code":"bad_message","timestamp":5}"#,
        );
    }

    #[test]
    fn a_heartbeat_has_its_text() {
        check(
            &FromWorker::Heartbeat(Heartbeat {
                worker_id: worker_id(),
                timestamp: 5,
                status: WorkerStatus::Busy,
                health: Health {
                    cpu: 12.5,
                    memory: 40.0,
                    disk: 1.0,
                    uptime: 9,
                },
                current_task: Some("t".parse().unwrap()),
                tasks: Vec::new(),
                draining: false,
            }),
            r#"{"type":"heartbeat","workerId":"w","timestamp":5,"status":"busy","health":{"cpu":12.5,"memory":40.0,"disk":1.0,"uptime":9},"currentTask":"t","tasks":[]}"#,
        );
    }

    #[test]
    fn the_fixed_fields_are_enough() {
        for text in [
            r#"{"type":"execution_started","taskId":"t","workerId":"w","timestamp":1}"#,
            r#"{"type":"task_output","taskId":"t","workerId":"w","output":"x","stream":"stdout","timestamp":1}"#,
            r#"{"type":"task_complete","taskId":"t","workerId":"w","exitCode":0,"timestamp":1}"#,
            r#"{"type":"task_error","taskId":"t","workerId":"w","error":"x","timestamp":1}"#,
            r#"{"type":"block_detected","taskId":"t","workerId":"w","blockInfo":{"taskId":"t","workerId":"w","reason":"deadlock","duration":5,"resourceUsage":{"cpu":0,"memory":1,"disk":2},"recoverable":true},"timestamp":1}"#,
            r#"{"type":"heartbeat","workerId":"w","timestamp":1,"status":"idle","health":{"cpu":0,"memory":0,"disk":0,"uptime":1}}"#,
        ] {
            assert!(serde_json::from_str::<FromWorker>(text).is_ok(), "{text}");
        }
    }
}
