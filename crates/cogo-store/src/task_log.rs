//! Where a manager keeps the output of attempts: one folder per task, one file per attempt.
//!
//! An [`Appender`] writes records at the end of a file; any number of [`Reader`]s in the same
//! process follow along, from any record on. All readers of a file share its descriptor and a
//! sparse index in memory, which grows as the file is written or read and is kept for the files
//! used last; a reader that has nothing to read costs no system call and holds no buffer.
//!
//! # Format
//!
//! A file is a sequence of records, all numbers little endian:
//!
//! | size | what |
//! |---|---|
//! | 4 | length of the frame |
//! | 4 | CRC-32 of the frame |
//! | length | a frame as [`cogo_protocol::frame`] has it, with handle 0 |
//!
//! Numbers of records rise. Where they skip, records were cut on the worker before they came here,
//! and [`LogRecord::missing`] says how many.
//!
//! # What is left after a crash
//!
//! What `append` returned for survives the death of this process; only [`Appender::finish`] waits
//! for the disk. A torn record at the end reads as the present end. The next appender cuts off
//! everything from the first record that is not whole, says through [`Appender::end`] where it
//! goes on, and the worker sends the rest again.
//!
//! Deliberately absent: a lock. The folder belongs to the manager that owns the store.

mod appender;
mod file;
mod folder;
mod format;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::SystemTime;

use cogo_protocol::task::{Fence, TaskId};

use file::LogFile;

pub use appender::Appender;
pub use format::OUTPUT_MAX;
pub use reader::{LogRecord, Reader};

/// Files that are kept open although nobody uses them.
const RECENT_MAX: usize = 64;

/// Why the output of an attempt could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum TaskLogError {
    /// The system failed.
    #[error("failed to {action} `{path}`")]
    System {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Someone else appends to this file.
    #[error("there is an appender of `{path}` already")]
    Appending {
        /// The file.
        path: PathBuf,
    },
    /// A record does not continue the log. Nothing of the call was written.
    #[error("record {seq} does not continue a log that ends at {end}")]
    OutOfOrder {
        /// The record's number.
        seq: u64,
        /// The lowest number that would.
        end: u64,
    },
    /// A record is too big. Nothing of the call was written.
    #[error("record {seq} has {len} bytes of output, at most {OUTPUT_MAX} are kept in one")]
    TooBig {
        /// The record's number.
        seq: u64,
        /// Its size.
        len: usize,
    },
    /// What stands here is no record, and it does not look like a record that was cut short.
    #[error("the log `{path}` is damaged at offset {offset}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage starts.
        offset: u64,
    },
}

/// The output of all attempts of all tasks.
#[derive(Debug)]
pub struct TaskLogs {
    root: PathBuf,
    open: Mutex<OpenFiles>,
}

/// Files that are in use, and some that may be again.
#[derive(Debug, Default)]
struct OpenFiles {
    files: HashMap<(TaskId, Fence), Weak<LogFile>>,
    /// Kept open for their index, the one used last at the end.
    recent: VecDeque<Arc<LogFile>>,
}

/// What is kept of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTask {
    /// The task.
    pub task_id: TaskId,
    /// Its attempts that have output, the oldest first.
    pub attempts: Vec<Fence>,
    /// The size of all its files.
    pub bytes: u64,
    /// When the newest of them was written to.
    pub changed_at: SystemTime,
}

impl TaskLogs {
    /// Keeps output below this folder, which is made if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be made.
    pub fn open(root: &Path) -> Result<Self, TaskLogError> {
        fs::create_dir_all(root).map_err(at("make", root))?;
        Ok(Self {
            root: root.to_owned(),
            open: Mutex::default(),
        })
    }

    /// Begins the output of an attempt, or goes on with it where it ends.
    ///
    /// # Errors
    ///
    /// [`TaskLogError::Appending`] while there is another appender of it. Fails if the file cannot
    /// be made or read.
    pub fn appender(&self, task_id: &TaskId, fence: Fence) -> Result<Appender, TaskLogError> {
        let path = self.path(task_id, fence);
        let file = self.file(task_id, fence, || LogFile::create(&self.root, &path))?;
        Appender::begin(file)
    }

    /// Reads the output of an attempt from a record on. `None` if there is none, not even an empty
    /// one. A log that has not reached that record is fine.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened.
    pub fn reader(
        &self,
        task_id: &TaskId,
        fence: Fence,
        from_seq: u64,
    ) -> Result<Option<Reader>, TaskLogError> {
        let path = self.path(task_id, fence);
        match self.file(task_id, fence, || LogFile::open(&self.root, &path)) {
            Ok(file) => Ok(Some(Reader::new(file, from_seq))),
            Err(TaskLogError::System { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The number after the last record of an attempt's output; 0 if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or is damaged.
    pub fn end(&self, task_id: &TaskId, fence: Fence) -> Result<u64, TaskLogError> {
        let path = self.path(task_id, fence);
        match self.file(task_id, fence, || LogFile::open(&self.root, &path)) {
            Ok(file) => Reader::end_of(file),
            Err(TaskLogError::System { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// What is kept of a task; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// Fails if its folder cannot be read.
    pub fn kept(&self, task_id: &TaskId) -> Result<Option<KeptTask>, TaskLogError> {
        folder::kept(&self.folder(task_id), task_id)
    }

    /// The size of all that is kept of a task, in bytes.
    ///
    /// # Errors
    ///
    /// See [`Self::kept`].
    pub fn size(&self, task_id: &TaskId) -> Result<u64, TaskLogError> {
        Ok(self.kept(task_id)?.map_or(0, |kept| kept.bytes))
    }

    /// Everything that is kept, in no order.
    ///
    /// # Errors
    ///
    /// See [`Self::kept`].
    pub fn list(&self) -> Result<Vec<KeptTask>, TaskLogError> {
        folder::list(&self.root)
    }

    /// Forgets the output of a task. Who still reads it can go on; what is still appended is lost.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be removed. Some may be gone then; the rest can be removed later.
    pub fn remove(&self, task_id: &TaskId) -> Result<(), TaskLogError> {
        // Held all the time, so that nobody opens a file that is about to go.
        let mut open = self.lock();
        let folder = self.folder(task_id);
        open.files.retain(|(task, _), _| task != task_id);
        open.recent.retain(|file| !file.path().starts_with(&folder));
        folder::remove(&self.root, &folder)
    }

    fn folder(&self, task_id: &TaskId) -> PathBuf {
        self.root.join(folder::name(task_id))
    }

    fn path(&self, task_id: &TaskId, fence: Fence) -> PathBuf {
        self.folder(task_id).join(folder::file_name(fence))
    }

    /// The file, which all who use it share.
    fn file(
        &self,
        task_id: &TaskId,
        fence: Fence,
        open_file: impl FnOnce() -> Result<LogFile, TaskLogError>,
    ) -> Result<Arc<LogFile>, TaskLogError> {
        let mut open = self.lock();
        let key = (task_id.clone(), fence);
        let file = match open.files.get(&key).and_then(Weak::upgrade) {
            Some(file) => file,
            None => open.insert(key, open_file()?),
        };
        open.use_last(&file);
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().expect("no panic while it is locked")
    }
}

impl OpenFiles {
    fn insert(&mut self, key: (TaskId, Fence), file: LogFile) -> Arc<LogFile> {
        let file = Arc::new(file);
        if self.files.len() == self.files.capacity() {
            // Before it grows: most of what is in it may be out of use.
            self.files.retain(|_, file| file.strong_count() > 0);
        }
        self.files.insert(key, Arc::downgrade(&file));
        file
    }

    fn use_last(&mut self, file: &Arc<LogFile>) {
        self.recent.retain(|recent| !Arc::ptr_eq(recent, file));
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(file));
    }
}

/// Says what was attempted on what when the system failed.
fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TaskLogError {
    let path = path.to_owned();
    move |source| TaskLogError::System {
        action,
        path,
        source,
    }
}
