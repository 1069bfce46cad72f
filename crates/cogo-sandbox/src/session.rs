//! Sessions: one sandbox in which many commands run.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::exec_dir::{ExecDir, ExecLock, StateDir};
use crate::message;
use crate::rootfs::removal;
use crate::spec::ExecSpec;
use crate::start::{Secret, Start, StartError, StartRequest, ask, remove_unstarted};
use crate::supervisor::Errand;
use crate::supervisor::session::{SessionAnswer, SessionRequest};

/// An open session. Dropping it ends the session and everything in it.
#[derive(Debug)]
pub struct Session {
    socket: Mutex<OwnedFd>,
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
        let session = Self {
            socket: Mutex::new(socket),
            folder: folder.clone(),
        };
        let errand = Errand::OpenSession(SessionRequest {
            folder,
            spec: spec.clone(),
            cgroup_base,
        });
        let socket = session.socket.lock().expect("nobody else has it yet");
        message::send(socket.as_fd(), &errand, &[]).map_err(StartError::Spawn)?;
        let answer = message::receive(socket.as_fd()).map_err(StartError::Spawn)?;
        drop(socket);
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
        exec.write_spec(spec)?;
        let (ours, theirs) = message::pair().map_err(StartError::Spawn)?;
        {
            let socket = self.socket.lock().expect("no holder of this lock panics");
            message::send(socket.as_fd(), &(), &[theirs.as_fd()]).map_err(StartError::Spawn)?;
        }
        drop(theirs);
        ask(&ours, StartRequest::new(exec, spec, secrets, None), lock)?.into_start(exec)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(socket) = self.socket.get_mut() {
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Write);
            // The keeper closes its end when everything inside is gone.
            let _ = message::receive::<SessionAnswer>(socket.as_fd());
        }
        let _ = removal::remove(rustix::fs::CWD, self.folder.as_path());
    }
}
