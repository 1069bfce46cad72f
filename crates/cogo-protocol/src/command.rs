//! What a client asks to have run: the part that a worker's `execute_command` and a manager's
//! task request share.
//!
//! It is looser than [`ExecSpec`](crate::exec::ExecSpec), which is what it becomes: a command may
//! be a line for the shell, a workspace may be left to the worker.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::{BlockAfter, BlockPolicy};
use crate::exec::{Isolation, Limits, Network, PtySize, WorkspaceMode};

/// A command with everything that bounds it. One of `command` and `argv` is required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandRequest {
    /// A line for `/bin/sh -c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Program and arguments, used as they are. Wins over `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// The file tree to work in. Default: a fresh, empty one that goes with the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceRequest>,
    /// Working directory inside the sandbox. Default: the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables added to the sandbox's small default environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where the program's standard input comes from. Default: `closed`.
    #[serde(default, skip_serializing_if = "StdinRequest::is_closed")]
    pub stdin: StdinRequest,
    /// Runs the program on a terminal of this size instead of pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<PtySize>,
    /// Wall time in milliseconds after which the exec is stopped. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Upper bounds on what the exec uses. `timeoutMs` in here yields to `timeout`.
    #[serde(default)]
    pub limits: Limits,
    /// What the program can reach over the network. Default: `none`.
    #[serde(default)]
    pub network: Network,
    /// How strong the sandbox has to be. Default: `strict`.
    #[serde(default)]
    pub isolation: Isolation,
    /// Name of an imported root file system to use instead of the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<String>,
    /// Host paths shown inside at the same path, read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only_paths: Vec<String>,
    /// Time between the polite signal and the kill when the exec is stopped, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// What to do when the exec is blocked. Default: the worker's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_policy: Option<BlockPolicy>,
    /// How long each kind of hang has to last before it is called a block, in milliseconds;
    /// `null` is never. Default: the worker's setting.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub block_after: BlockAfter,
}

/// A request that names nothing to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCommand {
    /// Neither `command` nor `argv` is there.
    #[error("neither `command` nor `argv` is given")]
    Missing,
    /// It is there, and empty.
    #[error("the command is empty")]
    Empty,
}

impl CommandRequest {
    /// Program and arguments to execute.
    ///
    /// # Errors
    ///
    /// Fails when there is nothing to run.
    pub fn argv(&self) -> Result<Vec<String>, NoCommand> {
        match (&self.argv, &self.command) {
            (Some(argv), _) if argv.first().is_some_and(|program| !program.is_empty()) => {
                Ok(argv.clone())
            }
            (None, Some(line)) if !line.trim().is_empty() => {
                Ok(["/bin/sh", "-c", line].map(str::to_owned).into())
            }
            (None, None) => Err(NoCommand::Missing),
            (Some(_), _) | (None, Some(_)) => Err(NoCommand::Empty),
        }
    }

    /// The limits with the request's own timeout in them.
    pub fn limits(&self) -> Limits {
        Limits {
            timeout_ms: self.timeout.or(self.limits.timeout_ms),
            ..self.limits.clone()
        }
    }

    /// The command as a person would type it, for lists.
    pub fn title(&self) -> String {
        match (&self.argv, &self.command) {
            (Some(argv), _) => argv.join(" "),
            (None, Some(line)) => line.clone(),
            (None, None) => String::new(),
        }
    }
}

/// The file tree to work in: `"/path"` or `{"path": "/path", "mode": "copy"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WorkspaceRequest {
    /// A directory of the worker's host, changed in place.
    Path(String),
    /// A directory with what becomes of changes.
    Tree {
        /// Absolute path on the worker's host.
        path: String,
        /// What becomes of the program's changes.
        #[serde(default)]
        mode: WorkspaceMode,
    },
}

impl WorkspaceRequest {
    /// Path and mode.
    pub fn parts(&self) -> (&str, WorkspaceMode) {
        match self {
            Self::Path(path) => (path, WorkspaceMode::Direct),
            Self::Tree { path, mode } => (path, *mode),
        }
    }
}

/// Standard input: `"closed"`, `"open"`, any other string as text, or `{"text": "…"}` for a text
/// that is one of those words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "StdinForm", into = "StdinForm")]
pub enum StdinRequest {
    /// End of file at once.
    #[default]
    Closed,
    /// A client sends input while the program runs.
    Open,
    /// This text, then end of file.
    Text(String),
}

impl StdinRequest {
    fn is_closed(&self) -> bool {
        *self == Self::Closed
    }
}

/// The JSON forms of [`StdinRequest`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum StdinForm {
    Word(String),
    Text { text: String },
}

impl From<StdinForm> for StdinRequest {
    fn from(form: StdinForm) -> Self {
        match form {
            StdinForm::Word(word) if word == "closed" => Self::Closed,
            StdinForm::Word(word) if word == "open" => Self::Open,
            StdinForm::Word(text) | StdinForm::Text { text } => Self::Text(text),
        }
    }
}

impl From<StdinRequest> for StdinForm {
    fn from(stdin: StdinRequest) -> Self {
        match stdin {
            StdinRequest::Closed => Self::Word("closed".to_owned()),
            StdinRequest::Open => Self::Word("open".to_owned()),
            StdinRequest::Text(text) => Self::Text { text },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> CommandRequest {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_line_goes_to_the_shell_and_argv_wins() {
        let line = read(r#"{"command":"make && make test"}"#);
        assert_eq!(line.argv().unwrap(), ["/bin/sh", "-c", "make && make test"]);
        let both = read(r#"{"command":"false","argv":["true"]}"#);
        assert_eq!(both.argv().unwrap(), ["true"]);
    }

    #[test]
    fn nothing_to_run_is_told_apart() {
        assert_eq!(read("{}").argv(), Err(NoCommand::Missing));
        for empty in [
            r#"{"command":" "}"#,
            r#"{"argv":[]}"#,
            r#"{"argv":[""],"command":"true"}"#,
        ] {
            assert_eq!(read(empty).argv(), Err(NoCommand::Empty), "{empty}");
        }
    }

    #[test]
    fn standard_input_has_its_forms() {
        for (text, stdin) in [
            (r#""closed""#, StdinRequest::Closed),
            (r#""open""#, StdinRequest::Open),
            (r#""yes\n""#, StdinRequest::Text("yes\n".into())),
            (r#"{"text":"open"}"#, StdinRequest::Text("open".into())),
        ] {
            let read: StdinRequest = serde_json::from_str(text).unwrap();
            assert_eq!(read, stdin);
            let again = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<StdinRequest>(&again).unwrap(), stdin);
        }
    }

    #[test]
    fn a_workspace_may_be_a_mere_path() {
        let path = read(r#"{"command":"x","workspace":"/src"}"#);
        assert_eq!(
            path.workspace.unwrap().parts(),
            ("/src", WorkspaceMode::Direct)
        );
        let tree = read(r#"{"command":"x","workspace":{"path":"/src","mode":"copy"}}"#);
        assert_eq!(
            tree.workspace.unwrap().parts(),
            ("/src", WorkspaceMode::Copy)
        );
    }

    #[test]
    fn the_own_timeout_wins() {
        let request = read(r#"{"command":"x","timeout":5,"limits":{"timeoutMs":7}}"#);
        assert_eq!(request.limits().timeout_ms, Some(5));
    }
}
