//! The process that keeps a session: a sandbox in which many commands run, one after the other
//! or at once.
//!
//! Each command gets a supervisor of its own, with its own log and verdict. It is forked from here
//! ahead of need, so that a command waits for no fork; the session's owner takes it from a queue.
//! What a command leaves running stays in the session, as it would on any machine; the end of
//! the session ends it, with the same proof as the end of any sandbox. The session ends when
//! its owner closes the socket.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::prepare::{self, SessionShare};
use super::proxy_process::ProxyProcess;
use super::{Errand, Parked, check};
use crate::cgroup::CgroupCapabilities;
use crate::exec_dir::{ExecDir, ExecLock};
use crate::message;
use crate::spec::ExecSpec;
use crate::start::Refusal;
use crate::sys::{self, Cloned};
use crate::zygote::QUIET;

/// Supervisors that wait for a command.
const AHEAD: usize = 2;

/// What a session is to be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionRequest {
    /// A folder for what the session keeps on disk.
    pub(crate) folder: std::path::PathBuf,
    /// Workspace, network, isolation and limits; the command in it is not looked at.
    pub(crate) spec: ExecSpec,
    pub(crate) cgroup_base: Option<std::path::PathBuf>,
}

/// The answer to a [`SessionRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SessionAnswer {
    Open,
    Refused(Refusal),
}

/// Opens a session and serves it until its owner closes the socket.
pub(super) fn keep(
    socket: &OwnedFd,
    queue: OwnedFd,
    request: &SessionRequest,
    make: impl FnOnce(&ExecSpec, &ExecDir) -> Result<Parked, Refusal>,
    capabilities: &CgroupCapabilities,
) -> bool {
    let opened = open(request, make, capabilities);
    let answer = match &opened {
        Ok(_) => SessionAnswer::Open,
        Err(refusal) => SessionAnswer::Refused(refusal.clone()),
    };
    let _ = message::send(socket.as_fd(), &answer, &[]);
    match (opened, sys::child_signals()) {
        (Ok((parked, proxy)), Ok(signals)) => {
            Keeper {
                parked,
                socket,
                queue,
                lacking: AHEAD,
                signals,
                spec: &request.spec,
                capabilities,
            }
            .serve();
            if let Some(proxy) = proxy {
                proxy.end();
            }
            true
        }
        _ => false,
    }
}

fn open(
    request: &SessionRequest,
    make: impl FnOnce(&ExecSpec, &ExecDir) -> Result<Parked, Refusal>,
    capabilities: &CgroupCapabilities,
) -> Result<(Parked, Option<ProxyProcess>), Refusal> {
    check::check_spec(&request.spec, &[])?;
    check::check_host(request.spec.isolation, &request.spec.limits, capabilities)?;
    let folder = ExecDir::at(&*request.folder);
    let mut parked = make(&request.spec, &folder)?;
    let proxy = prepare::furnish_session(&folder, &request.spec, &mut parked, capabilities)?;
    Ok((parked, proxy))
}

/// A session that is open.
struct Keeper<'a> {
    /// Its caller's, so that it closes when everything inside is gone.
    socket: &'a OwnedFd,
    /// Where supervisors that wait for a command are put.
    queue: OwnedFd,
    /// Supervisors that are to be put there. More than [`AHEAD`]: somebody waits.
    lacking: usize,
    signals: OwnedFd,
    parked: Parked,
    spec: &'a ExecSpec,
    capabilities: &'a CgroupCapabilities,
}

impl Keeper<'_> {
    fn serve(mut self) {
        loop {
            let mut polled = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.parked.sandbox.init_pidfd(), PollFlags::IN),
            ];
            let quiet = poll(&mut polled, self.fork_due().as_ref()) == Ok(0);
            let [request, child, init] = polled.map(|fd| !fd.revents().is_empty());
            if init {
                return;
            }
            if child {
                sys::drain_child_signals(&self.signals);
                while let Ok(Some(_)) = sys::reap_any() {}
            }
            if quiet && !self.put_supervisor() {
                return;
            }
            if request {
                let Ok(Some(((), _))) = message::receive::<()>(self.socket.as_fd()) else {
                    return;
                };
                self.lacking += 1;
            }
        }
    }

    /// How long to wait before the next supervisor is forked; `None` if none is lacking.
    fn fork_due(&self) -> Option<Timespec> {
        match self.lacking {
            0 => None,
            1..=AHEAD => Some(QUIET),
            _ => Some(Timespec::default()),
        }
    }

    /// Forks a supervisor and puts it into the queue. False at the end of the session.
    fn put_supervisor(&mut self) -> bool {
        self.lacking -= 1;
        let Ok((ours, theirs)) = message::pair() else {
            return false;
        };
        // SAFETY: this process is single-threaded.
        match unsafe { sys::clone_process(0, None) } {
            Ok(Cloned::Child) => {
                drop(ours);
                sys::unblock_signals();
                let _ = rustix::process::setsid();
                sys::ask_for_short_slices();
                self.become_supervisor(&theirs);
                super::exit_now();
            }
            Ok(Cloned::Parent(_)) => message::put(self.queue.as_fd(), ours.as_fd()).is_ok(),
            Err(_) => false,
        }
    }

    /// Links to the sandbox and waits for the errand; what does not come ends the wait with the
    /// session.
    fn become_supervisor(&mut self, socket: &OwnedFd) {
        let link = self.parked.sandbox.link();
        let Some((Errand::Start(request), Some(lock))) = super::receive_errand(socket) else {
            return;
        };
        super::run(socket, || {
            let share = SessionShare {
                sandbox: link?,
                spec: self.spec.clone(),
                cgroup: self.parked.cgroup.take(),
            };
            let lock = ExecLock::from_fd(lock);
            prepare::prepare_in_session(request, lock, share, self.capabilities)
        });
    }
}
