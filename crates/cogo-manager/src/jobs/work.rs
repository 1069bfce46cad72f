//! One job, as the one who does it sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cogo_protocol::job::JobId;
use cogo_protocol::message::Progress;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::events::EventLog;

/// A job to do, and the way to tell of it.
pub struct JobWork {
    pub(super) id: JobId,
    pub(super) request: Value,
    pub(super) submitter: String,
    pub(super) directory: PathBuf,
    pub(super) stop: CancellationToken,
    pub(super) events: Arc<EventLog>,
}

impl JobWork {
    /// Its name.
    pub const fn id(&self) -> &JobId {
        &self.id
    }

    /// What was asked.
    pub const fn request(&self) -> &Value {
        &self.request
    }

    /// Who asked: the name of the token used, or `local`.
    pub fn submitter(&self) -> &str {
        &self.submitter
    }

    /// A folder of its own, which lives as long as the job is known. What is left there is there
    /// when the job is taken up again. `events.jsonl` in it is the manager's.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Cancelled when the job has to end: someone asked for it, or the manager stops.
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Tells everyone who follows the job, now and later, that something happened.
    pub fn report(&self, event: Value) {
        self.events.append(event);
    }

    /// Says how far it is. Only the newest is known, and it is kept once the job has ended.
    pub fn progress(&self, progress: Progress) {
        self.events.progress(progress);
    }
}
