//! The directory of a log: names, opens, makes and removes segment files.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, fdatasync, fsync, openat, unlinkat};
use rustix::io::Errno;

const SUFFIX: &str = ".seg";
const DIGITS: usize = 20;

/// An open log directory. Segments go by the sequence number of their first record.
#[derive(Debug)]
pub(super) struct SegmentDir {
    path: PathBuf,
    fd: OwnedFd,
}

impl SegmentDir {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = openat(CWD, path, OFlags::DIRECTORY | READ, Mode::empty())?;
        Ok(Self {
            path: path.to_owned(),
            fd,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn segment_path(&self, first_seq: u64) -> PathBuf {
        self.path.join(segment_name(first_seq))
    }

    /// The segments that are there, oldest first. What is made or removed meanwhile may be missing.
    pub(super) fn list(&self) -> io::Result<Vec<u64>> {
        let fd = openat(&self.fd, c".", OFlags::DIRECTORY | READ, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(fd, &mut buffer);
        let mut segments = Vec::new();
        while let Some(entry) = entries.next() {
            segments.extend(first_seq_of(OsStr::from_bytes(
                entry?.file_name().to_bytes(),
            )));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// Opens a segment for reading; `None` if it does not exist.
    pub(super) fn open_segment(&self, first_seq: u64) -> io::Result<Option<OwnedFd>> {
        match openat(&self.fd, segment_name(first_seq), READ, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn create_segment(&self, first_seq: u64) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(openat(
            &self.fd,
            segment_name(first_seq),
            flags,
            Mode::RUSR | Mode::WUSR,
        )?)
    }

    pub(super) fn remove_segment(&self, first_seq: u64) -> io::Result<()> {
        match unlinkat(&self.fd, segment_name(first_seq), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn sync_segment(&self, first_seq: u64) -> io::Result<()> {
        match self.open_segment(first_seq)? {
            Some(file) => Ok(fdatasync(file)?),
            None => Ok(()),
        }
    }

    pub(super) fn sync_names(&self) -> io::Result<()> {
        Ok(fsync(&self.fd)?)
    }
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:0DIGITS$}{SUFFIX}")
}

fn first_seq_of(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(SUFFIX)?;
    (digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}
