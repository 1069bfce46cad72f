//! The way to processes of local workers. The manager itself never spawns one.

use std::path::PathBuf;

use cogo_protocol::id::ExecId;
use cogo_protocol::worker::{CreateWorker, WorkerId};

use super::Handle;
use crate::coordinator::Input;

/// Starts and stops workers on this host. Calls return at once and are followed in order.
pub trait LocalWorkers: Send + Sync {
    /// Starts the process of a worker that calls itself `worker_id`, or finds the one that runs.
    /// Its end or a failure to start is reported.
    fn start(&self, worker_id: WorkerId, request: CreateWorker, report: Report);

    /// Ends the process of a worker, gently or at once. The report of its end still comes.
    fn stop(&self, worker_id: &WorkerId, force: bool);

    /// Where the workspace of an exec of a local worker lies, if the request named none.
    fn workspace(&self, worker_id: &WorkerId, exec_id: ExecId) -> Option<PathBuf>;
}

/// Takes the news of one local worker to the coordinator.
#[derive(Clone, Debug)]
pub struct Report {
    handle: Handle,
    worker_id: WorkerId,
}

impl Report {
    pub(super) const fn new(handle: Handle, worker_id: WorkerId) -> Self {
        Self { handle, worker_id }
    }

    /// The process has ended. Must be called where blocking is allowed.
    pub fn exited(self, how: String) {
        self.tell(|worker_id| Input::LocalWorkerExited { worker_id, how });
    }

    /// There is no process. Must be called where blocking is allowed.
    pub fn failed(self, why: String) {
        self.tell(|worker_id| Input::LocalWorkerFailed { worker_id, why });
    }

    fn tell(self, input: impl FnOnce(WorkerId) -> Input) {
        // A manager that stops has no use for the news.
        let _ = self.handle.tell_blocking(input(self.worker_id));
    }
}

/// For a manager whose workers all come from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLocalWorkers;

impl LocalWorkers for NoLocalWorkers {
    fn start(&self, _: WorkerId, _: CreateWorker, report: Report) {
        // The caller must not be held up.
        std::thread::spawn(move || {
            report.failed("this manager starts no workers of its own".to_owned());
        });
    }

    fn stop(&self, _: &WorkerId, _: bool) {}

    fn workspace(&self, _: &WorkerId, _: ExecId) -> Option<PathBuf> {
        None
    }
}
