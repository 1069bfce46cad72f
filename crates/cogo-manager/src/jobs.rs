//! Jobs: work beside tasks that takes a while, such as a run of a plan, a repair or an analysis.
//!
//! How a job is done is not known here: whoever runs the manager brings a [`JobRunner`] for each
//! kind. What is known here is that a job is kept before it is begun, that it has one end, that
//! what it reports can be read while it works and later, and that it is taken up again after the
//! manager was killed or stopped.
//!
//! ```text
//! submit ──durable──▶ queued ──slot──▶ running ──▶ succeeded | failed | cancelled
//!                                      │    ▲
//!                                      └────┘ the manager ended before it did
//! ```

mod board;
mod events;
#[cfg(test)]
mod tests;
mod work;

use cogo_protocol::job::{JobId, JobKind, JobStatus};
use cogo_store::{JobRecord, StoreError};
use serde_json::Value;

pub(crate) use board::Jobs;
pub(crate) use events::{EventReader, Told};
pub use work::JobWork;

/// Does jobs of one kind.
pub trait JobRunner: Send + Sync + 'static {
    /// Looks at a request before it is taken. Must not take long.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, for the one who asks.
    fn check(&self, request: &Value) -> Result<(), String>;

    /// Does a job to its end, on a thread of its own. A job that was begun before is given again
    /// with the same [directory](JobWork::directory), to go on from what it left there.
    ///
    /// Once [`JobWork::stop`] is cancelled it has to return soon, with a failure if it is not
    /// done. Was that because the manager stops, then the job is not over: the next manager gives
    /// it again.
    ///
    /// # Errors
    ///
    /// Says why it did not do what was asked.
    fn run(&self, work: &JobWork) -> Result<Value, JobFailure>;
}

/// Why a job did not do what was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct JobFailure {
    /// For a reader.
    pub error: String,
    /// What it found or did all the same.
    pub result: Option<Value>,
}

impl JobFailure {
    /// A failure without a result.
    pub fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            result: None,
        }
    }
}

/// Why a job was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobRefusal {
    #[error("this manager does no such jobs")]
    NotOffered(JobKind),
    #[error("{0}")]
    Invalid(String),
    #[error("job `{0}` exists and asks for something else")]
    Differs(JobId),
    #[error("{0} jobs wait, and no more may")]
    Full(usize),
    #[error("the manager is stopping")]
    Stopping,
    #[error("failed to make the folder of a job")]
    Directory(#[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A job as clients see it. How far it is while it works is not kept.
pub(crate) fn status(record: &JobRecord) -> JobStatus {
    JobStatus {
        job_id: record.id.clone(),
        kind: record.kind,
        state: record.state,
        submitter: record.submitter.clone(),
        progress: record.progress.clone(),
        error: record.error.clone(),
        created_at: record.created_at_ms,
        started_at: record.started_at_ms,
        ended_at: record.ended_at_ms,
    }
}
