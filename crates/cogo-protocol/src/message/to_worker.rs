//! What a worker is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BadMessage;
use crate::command::CommandRequest;
use crate::record::{BrokenBase64, Chunk, Encoding};
use crate::task::{Fence, TaskId};

/// A message to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker {
    /// Run a command.
    ExecuteCommand(Box<ExecuteCommand>),
    /// Stop a task: a signal, the grace period, the kill.
    TerminateTask(TerminateTask),
    /// Write to a task's standard input.
    SendInput(SendInput),
    /// Answer with a `pong`.
    Ping(Ping),
    /// The client's terminal changed size.
    ResizePty(ResizePty),
    /// Send a signal to the command's process group.
    SignalTask(SignalTask),
    /// Answer with a `task_list`.
    ListTasks {},
    /// Look closely at running tasks now, and answer with a `block_report`.
    DetectBlock(DetectBlock),
    /// Send the task's output from a sequence number on, then live, then its end.
    Attach(Attach),
    /// A manager has taken the worker in.
    Joined(Joined),
    /// A manager has stored the task's end; the worker may forget it.
    Acknowledge(Acknowledge),
    /// Finish what runs and take no more.
    Drain {},
}

/// The `type` of every message that there is.
const KINDS: [&str; 12] = [
    "execute_command",
    "terminate_task",
    "send_input",
    "ping",
    "resize_pty",
    "signal_task",
    "list_tasks",
    "detect_block",
    "attach",
    "joined",
    "acknowledge",
    "drain",
];

/// What is looked at first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    task_id: Option<serde_json::Value>,
}

impl ToWorker {
    /// Reads a text frame.
    ///
    /// # Errors
    ///
    /// Says whether it is no message at all, one of an unknown type, or one with a bad field.
    pub fn parse(text: &str) -> Result<Self, BadMessage> {
        let header: Header = serde_json::from_str(text).map_err(|error| BadMessage::Malformed {
            detail: error.to_string(),
        })?;
        let task_id = header
            .task_id
            .as_ref()
            .and_then(|id| id.as_str()?.parse().ok());
        let kind = header.kind;
        if !KINDS.contains(&kind.as_str()) {
            return Err(BadMessage::UnknownType { kind, task_id });
        }
        serde_json::from_str(text).map_err(|error| BadMessage::InvalidField {
            kind,
            detail: error.to_string(),
            task_id,
        })
    }
}

/// Run a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecuteCommand {
    /// The task.
    pub task_id: TaskId,
    /// When it was sent. A client may leave it out.
    #[serde(default)]
    pub timestamp: u64,
    /// What to run.
    #[serde(flatten)]
    pub command: CommandRequest,
    /// The number of the attempt, from a manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The right under which it runs, from a manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Stop a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TerminateTask {
    /// The task.
    pub task_id: TaskId,
    /// Time between the polite signal and the kill. Default: the task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// A signal to send instead of `SIGTERM` as the polite one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<TaskSignal>,
    /// Only an attempt under this right is meant, from a manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Write to a task's standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendInput {
    /// The task.
    pub task_id: TaskId,
    /// What to write. May be left out to only end the input.
    #[serde(default)]
    pub input: String,
    /// How bytes became `input`.
    #[serde(default)]
    pub encoding: Encoding,
    /// Whether the input ends here.
    #[serde(default)]
    pub eof: bool,
}

impl SendInput {
    /// The bytes to write.
    ///
    /// # Errors
    ///
    /// Fails if the sender's base64 is broken.
    pub fn bytes(&self) -> Result<Vec<u8>, BrokenBase64> {
        let chunk = Chunk {
            output: self.input.clone(),
            encoding: self.encoding,
        };
        chunk.into_bytes()
    }
}

/// Answer with a `pong`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ping {
    /// Comes back as it is.
    #[serde(default)]
    pub timestamp: u64,
}

/// The client's terminal changed size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResizePty {
    /// The task.
    pub task_id: TaskId,
    /// Lines.
    pub rows: u16,
    /// Columns.
    #[serde(rename = "cols")]
    pub columns: u16,
}

/// Send a signal to the command's process group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalTask {
    /// The task.
    pub task_id: TaskId,
    /// The signal.
    pub signal: TaskSignal,
}

/// A signal by number or by name: `2`, `"INT"`, `"SIGINT"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TaskSignal {
    /// Its number on the worker's platform.
    Number(i32),
    /// Its name, with or without `SIG`.
    Name(String),
}

impl TaskSignal {
    /// The number, as Linux on x86-64 and arm64 counts signals (`signal(7)`). `None` for a name
    /// or number that is not one of the standard signals.
    pub fn number(&self) -> Option<i32> {
        const NAMES: [&str; 31] = [
            "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV",
            "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN",
            "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
        ];
        match self {
            Self::Number(number) => (1..=31).contains(number).then_some(*number),
            Self::Name(name) => {
                let upper = name.to_ascii_uppercase();
                let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
                let index = NAMES.iter().position(|known| *known == bare)?;
                i32::try_from(index + 1).ok()
            }
        }
    }
}

/// Look closely at running tasks now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DetectBlock {
    /// The task to look at. Default: all that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// A number that comes back with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<u64>,
}

/// Send a task's output from a sequence number on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attach {
    /// The task.
    pub task_id: TaskId,
    /// The first record to send. Default: 0, all of it.
    #[serde(default)]
    pub from_seq: u64,
}

/// A manager has taken the worker in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// How often to send a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long the manager goes on believing in a task's attempt without one.
    pub lease_ms: u64,
}

/// A manager has stored the task's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledge {
    /// The task.
    pub task_id: TaskId,
    /// Only an attempt under this right is meant.
    pub fence: Fence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_requests_are_read() {
        let execute = ToWorker::parse(
            r#"{"type":"execute_command","taskId":"t","command":"ls","timestamp":5,"mood":1}"#,
        );
        let Ok(ToWorker::ExecuteCommand(execute)) = execute else {
            panic!("{execute:?}")
        };
        assert_eq!(execute.command.argv().unwrap(), ["/bin/sh", "-c", "ls"]);
        for text in [
            r#"{"type":"terminate_task","taskId":"t"}"#,
            r#"{"type":"send_input","taskId":"t","input":"x"}"#,
            r#"{"type":"ping","timestamp":5}"#,
            r#"{"type":"resize_pty","taskId":"t","rows":24,"cols":80}"#,
            r#"{"type":"signal_task","taskId":"t","signal":"SIGINT"}"#,
            r#"{"type":"list_tasks"}"#,
            r#"{"type":"attach","taskId":"t","fromSeq":3}"#,
            r#"{"type":"joined","heartbeatMs":1000,"leaseMs":10000}"#,
            r#"{"type":"acknowledge","taskId":"t","fence":3}"#,
            r#"{"type":"drain"}"#,
        ] {
            let message = ToWorker::parse(text).unwrap();
            let again = serde_json::to_string(&message).unwrap();
            assert_eq!(ToWorker::parse(&again).unwrap(), message, "{text}");
        }
    }

    #[test]
    fn bad_frames_are_told_apart() {
        let code = |text: &str| {
            let error = ToWorker::parse(text).unwrap_err();
            (error.code(), error.task_id().map(ToString::to_string))
        };
        for malformed in ["", "{", "[]", "null", r#"{"taskId":"t"}"#, r#"{"type":5}"#] {
            assert_eq!(code(malformed), ("bad_message", None), "{malformed}");
        }
        let named = Some("t".to_owned());
        assert_eq!(
            code(r#"{"type":"fly","taskId":"t"}"#),
            ("unknown_message", named.clone())
        );
        assert_eq!(
            code(r#"{"type":"resize_pty","taskId":"t","rows":-1,"cols":1}"#),
            ("bad_message", named)
        );
        assert_eq!(
            code(r#"{"type":"execute_command","taskId":""}"#),
            ("bad_message", None)
        );
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            (r#""SIGINT""#, Some(2)),
            (r#""term""#, Some(15)),
            ("9", Some(9)),
            (r#""SIGSYS""#, Some(31)),
            ("0", None),
            ("64", None),
            (r#""NOPE""#, None),
        ] {
            let signal: TaskSignal = serde_json::from_str(text).unwrap();
            assert_eq!(signal.number(), number, "{text}");
        }
    }
}
