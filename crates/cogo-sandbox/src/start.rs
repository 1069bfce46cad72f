//! Starts an exec: hands its spec to a supervisor and waits until the command runs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::exec_dir::{ExecDir, ExecLock, Running, StateDir, StateError};
use crate::launcher;
use crate::message;
use crate::spec::ExecSpec;
use crate::supervisor::{Errand, orphans};

/// Everything a start needs beside the spec itself.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program that becomes the supervisor: this very binary, whose `main` calls
    /// [`launcher::run_if_asked`] first. Default: `/proc/self/exe`.
    pub program: PathBuf,
    /// Where control groups are made, relative to each hierarchy's mount. Default: found.
    pub cgroup_base: Option<PathBuf>,
}

impl Default for Launcher {
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            cgroup_base: None,
        }
    }
}

/// An environment variable whose value must not be written down anywhere.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    /// The variable's name.
    pub name: String,
    /// Its value, taken out of all output.
    pub value: String,
}

/// Names the secret and keeps its value out of logs and panics.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// An exec whose command runs.
#[derive(Debug)]
pub struct Started {
    /// Its folder.
    pub exec: ExecDir,
    /// Who runs it and what is enforced.
    pub running: Running,
    /// The supervisor, a child of this process until one of the two ends; `None` if it is a
    /// zygote's child.
    supervisor: Option<Child>,
}

impl Started {
    /// Reaps the supervisor after the verdict, so that it does not stay as a zombie. Blocks
    /// until it is gone. A zygote reaps its own.
    ///
    /// # Errors
    ///
    /// Fails only if the process was reaped elsewhere.
    pub fn reap(&mut self) -> io::Result<()> {
        self.supervisor
            .as_mut()
            .map_or(Ok(()), |supervisor| supervisor.wait().map(drop))
    }
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The supervisor process could not be started or talked to.
    #[error("failed to start a supervisor")]
    Spawn(#[source] io::Error),
    /// The supervisor went away without an answer.
    #[error("the supervisor ended before the command ran")]
    SupervisorDied,
    /// The supervisor looked at the request and refused it.
    #[error("{0}")]
    Refused(Refusal),
}

/// A supervisor's answer when it does not start the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What sort of problem it is.
    pub kind: RefusalKind,
    /// The fact, as a lowercase fragment.
    pub message: String,
    /// What the caller can do about it.
    pub hint: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// The sorts of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The host cannot enforce what was asked.
    Unsupported,
    /// The spec asks for something impossible, such as a limit below what can work.
    Invalid,
    /// A path in the spec is missing or of the wrong kind.
    NotFound,
    /// The kernel refused a step that should have worked.
    Failed,
}

/// What travels to the supervisor; the exec's lock goes beside it as a descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) exec: PathBuf,
    pub(crate) spec: ExecSpec,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) cgroup_base: Option<PathBuf>,
    /// Whether the starter would have the sandbox again for another command.
    pub(crate) reuse: bool,
}

impl StartRequest {
    pub(crate) fn new(
        exec: &ExecDir,
        spec: &ExecSpec,
        secrets: &[Secret],
        cgroup_base: Option<&Path>,
    ) -> Self {
        Self {
            exec: exec.path().to_owned(),
            spec: spec.clone(),
            secrets: secrets.to_vec(),
            cgroup_base: cgroup_base.map(Path::to_owned),
            reuse: false,
        }
    }
}

/// What comes back, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StartAnswer {
    Running(Running),
    /// The sandbox stood, the program could not be executed; the verdict says why.
    Ended,
    Refused(Refusal),
}

impl StartAnswer {
    /// The outcome of a start whose supervisor is not this process's child.
    pub(crate) fn into_start(self, exec: &ExecDir) -> Result<Start, StartError> {
        match self {
            Self::Running(running) => Ok(Start::Running(Started {
                exec: exec.clone(),
                running,
                supervisor: None,
            })),
            Self::Ended => Ok(Start::Ended(exec.clone())),
            Self::Refused(refusal) => Err(StartError::Refused(refusal)),
        }
    }
}

/// How a start came out.
#[derive(Debug)]
pub enum Start {
    /// The command runs.
    Running(Started),
    /// The command ended before it ran: the exec's verdict says why (a missing program).
    Ended(ExecDir),
}

/// Starts an exec in a new folder `id` of the state directory. The exec does not depend on the
/// caller afterwards: it goes on when the caller dies.
///
/// # Errors
///
/// On every error nothing runs and no folder is left.
pub fn start(
    launcher: &Launcher,
    state: &StateDir,
    id: &str,
    spec: &ExecSpec,
    secrets: &[Secret],
) -> Result<Start, StartError> {
    let (exec, lock) = state.create_exec(id)?;
    let result = start_in(launcher, &exec, lock, spec, secrets);
    if result.is_err() {
        remove_unstarted(&exec);
    }
    result
}

/// Removes the folder of an exec that never ran: there is nothing to tell of it later.
pub(crate) fn remove_unstarted(exec: &ExecDir) {
    let _ = std::fs::remove_dir_all(exec.path());
}

fn start_in(
    launcher: &Launcher,
    exec: &ExecDir,
    lock: ExecLock,
    spec: &ExecSpec,
    secrets: &[Secret],
) -> Result<Start, StartError> {
    let (socket, mut supervisor) = spawn_supervisor(launcher).map_err(StartError::Spawn)?;
    let request = StartRequest::new(exec, spec, secrets, launcher.cgroup_base.as_deref());
    let answer = Asked::send(socket, request, lock).and_then(Asked::answer);
    match answer {
        Ok(StartAnswer::Running(running)) => Ok(Start::Running(Started {
            exec: exec.clone(),
            running,
            supervisor: Some(supervisor),
        })),
        Ok(StartAnswer::Ended) => {
            let _ = supervisor.wait();
            Ok(Start::Ended(exec.clone()))
        }
        Ok(StartAnswer::Refused(refusal)) => {
            let _ = supervisor.wait();
            Err(StartError::Refused(refusal))
        }
        Err(error) => {
            let _ = supervisor.kill();
            let _ = supervisor.wait();
            let cgroups = Cgroups::discover(launcher.cgroup_base.as_deref());
            orphans::end_groups_of(exec.id(), &cgroups);
            Err(error)
        }
    }
}

/// A request that a supervisor has, and has not answered yet.
pub(crate) struct Asked(OwnedFd);

impl Asked {
    /// Sends a request with its lock.
    pub(crate) fn send(
        socket: OwnedFd,
        request: StartRequest,
        lock: ExecLock,
    ) -> Result<Self, StartError> {
        message::send(
            socket.as_fd(),
            &Errand::Start(request),
            &[lock.file().as_fd()],
        )
        .map_err(StartError::Spawn)?;
        // From here on the supervisor alone holds the lock, so its death frees it.
        drop(lock);
        Ok(Self(socket))
    }

    /// Waits for the answer.
    pub(crate) fn answer(self) -> Result<StartAnswer, StartError> {
        self.answer_and_socket().map(|(answer, _)| answer)
    }

    /// Waits for the answer. Over the socket the supervisor tells what becomes of the sandbox.
    pub(crate) fn answer_and_socket(self) -> Result<(StartAnswer, OwnedFd), StartError> {
        let answer = message::receive(self.0.as_fd()).map_err(StartError::Spawn)?;
        answer
            .map(|(answer, _)| (answer, self.0))
            .ok_or(StartError::SupervisorDied)
    }
}

fn spawn_supervisor(launcher: &Launcher) -> io::Result<(OwnedFd, Child)> {
    let (ours, theirs) = message::pair()?;
    let child = Command::new(&launcher.program)
        // `ps` shows the role, and no option parser ever sees it.
        .arg0(launcher::SUPERVISOR)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((ours, child))
}
