//! Messages between a worker and whoever drives it: a client or a manager.
//!
//! They are JSON text frames over WebSocket, told apart by `type`. Names and the fields that are
//! not optional are fixed, because clients written against them exist; unknown fields are
//! ignored. `timestamp` is Unix time in milliseconds.

mod from_worker;
mod to_worker;

pub use from_worker::{
    BlockDetected, BlockReport, ExaminedTask, ExecutionStarted, FromWorker, Heartbeat, OutputCut,
    Pong, Progress, ProgressUpdate, Stage, TaskBrief, TaskComplete, TaskError, TaskList,
    TaskOutput, Welcome,
};
pub use to_worker::{
    Acknowledge, Attach, DetectBlock, ExecuteCommand, Joined, Ping, ResizePty, SendInput,
    SignalTask, TaskSignal, TerminateTask, ToWorker,
};

use crate::task::TaskId;

/// The version that `welcome` tells.
pub const PROTOCOL_VERSION: u32 = 1;
/// WebSocket subprotocol in which everything is JSON. The default.
pub const SUBPROTOCOL_JSON: &str = "cogo.v1.json";
/// WebSocket subprotocol in which output comes as binary frames, see [`frame`](crate::frame).
pub const SUBPROTOCOL_BINARY: &str = "cogo.v1.bin";
/// What comes before a token that is brought as a subprotocol.
pub const SUBPROTOCOL_TOKEN_PREFIX: &str = "cogo.token.";

/// A frame that is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// It is not a JSON object with a `type`.
    #[error("the frame is not a JSON object with a `type`: {detail}")]
    Malformed {
        /// Where it went wrong.
        detail: String,
    },
    /// Its type is not known.
    #[error("there is no message of type `{kind}`")]
    UnknownType {
        /// Its type.
        kind: String,
        /// The task it speaks of, if it does.
        task_id: Option<TaskId>,
    },
    /// A field is missing or has a wrong value.
    #[error("`{kind}` cannot be read: {detail}")]
    InvalidField {
        /// Its type.
        kind: String,
        /// Where it went wrong.
        detail: String,
        /// The task it speaks of, if it does.
        task_id: Option<TaskId>,
    },
}

impl BadMessage {
    /// The `code` of the `task_error` that answers it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => error_code::UNKNOWN_MESSAGE,
            Self::Malformed { .. } | Self::InvalidField { .. } => error_code::BAD_MESSAGE,
        }
    }

    /// The task it speaks of, where that can be told.
    pub const fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Malformed { .. } => None,
            Self::UnknownType { task_id, .. } | Self::InvalidField { task_id, .. } => {
                task_id.as_ref()
            }
        }
    }
}

/// Values of `code` in a `task_error`.
pub mod error_code {
    /// The frame is not a message, or a field of it is wrong.
    pub const BAD_MESSAGE: &str = "bad_message";
    /// There is no message of that type.
    pub const UNKNOWN_MESSAGE: &str = "unknown_message";
    /// The worker has no task of that name.
    pub const NO_SUCH_TASK: &str = "no_such_task";
    /// The worker has a task of that name already.
    pub const TASK_EXISTS: &str = "task_exists";
    /// All slots are taken.
    pub const AT_CAPACITY: &str = "at_capacity";
    /// The worker finishes what it has and takes no more.
    pub const DRAINING: &str = "draining";
    /// The request asks for something impossible.
    pub const INVALID_REQUEST: &str = "invalid_request";
    /// The host cannot enforce what was asked.
    pub const UNSUPPORTED: &str = "unsupported";
    /// The command could not be executed inside the sandbox.
    pub const NOT_STARTED: &str = "not_started";
    /// The sandbox could not be made.
    pub const SANDBOX_FAILED: &str = "sandbox_failed";
    /// Nobody saw how the command ended.
    pub const OUTCOME_UNKNOWN: &str = "outcome_unknown";
    /// The request came under a right that has passed to another.
    pub const STALE_FENCE: &str = "stale_fence";
    /// What was asked does not fit the task, such as input for one whose input is closed.
    pub const NOT_APPLICABLE: &str = "not_applicable";
    /// Output of the task is missing, because its log is damaged or was removed. The task's end
    /// follows.
    pub const LOG_UNREADABLE: &str = "log_unreadable";
    /// Too much input waits for the program to read it; none of the message was taken.
    pub const INPUT_FULL: &str = "input_full";
    /// The frame is longer than the worker takes. The connection is closed.
    pub const MESSAGE_TOO_LARGE: &str = "message_too_large";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// One message of each type, with most of its fields.
    fn samples() -> Vec<Value> {
        vec![
            json!({"type": "execute_command", "taskId": "t", "command": "true", "timestamp": 1,
                   "workspace": {"path": "/w", "mode": "copy"}, "cwd": "/w", "env": {"A": "b"},
                   "stdin": "open", "pty": {"rows": 24, "cols": 80}, "timeout": 5,
                   "limits": {"memoryBytes": 1}, "network": {"allow": ["example.org"]},
                   "isolation": "strict", "blockPolicy": "warn"}),
            json!({"type": "terminate_task", "taskId": "t", "graceMs": 1, "signal": "SIGINT"}),
            json!({"type": "send_input", "taskId": "t", "input": "x", "eof": true}),
            json!({"type": "ping", "timestamp": 1}),
            json!({"type": "resize_pty", "taskId": "t", "rows": 1, "cols": 2}),
            json!({"type": "signal_task", "taskId": "t", "signal": "SIGHUP"}),
            json!({"type": "list_tasks"}),
            json!({"type": "attach", "taskId": "t", "fromSeq": 3}),
            json!({"type": "joined", "heartbeatMs": 1, "leaseMs": 2}),
            json!({"type": "acknowledge", "taskId": "t", "fence": 4}),
            json!({"type": "drain"}),
            json!({"type": "execution_started", "taskId": "t", "workerId": "w", "timestamp": 1}),
            json!({"type": "task_complete", "taskId": "t", "workerId": "w", "exitCode": 1,
                   "timestamp": 1, "lastSeq": 2}),
            json!({"type": "task_error", "error": "no", "workerId": "w", "timestamp": 1}),
            json!({"type": "heartbeat", "workerId": "w", "timestamp": 1, "status": "idle",
                   "health": {"cpu": 1.0, "memory": 2.0, "disk": 3.0, "uptime": 4}}),
        ]
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            let key = prop_oneof!["[a-zA-Z]{1,8}", Just("type".to_owned())];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// A message with one of its fields replaced or taken away.
    fn mutated() -> impl Strategy<Value = Value> {
        let sample = proptest::sample::select(samples());
        let field = any::<proptest::sample::Index>();
        (sample, field, proptest::option::of(any_json())).prop_map(|(mut sample, field, value)| {
            let fields = sample.as_object_mut().expect("samples are objects");
            let name = fields.keys().nth(field.index(fields.len())).cloned();
            let name = name.expect("the index is below the length");
            match value {
                Some(value) => fields.insert(name, value),
                None => fields.remove(&name),
            };
            sample
        })
    }

    fn read(text: &str) {
        let _ = serde_json::from_str::<FromWorker>(text);
        match ToWorker::parse(text) {
            Ok(message) => {
                // What is understood can be passed on, and means the same there.
                let again = serde_json::to_string(&message).expect("keys are strings");
                assert_eq!(ToWorker::parse(&again), Ok(message));
            }
            Err(bad) => assert!(!bad.code().is_empty() && !bad.to_string().is_empty()),
        }
    }

    #[test]
    fn the_samples_are_messages() {
        for sample in samples() {
            let text = sample.to_string();
            let known =
                ToWorker::parse(&text).is_ok() || serde_json::from_str::<FromWorker>(&text).is_ok();
            assert!(known, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            read(&text);
        }

        #[test]
        fn any_json_is_read_or_refused(value in any_json()) {
            read(&value.to_string());
        }

        #[test]
        fn a_changed_message_is_read_or_refused(message in mutated()) {
            read(&message.to_string());
        }

        #[test]
        fn a_message_that_was_cut_is_refused(
            message in proptest::sample::select(samples()),
            end: proptest::sample::Index,
        ) {
            let text = message.to_string();
            prop_assert!(ToWorker::parse(&text[..end.index(text.len())]).is_err());
        }
    }
}
