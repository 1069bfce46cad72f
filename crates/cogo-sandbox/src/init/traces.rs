//! What a command could leave behind in its sandbox when all its processes are gone.
//!
//! A sandbox serves another command only if none of this has changed since it was sealed. Nothing
//! is cleaned: what was touched once is thrown away. Everything else that a command can reach is
//! read-only, belongs to the host's workspace, or goes with the processes: descriptors, memory,
//! abstract sockets, locks, timers, terminals. Keyrings are denied by the filter.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, SeekFrom, StatxFlags, openat, seek, statx};
use rustix::mount::{FsOpenFlags, fsopen};

use super::root::detached;
use crate::sys;

/// Where a command may write without leaving an inode behind, beside the private places.
const TERMINALS: [&str; 2] = ["/dev/pts", "/dev/pts/ptmx"];
const PRIVATE: [&str; 5] = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/.overlay"];

/// Looks for traces.
#[derive(Debug)]
pub(super) struct TraceFinder {
    places: Vec<PathBuf>,
    /// The message queues of the ipc namespace, as a directory that is mounted nowhere.
    queues: Option<OwnedFd>,
    sealed: Option<State>,
}

/// The state of everything that outlives a command's processes.
#[derive(Debug, PartialEq, Eq)]
struct State {
    /// Free blocks and inodes of the scratch space: no file, and no attribute of one, is more.
    room: (u64, u64),
    places: Vec<Option<Place>>,
    /// Shared memory segments, semaphore sets and message queues (System V).
    ipc_objects: [u64; 3],
    queues: Vec<Vec<u8>>,
    /// Packets and errors of every network interface since it exists.
    traffic: String,
    /// What a process of the same user may change of this one, and every command inherits.
    scheduling: sys::Scheduling,
}

/// What is told of a directory or device without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    mode: u16,
    owner: (u32, u32),
    links: u32,
    times: [(i64, u32); 3],
}

impl TraceFinder {
    /// Prepares, before the seal.
    pub(super) fn new(home: &Path) -> Self {
        let places = PRIVATE.iter().chain(&TERMINALS).map(PathBuf::from);
        Self {
            places: places.chain([home.to_owned()]).collect(),
            queues: open_queues().ok(),
            sealed: None,
        }
    }

    /// Remembers how the sandbox is now, when no command has run in it.
    pub(super) fn remember(&mut self) {
        // Without it the sandbox serves one command only.
        self.sealed = self.look().ok();
    }

    /// Whether everything is as it was when the sandbox was sealed, and nobody is left. The
    /// caller has reaped.
    pub(super) fn finds_none(&self) -> bool {
        sys::has_no_child() && self.sealed.is_some() && self.look().ok() == self.sealed
    }

    fn look(&self) -> io::Result<State> {
        let room = rustix::fs::statfs("/tmp")?;
        let queues = self.queues.as_ref();
        Ok(State {
            room: (room.f_bfree, room.f_ffree),
            places: self.places.iter().map(|path| Place::of(path)).collect(),
            ipc_objects: sys::ipc_objects()?,
            queues: names(queues.ok_or(io::ErrorKind::Unsupported)?)?,
            traffic: std::fs::read_to_string("/proc/self/net/dev")?,
            scheduling: sys::Scheduling::of_self()?,
        })
    }
}

impl Place {
    /// `None` if it is missing.
    fn of(path: &Path) -> Option<Self> {
        let found = statx(
            CWD,
            path,
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        )
        .ok()?;
        let times = [found.stx_atime, found.stx_mtime, found.stx_ctime];
        Some(Self {
            mode: found.stx_mode,
            owner: (found.stx_uid, found.stx_gid),
            links: found.stx_nlink,
            times: times.map(|time| (time.tv_sec, time.tv_nsec)),
        })
    }
}

fn open_queues() -> io::Result<OwnedFd> {
    let context = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let tree = detached(&context)?;
    // What `fsmount` gives can be walked from, but not read.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(tree, ".", flags, Mode::empty())?)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    seek(directory, SeekFrom::Start(0))?;
    let mut names = Vec::new();
    let mut space = [MaybeUninit::uninit(); 2048];
    let mut listing = RawDir::new(directory, &mut space);
    while let Some(entry) = listing.next() {
        names.push(entry?.file_name().to_bytes().to_owned());
    }
    Ok(names)
}
