//! The records that are kept.

use cogo_protocol::exec::Isolation;
use cogo_protocol::id::ExecId;
use cogo_protocol::job::{JobId, JobKind, JobState};
use cogo_protocol::message::Progress;
use cogo_protocol::recovery::RecoveryRecord;
use cogo_protocol::task::{Fence, MissingOutput, TaskId, TaskRequest, TaskState};
use cogo_protocol::verdict::{Usage, Verdict};
use cogo_protocol::worker::{Capabilities, WorkerId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A task with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its name.
    pub id: TaskId,
    /// What was asked.
    pub request: TaskRequest,
    /// Who asked: the name of the token used, or `local`.
    pub submitter: String,
    /// Its place in the order of submission. No two tasks share one.
    pub number: u64,
    /// Where it stands.
    pub state: TaskState,
    /// Whether someone asked to cancel it while it was leased or running.
    pub cancel_requested: bool,
    /// Its attempts, the first one first. The last one holds the lease, if the task is leased or
    /// running.
    pub attempts: Vec<AttemptRecord>,
    /// What was decided after attempts that failed, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<RecoveryRecord>,
    /// Exit code as messages carry it.
    pub exit_code: Option<i32>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// What it used.
    pub usage: Option<Usage>,
    /// Why it ended without a verdict.
    pub error: Option<String>,
    /// Unix time in milliseconds of the submission.
    pub created_at_ms: u64,
    /// Of the first start.
    pub started_at_ms: Option<u64>,
    /// Of the end.
    pub ended_at_ms: Option<u64>,
}

/// One try at a task on one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub number: u32,
    /// The right it runs under.
    pub fence: Fence,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// What it is on the worker, once that is known.
    pub exec_id: Option<ExecId>,
    /// Unix time in milliseconds of its lease.
    pub leased_at_ms: u64,
    /// Of its start.
    pub started_at_ms: Option<u64>,
    /// Of its end, or of the loss of its lease.
    pub ended_at_ms: Option<u64>,
    /// What became of it, once it is over.
    #[serde(default)]
    pub end: Option<AttemptEnd>,
    /// What became of it, for a reader.
    pub result: Option<String>,
    /// Sequence number after the last record of its output, once that is final.
    pub log_end: Option<u64>,
    /// Output that its worker could not give, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_missing: Vec<MissingOutput>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// The command's own end is known; it is the task's.
    Answered,
    /// The command's own end is known, and something else was tried after it. What was tried is
    /// bounded by itself, so it uses up none of the attempts that may be lost.
    Superseded,
    /// Nobody knows how it ended, or its lease was taken away.
    Lost,
    /// The worker's host could not run it.
    Unable,
    /// The worker did not take it. Does not count as an attempt.
    Refused,
    /// An operator took it from its worker. Does not count as an attempt.
    TakenBack,
}

impl AttemptEnd {
    /// Whether it uses up one of the task's attempts.
    pub const fn counts(self) -> bool {
        match self {
            Self::Answered | Self::Lost | Self::Unable => true,
            Self::Superseded | Self::Refused | Self::TakenBack => false,
        }
    }
}

/// A worker that may come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its name.
    pub id: WorkerId,
    /// Its type.
    pub kind: String,
    /// Whether this manager started it and may end it.
    pub local: bool,
    /// Whether it takes no more tasks.
    pub draining: bool,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The tiers of isolation it can enforce.
    pub isolation: Vec<Isolation>,
    /// Unix time in milliseconds at which it first joined.
    pub created_at_ms: u64,
}

/// A job with all that must not be forgotten of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub id: JobId,
    /// What sort of work it is.
    pub kind: JobKind,
    /// What was asked, as the kind of work has it.
    pub request: Value,
    /// Who asked: the name of the token used, or `local`.
    pub submitter: String,
    /// Where it stands.
    pub state: JobState,
    /// Whether someone asked to end it.
    pub cancel_requested: bool,
    /// How far it was when it ended.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// What it found or did, once it has ended.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// Unix time in milliseconds of the submission.
    pub created_at_ms: u64,
    /// Of the first start.
    pub started_at_ms: Option<u64>,
    /// Of the end.
    pub ended_at_ms: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Rises by at least one from event to event.
    pub number: u64,
    /// Unix time in milliseconds.
    pub timestamp_ms: u64,
    /// The task it is about, if it is about one.
    pub task_id: Option<TaskId>,
    /// The worker it is about, if it is about one.
    pub worker_id: Option<WorkerId>,
    /// The event as clients get it, in JSON.
    pub json: String,
}

/// A token, of which only the hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// What people call it.
    pub name: String,
    /// SHA-256 of the token, which is random and long.
    pub sha256: [u8; 32],
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// Unix time in milliseconds at which it was made.
    pub created_at_ms: u64,
    /// From when on it is refused.
    pub expires_at_ms: Option<u64>,
}

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Submit, feed and cancel tasks.
    Submit,
    /// See everything.
    Read,
    /// Change workers and tokens too.
    Admin,
    /// Join as a worker.
    WorkerJoin,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only those in one of these states; empty for all.
    pub states: Vec<TaskState>,
    /// Only those submitted before this number.
    pub before: Option<u64>,
    /// At most so many; `None` for 100.
    pub limit: Option<usize>,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only those of this kind; `None` for all.
    pub kind: Option<JobKind>,
    /// Only those submitted before this one. One that is not known has none before it.
    pub before: Option<JobId>,
    /// At most so many; `None` for 100.
    pub limit: Option<usize>,
}
