//! One file, shared by its appender and its readers.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::{TaskLogError, at};

/// Bytes of a file between two entries of its index: what a reader passes over at most to reach the
/// record it wants.
const INDEX_STEP: u64 = 256 << 10;
/// How often to make a folder that is removed meanwhile, with the last other task in it.
const FOLDER_ATTEMPTS: u32 = 10;

/// An open file.
#[derive(Debug)]
pub(super) struct LogFile {
    root: PathBuf,
    path: PathBuf,
    file: File,
    /// How much of the file may be read. What is behind it is being written.
    readable: AtomicU64,
    index: Mutex<Vec<Place>>,
    /// Whether there is an appender.
    appending: AtomicBool,
}

/// Where a record starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) offset: u64,
}

impl LogFile {
    /// Opens a file that exists.
    pub(super) fn open(root: &Path, path: &Path) -> Result<Self, TaskLogError> {
        let file = options().open(path).map_err(at("open", path))?;
        Self::new(file, path, root)
    }

    /// Opens a file, which is made if it does not exist, with its folder below the root.
    pub(super) fn create(root: &Path, path: &Path) -> Result<Self, TaskLogError> {
        let mut attempts = 0;
        let file = loop {
            match create(path) {
                Ok(file) => break file,
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && attempts < FOLDER_ATTEMPTS =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(at("make", path)(error)),
            }
        };
        Self::new(file, path, root)
    }

    fn new(file: File, path: &Path, root: &Path) -> Result<Self, TaskLogError> {
        let len = file.metadata().map_err(at("look at", path))?.len();
        Ok(Self {
            root: root.to_owned(),
            path: path.to_owned(),
            file,
            readable: AtomicU64::new(len),
            index: Mutex::default(),
            appending: AtomicBool::new(false),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn readable(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    /// Fills the buffer from the file. Whether there was enough: a torn tail may be cut off by an
    /// appender while it is read.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<bool, TaskLogError> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(at("read", &self.path)(error)),
        }
    }

    /// Takes the right to append; `false` if it is taken.
    pub(super) fn take_appending(&self) -> bool {
        !self.appending.swap(true, Ordering::AcqRel)
    }

    pub(super) fn give_appending_back(&self) {
        self.appending.store(false, Ordering::Release);
    }

    /// Writes behind what may be read.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), TaskLogError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(at("append to", &self.path))
    }

    /// Cuts off what is behind the last whole record.
    pub(super) fn truncate(&self, len: u64) -> Result<(), TaskLogError> {
        self.readable.fetch_min(len, Ordering::AcqRel);
        self.file
            .set_len(len)
            .map_err(at("cut off the torn end of", &self.path))
    }

    /// Lets readers go on to here.
    pub(super) fn publish(&self, len: u64) {
        self.readable.store(len, Ordering::Release);
    }

    /// Waits until the file and its name are on the disk.
    pub(super) fn sync(&self) -> Result<(), TaskLogError> {
        self.file.sync_data().map_err(at("sync", &self.path))?;
        for folder in self.path.ancestors().skip(1) {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(at("sync", folder))?;
            if folder == self.root {
                break;
            }
        }
        Ok(())
    }

    /// The last place in the index from which a record is reached.
    pub(super) fn place_before(&self, seq: u64) -> Place {
        let index = self.index();
        let after = index.partition_point(|place| place.seq <= seq);
        after
            .checked_sub(1)
            .map_or(Place::default(), |at| index[at])
    }

    /// Adds a place to the index, if it is far enough from the last one.
    pub(super) fn note(&self, place: Place) {
        let mut index = self.index();
        let last = index.last().map_or(0, |last| last.offset);
        if is_step(last, place.offset) {
            index.push(place);
        }
    }

    fn index(&self) -> MutexGuard<'_, Vec<Place>> {
        self.index.lock().expect("no panic while it is locked")
    }
}

/// Whether a place is worth being noted after another one.
pub(super) fn is_step(last: u64, offset: u64) -> bool {
    offset >= last.saturating_add(INDEX_STEP)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Output may hold secrets.
    options.read(true).write(true).mode(0o600);
    options
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    options().create(true).truncate(false).open(path)
}
