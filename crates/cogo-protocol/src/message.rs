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
