//! Sessions: one sandbox in which many commands run.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::exec_dir::{ExecDir, ExecLock, StateDir};
use crate::message;
use crate::rootfs::removal;
use crate::spec::ExecSpec;
use crate::start::{Asked, Secret, Start, StartError, StartRequest, remove_unstarted};
use crate::supervisor::Errand;
use crate::supervisor::session::{SessionAnswer, SessionRequest};

/// An open session. Dropping it ends the session and everything in it.
#[derive(Debug)]
pub struct Session {
    socket: OwnedFd,
    /// Supervisors that wait for a command; `None` at the end.
    queue: Mutex<Option<OwnedFd>>,
    folder: PathBuf,
}

impl Session {
    /// Opens a session through a supervisor that waits for its errand on the other end of
    /// `socket`.
    pub(crate) fn open(
        socket: OwnedFd,
        state: &StateDir,
        id: &str,
        spec: &ExecSpec,
        cgroup_base: Option<PathBuf>,
    ) -> Result<Self, StartError> {
        let folder = state.path().join("sessions").join(id);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(StartError::Spawn)?;
        let (queue, theirs) = message::pair().map_err(StartError::Spawn)?;
        let session = Self {
            socket,
            queue: Mutex::new(Some(queue)),
            folder: folder.clone(),
        };
        let errand = Errand::OpenSession(SessionRequest {
            folder,
            spec: spec.clone(),
            cgroup_base,
        });
        message::send(session.socket.as_fd(), &errand, &[theirs.as_fd()])
            .map_err(StartError::Spawn)?;
        drop(theirs);
        let answer = message::receive(session.socket.as_fd()).map_err(StartError::Spawn)?;
        match answer {
            Some((SessionAnswer::Open, _)) => Ok(session),
            Some((SessionAnswer::Refused(refusal), _)) => Err(StartError::Refused(refusal)),
            None => Err(StartError::SupervisorDied),
        }
    }

    /// Starts a command in the session. Its spec repeats the session's workspace, network and
    /// isolation and leaves the limits of memory, cpus, pids and disk out: they are the
    /// session's. What the command leaves running stays in the session.
    ///
    /// # Errors
    ///
    /// On every error nothing runs and no folder is left.
    pub fn start_exec(
        &self,
        state: &StateDir,
        id: &str,
        spec: &ExecSpec,
        secrets: &[Secret],
    ) -> Result<Start, StartError> {
        let (exec, lock) = state.create_exec(id)?;
        let result = self.start_in(&exec, lock, spec, secrets);
        if result.is_err() {
            remove_unstarted(&exec);
        }
        result
    }

    fn start_in(
        &self,
        exec: &ExecDir,
        lock: ExecLock,
        spec: &ExecSpec,
        secrets: &[Secret],
    ) -> Result<Start, StartError> {
        let request = StartRequest::new(exec, spec, secrets, None);
        if let Some(supervisor) = self.take(message::take_ready)? {
            let asked = Asked::send(supervisor, request, lock)?;
            // Only now, so that the fork does not take the CPU from the command.
            // The command has its errand: a keeper that is gone shows in the answer, not here.
            let _ = self.ask_for_one_more();
            return asked.answer()?.into_start(exec);
        }
        self.ask_for_one_more()?;
        let supervisor = self
            .take(message::take)?
            .ok_or(StartError::SupervisorDied)?;
        Asked::send(supervisor, request, lock)?
            .answer()?
            .into_start(exec)
    }

    fn take(
        &self,
        take: impl FnOnce(BorrowedFd<'_>) -> io::Result<Option<OwnedFd>>,
    ) -> Result<Option<OwnedFd>, StartError> {
        let queue = self.queue.lock().expect("no holder of this lock panics");
        let queue = queue.as_ref().expect("it goes with the session");
        take(queue.as_fd()).map_err(StartError::Spawn)
    }

    fn ask_for_one_more(&self) -> Result<(), StartError> {
        message::send(self.socket.as_fd(), &(), &[]).map_err(StartError::Spawn)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Supervisors that wait in the queue end with it.
        if let Ok(queue) = self.queue.get_mut() {
            *queue = None;
        }
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        // The keeper closes its end when everything inside is gone.
        let _ = message::receive::<SessionAnswer>(self.socket.as_fd());
        let _ = removal::remove(rustix::fs::CWD, self.folder.as_path());
    }
}
