//! One look at a server.

use cogo_manager::http::{HealthReport, QueueReport, TaskPage, WorkerList};
use cogo_protocol::task::TaskStatus;
use cogo_protocol::worker::WorkerInfo;
use serde::Serialize;

use crate::client::Client;
use crate::failure::Failure;
use crate::instant;

/// Tasks that wait and are looked at. More are only counted.
const QUEUE_MAX: usize = 1000;

/// What there is on a server at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    /// Unix time in milliseconds at which it was taken.
    pub(super) taken_at: u64,
    /// How the server is doing.
    pub(super) health: HealthReport,
    /// Its workers, by name.
    pub(super) workers: Vec<WorkerInfo>,
    /// The first tasks that wait, and how many there are.
    pub(super) queue: QueueReport,
    /// Tasks that a worker has, the longest-running first.
    pub(super) running: Vec<TaskStatus>,
}

impl Snapshot {
    pub(super) async fn take(client: &Client) -> Result<Self, Failure> {
        let health = client.get("/health").await?;
        let workers: WorkerList = client.get("/workers").await?;
        let queue = client.get(&format!("/queue?limit={QUEUE_MAX}")).await?;
        let running: TaskPage = client.get("/tasks?limit=1000&state=leased,running").await?;
        let mut running = running.tasks;
        running.reverse();
        Ok(Self {
            taken_at: instant::now_ms(),
            health,
            workers: workers.workers,
            queue,
            running,
        })
    }

    /// How many of the tasks that wait and were looked at have each priority, 9 first.
    pub(super) fn by_priority(&self) -> Vec<(u8, usize)> {
        let level = |level: u8| {
            let tasks = self.queue.tasks.iter();
            let count = tasks.filter(|task| task.priority.level() == level).count();
            (level, count)
        };
        (0..=9)
            .rev()
            .map(level)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
