//! The process that keeps a session: a sandbox in which many commands run, one after the other
//! or at once.
//!
//! Each command gets a supervisor of its own, forked from here, with its own log and verdict.
//! What a command leaves running stays in the session, as it would on any machine; the end of
//! the session ends it, with the same proof as the end of any sandbox. The session ends when
//! its owner closes the socket.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use super::prepare::{self, SessionShare};
use super::proxy_process::ProxyProcess;
use super::{Errand, Parked, check};
use crate::cgroup::CgroupCapabilities;
use crate::exec_dir::ExecDir;
use crate::message;
use crate::spec::ExecSpec;
use crate::start::Refusal;
use crate::sys::{self, Cloned};

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
    socket: OwnedFd,
    request: &SessionRequest,
    make: impl FnOnce(&ExecSpec, &str) -> Result<Parked, Refusal>,
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
    make: impl FnOnce(&ExecSpec, &str) -> Result<Parked, Refusal>,
    capabilities: &CgroupCapabilities,
) -> Result<(Parked, Option<ProxyProcess>), Refusal> {
    check::check_spec(&request.spec, &[])?;
    check::check_host(request.spec.isolation, &request.spec.limits, capabilities)?;
    let folder = ExecDir::at(&*request.folder);
    let mut parked = make(&request.spec, folder.id())?;
    let proxy = prepare::furnish_session(&folder, &request.spec, &mut parked, capabilities)?;
    Ok((parked, proxy))
}

/// A session that is open.
struct Keeper<'a> {
    signals: OwnedFd,
    parked: Parked,
    // Below the sandbox, because fields are dropped in order: its closing tells the owner that
    // everything inside is gone.
    socket: OwnedFd,
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
            let _ = poll(&mut polled, None);
            let [request, child, init] = polled.map(|fd| !fd.revents().is_empty());
            if init {
                return;
            }
            if child {
                sys::drain_child_signals(&self.signals);
                while let Ok(Some(_)) = sys::reap_any() {}
            }
            if request && !self.start_one() {
                return;
            }
        }
    }

    /// Forks a supervisor for the errand whose socket comes. False at the end of the session.
    fn start_one(&mut self) -> bool {
        let Ok(Some(((), beside))) = message::receive::<()>(self.socket.as_fd()) else {
            return false;
        };
        let Some(errand) = beside.into_iter().next() else {
            return true;
        };
        // SAFETY: this process is single-threaded.
        if let Ok(Cloned::Child) = unsafe { sys::clone_process(0, None) } {
            sys::unblock_signals();
            let _ = rustix::process::setsid();
            self.become_supervisor(errand);
            super::exit_now();
        }
        true
    }

    fn become_supervisor(&mut self, socket: OwnedFd) {
        let Some((Errand::Start(request), Some(lock))) = super::receive_errand(&socket) else {
            return;
        };
        super::run(socket, || {
            let sandbox = self.parked.sandbox.link()?;
            let share = SessionShare {
                sandbox,
                spec: self.spec.clone(),
                cgroup: self.parked.cgroup.take(),
            };
            prepare::prepare_in_session(request, lock, share, self.capabilities)
        });
    }
}
