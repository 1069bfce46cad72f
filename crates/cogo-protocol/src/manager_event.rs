//! What a manager tells everyone who listens: tasks and workers as they come, change and go.
//!
//! The names `workerCreated`, `taskComplete`, `taskOutput`, `blockDetected` and
//! `workerDisconnected` are fixed, because clients written against them exist.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::BlockInfo;
use crate::message::{Progress, TaskOutput};
use crate::recovery::RecoveryRecord;
use crate::task::{Priority, TaskId, TaskState};
use crate::verdict::{Usage, Verdict};
use crate::worker::WorkerId;

/// Something that happened to a task or a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum ManagerEvent {
    /// A task was taken and waits for a worker.
    TaskQueued {
        /// The task.
        task_id: TaskId,
        /// How urgent it is.
        priority: Priority,
        /// Who submitted it.
        submitter: String,
    },
    /// An attempt at a task runs.
    TaskStarted {
        /// The task.
        task_id: TaskId,
        /// Where it runs.
        worker_id: WorkerId,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// A program wrote something. Not kept among the events: the log has it.
    TaskOutput(TaskOutput),
    /// A task gets on. Not kept.
    TaskProgress {
        /// The task.
        task_id: TaskId,
        /// Where it runs.
        worker_id: WorkerId,
        /// How far it is.
        progress: Progress,
    },
    /// An attempt is over, and the task waits for the next one.
    TaskRequeued {
        /// The task.
        task_id: TaskId,
        /// The worker that had it.
        worker_id: WorkerId,
        /// The number of the attempt that is over.
        attempt: u32,
        /// Why.
        reason: String,
        /// What is tried next, where the cause decided it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovery: Option<Box<RecoveryRecord>>,
    },
    /// A task is over, whatever way.
    TaskComplete {
        /// The task.
        task_id: TaskId,
        /// The worker that had it last.
        worker_id: Option<WorkerId>,
        /// How it ended.
        #[serde(rename = "status")]
        state: TaskState,
        /// Exit code as messages carry it, where it is known.
        exit_code: Option<i32>,
        /// How the command ended, where that is known.
        verdict: Option<Verdict>,
        /// What it used.
        usage: Option<Usage>,
        /// Why it ended without a verdict.
        error: Option<String>,
    },
    /// A task hangs.
    BlockDetected {
        /// The task.
        task_id: TaskId,
        /// Where it hangs.
        worker_id: WorkerId,
        /// Why, since when, and how that is known.
        block_info: BlockInfo,
    },
    /// A worker is known from now on.
    WorkerCreated {
        /// The worker.
        worker_id: WorkerId,
        /// Its type.
        #[serde(rename = "workerType")]
        kind: String,
        /// Whether the manager started it.
        local: bool,
    },
    /// A connection to a worker is open.
    WorkerConnected {
        /// The worker.
        worker_id: WorkerId,
    },
    /// The connection to a worker is closed. It may come back.
    WorkerDisconnected {
        /// The worker.
        worker_id: WorkerId,
    },
    /// A worker was silent for so long that its tasks were taken back.
    WorkerLost {
        /// The worker.
        worker_id: WorkerId,
        /// For how long, in milliseconds.
        silent_ms: u64,
    },
    /// A local worker ended or could not be started.
    WorkerFailed {
        /// The worker.
        worker_id: WorkerId,
        /// How, for a reader.
        reason: String,
        /// Whether it will be started again.
        restarts: bool,
    },
    /// A worker is not known any more.
    WorkerRemoved {
        /// The worker.
        worker_id: WorkerId,
        /// Why.
        reason: String,
    },
}

impl ManagerEvent {
    /// The task it is about, if it is about one.
    pub const fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::TaskOutput(output) => Some(&output.task_id),
            Self::TaskQueued { task_id, .. }
            | Self::TaskStarted { task_id, .. }
            | Self::TaskProgress { task_id, .. }
            | Self::TaskRequeued { task_id, .. }
            | Self::TaskComplete { task_id, .. }
            | Self::BlockDetected { task_id, .. } => Some(task_id),
            Self::WorkerCreated { .. }
            | Self::WorkerConnected { .. }
            | Self::WorkerDisconnected { .. }
            | Self::WorkerLost { .. }
            | Self::WorkerFailed { .. }
            | Self::WorkerRemoved { .. } => None,
        }
    }

    /// The worker it is about, if it is about one.
    pub const fn worker_id(&self) -> Option<&WorkerId> {
        match self {
            Self::TaskQueued { .. } => None,
            Self::TaskOutput(output) => Some(&output.worker_id),
            Self::TaskComplete { worker_id, .. } => worker_id.as_ref(),
            Self::TaskStarted { worker_id, .. }
            | Self::TaskProgress { worker_id, .. }
            | Self::TaskRequeued { worker_id, .. }
            | Self::BlockDetected { worker_id, .. }
            | Self::WorkerCreated { worker_id, .. }
            | Self::WorkerConnected { worker_id }
            | Self::WorkerDisconnected { worker_id }
            | Self::WorkerLost { worker_id, .. }
            | Self::WorkerFailed { worker_id, .. }
            | Self::WorkerRemoved { worker_id, .. } => Some(worker_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_text() {
        let complete = ManagerEvent::TaskComplete {
            task_id: "t".parse().unwrap(),
            worker_id: Some("w".parse().unwrap()),
            state: TaskState::Succeeded,
            exit_code: Some(0),
            verdict: None,
            usage: None,
            error: None,
        };
        let text = r#"{"type":"taskComplete","taskId":"t","workerId":"w","status":"succeeded","exitCode":0,"verdict":null,"usage":null,"error":null}"#;
        assert_eq!(serde_json::to_string(&complete).unwrap(), text);
        assert_eq!(
            serde_json::from_str::<ManagerEvent>(text).unwrap(),
            complete
        );
    }

    #[test]
    fn the_fixed_names_are_in_the_schema() {
        let schema = serde_json::to_string(&schemars::schema_for!(ManagerEvent)).unwrap();
        for name in [
            "workerCreated",
            "taskComplete",
            "taskOutput",
            "blockDetected",
            "workerDisconnected",
        ] {
            assert!(schema.contains(&format!(r#""{name}""#)), "{name}");
        }
    }
}
