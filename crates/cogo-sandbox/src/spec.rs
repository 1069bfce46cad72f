//! What to run and under which bounds: the input of one exec.
//!
//! These types are also the on-disk format of `spec.json` in an exec directory. Secrets are not
//! part of it: they travel beside the spec and are never written to disk.

use std::path::PathBuf;
use std::time::Duration;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

/// One command to run, with everything that bounds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    /// Program and arguments. The program is looked up in the sandbox's `PATH`.
    pub argv: Vec<String>,
    /// Working directory inside the sandbox. Default: the workspace.
    pub cwd: Option<PathBuf>,
    /// Variables added to the sandbox's small default environment; later ones win.
    pub env: Vec<(String, String)>,
    /// Where the program's standard input comes from.
    pub stdin: Stdin,
    /// Runs the program on a terminal of this size instead of pipes.
    pub pty: Option<PtySize>,
    /// The file tree the program works in.
    pub workspace: Workspace,
    /// What the program can reach over the network.
    pub network: Network,
    /// Upper bounds on what the program uses.
    pub limits: Limits,
    /// How strong the sandbox has to be.
    pub isolation: Isolation,
    /// Root file system to use instead of the host's, an unpacked tree (see `rootfs`).
    pub rootfs: Option<PathBuf>,
    /// The user's home directory: its path is the command's `HOME`, its content is hidden.
    pub home: PathBuf,
    /// Host files and directories shown inside at the same path, read-only. Missing ones are
    /// passed over.
    pub read_only_paths: Vec<PathBuf>,
    /// Time between the polite signal and the kill when the exec is stopped.
    pub grace_period: Duration,
}

/// Where standard input comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// The program reads end of file at once.
    #[default]
    Closed,
    /// A client sends input over the control socket.
    Open,
}

/// Size of a terminal in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtySize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// The file tree an exec works in. It is seen inside at the path it has outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Absolute path of the directory on the host.
    pub path: PathBuf,
    /// What becomes of the program's changes.
    pub mode: WorkspaceMode,
}

/// What becomes of the changes a program makes in its workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceMode {
    /// They land in the directory itself.
    #[default]
    Direct,
    /// They land in an overlay that is thrown away at the end.
    Copy,
    /// They are refused.
    ReadOnly,
}

/// What an exec can reach over the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but its own loopback.
    #[default]
    None,
    /// Everything the host reaches.
    Host,
    /// The listed domains, through a filtering HTTP proxy. See `proxy::AllowList` for the syntax.
    Allow(Vec<String>),
}

/// Upper bounds on what an exec uses. `None` means no bound of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of the whole process tree, in bytes.
    pub memory: Option<u64>,
    /// CPU time per wall time of the whole process tree, in cores.
    #[serde(serialize_with = "a_number")]
    pub cpus: Option<f64>,
    /// Processes and threads alive at once.
    pub pids: Option<u32>,
    /// Bytes written to the sandbox's private places (`/tmp`, home, `/dev/shm`, overlay).
    pub disk: Option<u64>,
    /// Wall time after which the exec is stopped.
    pub timeout: Option<Duration>,
    /// Time without output after which the exec is stopped.
    pub silence_timeout: Option<Duration>,
    /// Bytes the log may take on disk; the middle is cut when it would grow past them.
    pub log: Option<u64>,
}

/// JSON has only finite numbers: another one would be written as none, and read as no limit.
#[expect(clippy::ref_option, reason = "serde asks for a reference to the field")]
fn a_number<S: Serializer>(cpus: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    if cpus.is_some_and(|cpus| !cpus.is_finite()) {
        return Err(S::Error::custom("a limit is not a number"));
    }
    cpus.serialize(serializer)
}

/// How strong a sandbox has to be. What is asked for is enforced, or nothing is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Namespaces, seccomp, Landlock and cgroup limits: all of them.
    #[default]
    Strict,
    /// Namespaces and seccomp; Landlock and cgroup limits where the host offers them.
    Standard,
    /// Supervision alone: log, limits the host offers, kill of the whole tree. No protection.
    None,
}
