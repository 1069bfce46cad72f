//! Changes beneath a directory of a workspace, as they happen.
//!
//! The kernel watches directories, not trees (`inotify`), so each directory is watched by itself.
//! A new one may be filled before it is watched; what is in it by then is told too.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::io::unix::AsyncFd;

use super::beneath::{names, open, parent_of};

/// Directories that one watcher may watch.
const DIRECTORIES_MAX: usize = 10_000;
const BUFFER_LEN: usize = 16 << 10;
/// How often it is looked whether the directory is still there.
const GONE_CHECK: Duration = Duration::from_secs(1);

/// A change of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct FileChange {
    /// Where, beneath the workspace.
    path: String,
    /// What became of it.
    kind: ChangeKind,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ChangeKind {
    /// It is there now.
    Created,
    /// Something was written to it.
    Changed,
    /// It is not there any more.
    Removed,
    /// Too much changed at once to be told; look again.
    Overflow,
}

/// Watches a directory and all beneath it.
pub(super) struct Watch {
    root: OwnedFd,
    inotify: OwnedFd,
    base: OwnedFd,
    paths: HashMap<i32, PathBuf>,
    changes: VecDeque<FileChange>,
}

/// A [`Watch`] that waits without a thread.
pub(super) struct AsyncWatch {
    watch: Watch,
    readiness: AsyncFd<OwnedFd>,
}

impl AsyncWatch {
    /// Must be called on a runtime.
    pub(super) fn new(watch: Watch) -> Result<Self, Errno> {
        let again = rustix::io::fcntl_dupfd_cloexec(&watch.inotify, 0)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, and the descriptor lives as long as its registration"
        )]
        let readiness = AsyncFd::new(again).map_err(|error| super::beneath::errno(&error))?;
        Ok(Self { watch, readiness })
    }

    /// The next change; `None` when the directory is gone or cannot be watched on. Cancelling it
    /// loses nothing.
    pub(super) async fn next(&mut self) -> Option<FileChange> {
        loop {
            if let Some(change) = self.watch.changes.pop_front() {
                return Some(change);
            }
            tokio::select! {
                ready = self.readiness.readable() => {
                    self.watch.read().ok()?;
                    ready.ok()?.clear_ready();
                }
                // The kernel does not tell the end of a directory that someone holds open.
                () = tokio::time::sleep(GONE_CHECK) => {
                    if self.watch.is_gone() {
                        return None;
                    }
                }
            }
        }
    }
}

impl Watch {
    /// Begins to watch.
    pub(super) fn begin(root: &OwnedFd, path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let mut watch = Self {
            root: rustix::io::fcntl_dupfd_cloexec(root, 0)?,
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            base: open(root, path, flags, Mode::empty())?,
            paths: HashMap::new(),
            changes: VecDeque::new(),
        };
        watch.add(path)?;
        watch.add_beneath(path)?;
        // What was there before is no change.
        watch.changes.clear();
        Ok(watch)
    }

    fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.base).is_ok_and(|stat| stat.st_nlink == 0)
    }

    fn add(&mut self, path: &Path) -> Result<(), Errno> {
        if self.paths.len() >= DIRECTORIES_MAX {
            return Err(Errno::NOSPC);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = open(&self.root, path, flags, Mode::empty())?;
        // By its descriptor: a path could lead elsewhere by now.
        let place = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let events = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(&self.inotify, place, events)?;
        self.paths.insert(number, path.to_owned());
        Ok(())
    }

    /// Watches and tells everything beneath a directory.
    fn add_beneath(&mut self, path: &Path) -> Result<(), Errno> {
        let mut left = vec![path.to_owned()];
        while let Some(path) = left.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let children = match open(&self.root, &path, flags, Mode::empty()) {
                Ok(directory) => names(&directory)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(error),
            };
            for name in children {
                let child = path.join(name);
                self.tell(&child, ChangeKind::Created);
                if is_directory(&self.root, &child) {
                    match self.add(&child) {
                        Ok(()) => left.push(child),
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes what the kernel has to tell by now.
    fn read(&mut self) -> Result<(), Errno> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_LEN];
        let inotify = rustix::io::fcntl_dupfd_cloexec(&self.inotify, 0)?;
        let mut reader = Reader::new(inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event
                        .file_name()
                        .map(|name| OsStr::from_bytes(name.to_bytes()));
                    self.hear(event.wd(), event.events(), name)?;
                }
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn hear(&mut self, number: i32, events: ReadFlags, name: Option<&OsStr>) -> Result<(), Errno> {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.tell(Path::new("."), ChangeKind::Overflow);
            return Ok(());
        }
        if events.contains(ReadFlags::IGNORED) {
            self.paths.remove(&number);
            return Ok(());
        }
        let (Some(directory), Some(name)) = (self.paths.get(&number), name) else {
            return Ok(());
        };
        let path = directory.join(name);
        let of_directory = events.contains(ReadFlags::ISDIR);
        if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            self.tell(&path, ChangeKind::Created);
            if of_directory {
                match self.add(&path).and_then(|()| self.add_beneath(&path)) {
                    // It is gone again, which is told by itself.
                    Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(Errno::NOSPC) => self.tell(&path, ChangeKind::Overflow),
                    Err(error) => return Err(error),
                }
            }
        } else if events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.tell(&path, ChangeKind::Removed);
            if of_directory && events.contains(ReadFlags::MOVED_FROM) {
                self.forget(&path);
            }
        } else if events.contains(ReadFlags::MODIFY) {
            self.tell(&path, ChangeKind::Changed);
        }
        Ok(())
    }

    /// Watches no more beneath a directory that was moved away.
    fn forget(&mut self, path: &Path) {
        let moved = self
            .paths
            .iter()
            .filter(|(_, known)| known.starts_with(path));
        let moved: Vec<i32> = moved.map(|(number, _)| *number).collect();
        for number in moved {
            self.paths.remove(&number);
            // One that is gone already has no watch.
            let _ = inotify::remove_watch(&self.inotify, number);
        }
    }

    fn tell(&mut self, path: &Path, kind: ChangeKind) {
        let path = path.strip_prefix(".").unwrap_or(path);
        let change = FileChange {
            path: path.to_string_lossy().into_owned(),
            kind,
        };
        // A program that writes a lot is told once for all that nobody has read yet.
        if kind != ChangeKind::Changed || !self.changes.contains(&change) {
            self.changes.push_back(change);
        }
    }
}

fn is_directory(root: &OwnedFd, path: &Path) -> bool {
    parent_of(root, path)
        .and_then(|(parent, name)| {
            rustix::fs::statat(&parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        })
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::CWD;

    use super::*;

    fn change(path: &str, kind: ChangeKind) -> FileChange {
        let path = path.to_owned();
        FileChange { path, kind }
    }

    /// Waits for a change; others before it are passed over.
    async fn until(watch: &mut AsyncWatch, path: &str, kind: ChangeKind) {
        let wanted = change(path, kind);
        while watch.next().await.expect("it is watched on") != wanted {}
    }

    #[tokio::test]
    async fn changes_are_told_at_any_depth() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), place.path().join("out")).unwrap();
        fs::create_dir_all(place.path().join("sub/a")).unwrap();
        fs::write(place.path().join("sub/old"), "x").unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::openat(CWD, place.path(), flags, Mode::empty()).unwrap();
        let watch = Watch::begin(&root, Path::new(".")).unwrap();
        let mut watch = AsyncWatch::new(watch).unwrap();
        let sub = place.path().join("sub");
        fs::write(outside.path().join("unseen"), "x").unwrap();
        fs::write(sub.join("a/new"), "x").unwrap();
        assert_eq!(
            watch.next().await,
            Some(change("sub/a/new", ChangeKind::Created))
        );
        until(&mut watch, "sub/a/new", ChangeKind::Changed).await;
        fs::create_dir_all(sub.join("x/y")).unwrap();
        fs::write(sub.join("x/y/z"), "x").unwrap();
        until(&mut watch, "sub/x/y/z", ChangeKind::Created).await;
        fs::rename(sub.join("x"), place.path().join("moved")).unwrap();
        until(&mut watch, "sub/x", ChangeKind::Removed).await;
        until(&mut watch, "moved/y/z", ChangeKind::Created).await;
        fs::remove_file(place.path().join("moved/y/z")).unwrap();
        until(&mut watch, "moved/y/z", ChangeKind::Removed).await;
        fs::remove_dir_all(place.path()).unwrap();
        while watch.next().await.is_some() {}
    }
}
