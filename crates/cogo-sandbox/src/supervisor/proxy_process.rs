//! The filtering proxy of one exec, in a process of its own: it alone has threads.

use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use crate::proxy::{self, AllowList, ProxyEvent, ProxyObserver, ProxyOptions};
use crate::sys::{self, ChildProcess, Cloned};

/// A running proxy. It ends with its supervisor.
pub(super) struct ProxyProcess {
    child: ChildProcess,
    events: Option<std::fs::File>,
    unread: Vec<u8>,
}

impl ProxyProcess {
    /// Starts a proxy on a listener in the sandbox's network. It dials out from this process's
    /// network.
    pub(super) fn start(listener: OwnedFd, allow: &AllowList) -> io::Result<Self> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let supervisor = rustix::process::getpid();
        // SAFETY: supervisors are single-threaded.
        match unsafe { sys::clone_process(0, None) }? {
            Cloned::Child => serve(supervisor, listener, allow, theirs),
            Cloned::Parent(child) => Ok(Self {
                child,
                events: Some(ours.into()),
                unread: Vec::new(),
            }),
        }
    }

    /// The descriptor that becomes readable with news.
    pub(super) fn events(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// Servers that were refused since the last look, and why.
    pub(super) fn read_events(&mut self) -> Vec<String> {
        let Some(events) = &mut self.events else {
            return Vec::new();
        };
        let mut buffer = [0; 4096];
        loop {
            match events.read(&mut buffer) {
                Ok(0) => {
                    self.events = None;
                    break;
                }
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.unread.drain(..=end).collect();
        String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Ends the proxy; returns the last news.
    pub(super) fn end(mut self) -> Vec<String> {
        let _ = pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = sys::wait_child(self.child.pid);
        self.read_events()
    }
}

fn serve(supervisor: Pid, listener: OwnedFd, allow: &AllowList, events: OwnedFd) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::getppid() != Some(supervisor) {
        // It died before the line above.
        exit_now(1);
    }
    let _ = rustix::thread::set_name(c"cogo-proxy");
    sys::close_all_but(&mut vec![listener.as_raw_fd(), events.as_raw_fd()]);
    let observer = Reporter {
        events: Mutex::new(events),
    };
    let listener = TcpListener::from(listener);
    let code = proxy::serve(&listener, allow, &ProxyOptions::new(&observer)).is_err();
    exit_now(i32::from(code))
}

/// Ends this process without running the supervisor's destructors.
fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Writes a line for each refusal.
struct Reporter {
    events: Mutex<OwnedFd>,
}

impl ProxyObserver for Reporter {
    fn on_event(&self, event: ProxyEvent) {
        let ProxyEvent::Refused { to, reason } = event else {
            return;
        };
        let line = format!("{to}: {reason}\n");
        if let Ok(events) = self.events.lock() {
            // Short lines are written whole (PIPE_BUF); a full pipe is waited for.
            let _ = rustix::io::write(&*events, line.as_bytes());
        }
    }
}
