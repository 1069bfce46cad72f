//! A descriptor that wakes a poll loop when a limit is hit.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

use super::file;

/// Wakes when a limit may have been hit. It may wake for less (v2 also tells of reclaim, v1 also
/// of the group's removal), so [`super::Cgroup::events`] has the last word.
#[derive(Debug)]
pub struct LimitEvent {
    fd: OwnedFd,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An eventfd that the v1 memory controller counts up.
    Counter,
    /// A control file that says `POLLPRI` after each change until it is read again.
    File,
}

impl LimitEvent {
    /// Watches a control file that tells of its own changes.
    pub(super) fn watch(path: &Path) -> io::Result<Self> {
        let event = Self {
            fd: file::open(path, OFlags::RDONLY)?,
            kind: Kind::File,
        };
        // The kernel reports changes since the last read.
        event.acknowledge()?;
        Ok(event)
    }

    /// Asks the v1 memory controller to count OOM events of the group `dir`.
    pub(super) fn watch_v1_oom(dir: &Path) -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = file::open(&dir.join("memory.oom_control"), OFlags::RDONLY)?;
        let request = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
        file::write(&dir.join("cgroup.event_control"), &request)?;
        Ok(Self {
            fd,
            kind: Kind::Counter,
        })
    }

    /// What to poll [`Self::as_fd`] for.
    pub fn poll_flags(&self) -> PollFlags {
        match self.kind {
            Kind::Counter => PollFlags::IN,
            Kind::File => PollFlags::PRI,
        }
    }

    /// Makes the descriptor wait for the next event. Call it before reading the counters, so that
    /// an event in between wakes again.
    ///
    /// # Errors
    ///
    /// Fails when the group was removed.
    pub fn acknowledge(&self) -> io::Result<()> {
        match self.kind {
            Kind::Counter => match rustix::io::read(&self.fd, &mut [0_u8; 8]) {
                Ok(_) | Err(Errno::AGAIN) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Kind::File => {
                rustix::fs::seek(&self.fd, SeekFrom::Start(0))?;
                file::read_to_end(&self.fd).map(drop)
            }
        }
    }
}

impl AsFd for LimitEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
