//! Finding and ending trees of processes by ancestry, where no namespace ends them at once: all
//! descendants of the guard of `isolation: none`, and one exec of a session.
//!
//! The guard is a child subreaper: whatever its descendants leave behind becomes its child, so
//! killing children until there are none reaches every one of them.

use std::fs;
use std::os::fd::OwnedFd;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys;

/// Signals every descendant of this process once.
pub(super) fn signal_descendants(signal: i32) {
    send(&descendants(own_pid()), signal);
}

/// Kills until no child of this process is left. Stopping all before killing any keeps a fork
/// bomb from outrunning the loop.
pub(super) fn kill_descendants() {
    loop {
        signal_descendants(libc::SIGSTOP);
        signal_descendants(libc::SIGKILL);
        while let Ok(Some(_)) = sys::reap_any() {}
        if children(own_pid()).is_empty() {
            return;
        }
        thread::yield_now();
    }
}

/// Signals a process and its descendants once.
pub(super) fn signal(root: Pid, signal: i32) {
    let root = root.as_raw_nonzero().get();
    send(&descendants(root), signal);
    send(&[root], signal);
}

/// Processes of a tree, so that they are found again when its root is gone and they have become
/// children of this process.
#[derive(Default)]
pub(super) struct Members(Vec<(Pid, OwnedFd)>);

impl Members {
    /// Adds the descendants that a process has now.
    pub(super) fn add_descendants(&mut self, root: Pid) {
        let found = descendants(root.as_raw_nonzero().get());
        let found = found.into_iter().filter_map(Pid::from_raw);
        self.0.extend(found.filter_map(|pid| {
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            Some((pid, pidfd))
        }));
    }

    /// Kills those that still live, with their descendants.
    pub(super) fn kill(self) {
        for (pid, pidfd) in self.0 {
            // A live process keeps its id, so the id is still that process.
            if lives(&pidfd) {
                kill(pid);
            }
        }
    }
}

fn lives(pidfd: &OwnedFd) -> bool {
    let now = Timespec::default();
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)) == Ok(0)
}

/// Kills a child of this process with all its descendants. They are stopped first, until no new
/// ones appear, because what is left of a tree cannot be found once its root is gone.
pub(super) fn kill(root: Pid) {
    let root = root.as_raw_nonzero().get();
    let mut stopped = Vec::new();
    loop {
        send(&[root], libc::SIGSTOP);
        let found = descendants(root);
        send(&found, libc::SIGSTOP);
        if found == stopped {
            break;
        }
        stopped = found;
    }
    send(&stopped, libc::SIGKILL);
    send(&[root], libc::SIGKILL);
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn send(pids: &[i32], signal: i32) {
    for pid in pids {
        // SAFETY: no memory is involved. The pids were our descendants a moment ago; those of
        // our children cannot be reused before we reap them.
        unsafe {
            libc::kill(*pid, signal);
        }
    }
}

fn descendants(root: i32) -> Vec<i32> {
    let mut all = Vec::new();
    let mut unvisited = vec![root];
    while let Some(pid) = unvisited.pop() {
        let found = children(pid);
        all.extend_from_slice(&found);
        unvisited.extend(found);
    }
    all
}

/// Children of all threads of a process. Needs `CONFIG_PROC_CHILDREN`, which every
/// distribution's kernel has.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(Result::ok)
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter_map(|pid| pid.parse().ok())
        .collect()
}
