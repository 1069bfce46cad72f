//! What workers refused of what clients had passed on to them.
//!
//! A worker answers input that it does not take with a `task_error` that names the task and not
//! who sent the input. So everyone who has fed that task over the manager is told.

use std::sync::Arc;

use cogo_protocol::message::{FromWorker, TaskError, error_code};
use tokio::sync::broadcast;

/// Refusals that a client may be behind.
const BEHIND_MAX: usize = 256;

/// Where refusals come from.
#[derive(Debug)]
pub(crate) struct Refusals {
    sender: broadcast::Sender<Arc<TaskError>>,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(BEHIND_MAX).0,
        }
    }

    /// Passes on what a worker said, if it refuses what a client wanted.
    pub(crate) fn hear(&self, message: &FromWorker) {
        if let FromWorker::TaskError(error) = message
            && is_refusal(error)
        {
            // Without a listener there is nobody to tell.
            let _ = self.sender.send(Arc::new(error.clone()));
        }
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<TaskError>> {
        self.sender.subscribe()
    }
}

/// The manager's own messages carry a fence, and so do the answers to them.
fn is_refusal(error: &TaskError) -> bool {
    let of_a_client = error.fence.is_none() && error.last_seq.is_none();
    let code = error.code.as_deref();
    of_a_client
        && code.is_some_and(|code| {
            [error_code::NOT_APPLICABLE, error_code::INPUT_FULL].contains(&code)
        })
}
