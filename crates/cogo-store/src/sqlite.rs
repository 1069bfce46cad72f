//! The store of a single manager: one SQLite file, written by one thread.
//!
//! # Group commit
//!
//! [`Store::commit`] puts changes into a queue and returns. The writer thread takes everything
//! that waits, applies it in one transaction, commits, and then calls what waits for it, in order.
//! While one group is being made durable the next one gathers, so that a busy store syncs the disk
//! rarely and an idle one at once.
//!
//! # What a failure leaves
//!
//! Each call is written whole or not at all. When one of a group cannot be applied, those before it
//! are committed without it, it gets the error, and all after it are [`StoreError::Poisoned`]. When
//! the commit itself fails (the disk is full or broken) the whole group gets that error; after a
//! failed sync SQLite may find the group on the disk all the same when it opens it again, and then
//! all of it. Reads still work on a poisoned store.
//!
//! # Backpressure
//!
//! The queue holds about [`QUEUE_BYTES_MAX`] of changes. While it is full, `commit` blocks, except
//! on the writer thread itself, that is inside of a `done`. A `done` runs on the writer thread and
//! holds up the next group: it should hand on the result and return, and must never wait for a
//! thread that may be inside of `commit`.
//!
//! # Reading
//!
//! Reads use connections of their own, as many as there are readers at once, and wait neither for
//! the writer nor for one another. What `done` was told of is seen by every read that starts later.

mod apply;
mod connection;
mod migration;
mod owner;
mod queue;
mod read;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use cogo_protocol::job::JobId;
use cogo_protocol::task::TaskId;

use crate::{
    Change, Done, EventRecord, JobFilter, JobRecord, Store, StoreError, TaskFilter, TaskRecord,
    TokenRecord, WorkerRecord,
};
use owner::Owner;
use queue::{Call, Queue};
use read::Readers;
use writer::Writer;

pub use queue::QUEUE_BYTES_MAX;

/// What survives once `done` was told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Loss of power. Each group waits for the disk.
    #[default]
    Full,
    /// `kill -9`, but not the loss of power, which may take the newest groups with it. What is left
    /// is whole. The disk is waited for once in a while.
    Normal,
}

/// A [`Store`] in one SQLite file. Dropping it writes what is still in the queue.
#[derive(Debug)]
pub struct SqliteStore {
    readers: Readers,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
    /// Given up last.
    _owner: Owner,
}

impl SqliteStore {
    /// Opens the database, or makes it if there is none; its folder has to exist. A lock file
    /// beside it, named `….lock`, keeps other processes out.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if another store has it open, [`StoreError::TooNew`] if a newer cogo
    /// wrote it, [`StoreError::Database`] if it is not a database of cogo or cannot be written.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        let owner = Owner::acquire(path)?;
        let mut connection = connection::open_writer(path, durability)?;
        migration::run(&mut connection)?;
        let readers = Readers::open(path)?;
        let writer = Writer::new(connection)?;
        let queue = Arc::new(Queue::default());
        let writer_queue = Arc::clone(&queue);
        let writer = thread::Builder::new()
            .name("cogo-store".to_owned())
            .spawn(move || writer.run(&writer_queue))
            .map_err(|error| StoreError::Database {
                action: "start the writer thread",
                message: error.to_string(),
            })?;
        Ok(Self {
            readers,
            queue,
            writer: Some(writer),
            _owner: owner,
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The connection that is closed last tidies up, which only the writer's can.
        self.readers.close();
        self.queue.close();
        let Some(writer) = self.writer.take() else {
            return;
        };
        // A `done` may hold the last handle, and a thread cannot wait for itself.
        if writer.thread().id() != thread::current().id() {
            // A writer that panicked has said so already.
            let _ = writer.join();
        }
    }
}

impl Store for SqliteStore {
    fn commit(&self, changes: Vec<Change>, done: Done) {
        self.queue.push(Call { changes, done });
    }

    fn tasks_open(&self) -> Result<Vec<TaskRecord>, StoreError> {
        self.readers.with(read::tasks_open)
    }

    fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        self.readers.with(|connection| read::task(connection, id))
    }

    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, StoreError> {
        self.readers
            .with(|connection| read::tasks(connection, filter))
    }

    fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        self.readers.with(read::workers)
    }

    fn events_after(&self, number: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.readers
            .with(|connection| read::events_after(connection, number, limit))
    }

    fn event_last(&self) -> Result<u64, StoreError> {
        self.readers.with(read::event_last)
    }

    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.readers.with(read::tokens)
    }

    fn jobs_open(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.readers.with(read::jobs_open)
    }

    fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
        self.readers.with(|connection| read::job(connection, id))
    }

    fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        self.readers
            .with(|connection| read::jobs(connection, filter))
    }
}

/// Says what was attempted when SQLite failed.
fn failed(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| StoreError::Database {
        action,
        message: error.to_string(),
    }
}

/// A number as SQLite keeps it. One that is too big for it is as good as the biggest, for a bound.
fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
