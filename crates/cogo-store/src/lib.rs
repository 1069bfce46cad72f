//! What a manager must not forget: tasks with their attempts, jobs, workers, events and tokens.
//!
//! A store keeps records as they are and decides nothing. One coordinator owns the state in
//! memory, and writes it here before anything of it is seen outside: it hands over changes, goes
//! on, and acts when it is told that they are durable. Many changes become durable together.
//!
//! The output of tasks is kept beside the store, in files: [`task_log`].
//!
//! Deliberately absent: scheduling, leases that tick (they live in the coordinator's memory and
//! start anew after a restart), and a runtime.

mod record;
mod sqlite;
pub mod task_log;

use std::path::PathBuf;

pub use record::{
    AttemptEnd, AttemptRecord, EventRecord, JobFilter, JobRecord, Scope, TaskFilter, TaskRecord,
    TokenRecord, WorkerRecord,
};
pub use sqlite::{Durability, QUEUE_BYTES_MAX, SqliteStore};

use cogo_protocol::job::JobId;
use cogo_protocol::task::TaskId;
use cogo_protocol::worker::WorkerId;

/// One change of the durable truth. A put replaces the whole record of that key.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A task with its attempts.
    TaskPut(Box<TaskRecord>),
    /// A task is forgotten.
    TaskDelete(TaskId),
    /// A worker.
    WorkerPut(Box<WorkerRecord>),
    /// A worker is forgotten.
    WorkerDelete(WorkerId),
    /// An event; its number must be higher than all before.
    EventAppend(Box<EventRecord>),
    /// Events up to this number are forgotten.
    EventsTrim(u64),
    /// A token.
    TokenPut(Box<TokenRecord>),
    /// The token of that name is forgotten.
    TokenDelete(String),
    /// A job.
    JobPut(Box<JobRecord>),
    /// A job is forgotten.
    JobDelete(JobId),
}

/// Called once, from a thread of the store's, when the changes are durable or will never be.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("failed to {action}: {message}")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// The database's answer.
        message: String,
    },
    /// A record does not parse.
    #[error("the record of {what} is not what cogo wrote: {message}")]
    Corrupt {
        /// Whose record it is.
        what: String,
        /// Where it went wrong.
        message: String,
    },
    /// The database was made by a newer cogo.
    #[error("the database has version {found}, this cogo knows versions up to {known}")]
    TooNew {
        /// Its version.
        found: u32,
        /// The newest version that is known here.
        known: u32,
    },
    /// Another process owns the database.
    #[error("the database `{path}` is in use by {holder}")]
    InUse {
        /// The database.
        path: PathBuf,
        /// Who owns it, as far as it is known: `process 4711`.
        holder: String,
    },
    /// An earlier commit failed. What the coordinator has in memory is ahead of the store, so
    /// that it has to start anew from what is stored.
    #[error("an earlier write failed, nothing is written any more")]
    Poisoned,
}

/// Durable truth. Every implementation passes the same contract suite.
pub trait Store: Send + Sync {
    /// Writes changes, all or none, after those of earlier calls. Returns at once, or as soon as
    /// the store's bounded queue has room; `done` is called when they are durable. Once one commit
    /// has failed, so do all later ones.
    fn commit(&self, changes: Vec<Change>, done: Done);

    /// All tasks that are not final, in the order of their submission.
    ///
    /// # Errors
    ///
    /// As all reads: fails when the database does, or a record is damaged.
    fn tasks_open(&self) -> Result<Vec<TaskRecord>, StoreError>;

    /// One task.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError>;

    /// Tasks that pass a filter, the newest first.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, StoreError>;

    /// All workers.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError>;

    /// Events after a number, the oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn events_after(&self, number: u64, limit: usize) -> Result<Vec<EventRecord>, StoreError>;

    /// The number of the newest event, whether or not it was trimmed; 0 if there never was one.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn event_last(&self) -> Result<u64, StoreError>;

    /// All tokens.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// All jobs that are not final, in the order of their submission.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn jobs_open(&self) -> Result<Vec<JobRecord>, StoreError>;

    /// One job.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError>;

    /// Jobs that pass a filter, the newest first.
    ///
    /// # Errors
    ///
    /// See [`Self::tasks_open`].
    fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, StoreError>;
}
