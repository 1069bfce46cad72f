//! Looks closely at tasks because somebody asks.

use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::message::{BlockReport, ExaminedTask};
use cogo_protocol::worker::WorkerId;
use tokio::sync::oneshot;

use super::{Examined, Watcher};
use crate::instant::now_ms;
use crate::task::Task;

/// Two looks so far apart prove that nothing runs, where one proves nothing.
const BETWEEN_LOOKS: Duration = Duration::from_millis(800);
/// Looks that are taken until a task is called free of blocks.
const LOOKS: usize = 3;

/// Looks at all of these that run, and tells what was found. Gives up at once when dropped.
pub(crate) async fn all(
    watcher: &Watcher,
    tasks: Vec<Arc<Task>>,
    worker_id: WorkerId,
    request_id: Option<u64>,
) -> BlockReport {
    let tasks: Vec<_> = tasks.into_iter().filter(|task| task.is_live()).collect();
    let mut found = Vec::new();
    for look in 1..=LOOKS {
        found = Vec::with_capacity(tasks.len());
        for task in &tasks {
            found.push(one(watcher, task).await);
        }
        let sure = found.iter().all(|examined| examined.block.is_some());
        if sure || look == LOOKS {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    let told = |(task, examined): (&Arc<Task>, Examined)| ExaminedTask {
        task_id: task.record.task_id.clone(),
        fence: task.record.fence,
        block_info: (examined.block)
            .map(|block| block.info(task.record.task_id.clone(), worker_id.clone())),
        evidence: examined.evidence,
    };
    BlockReport {
        request_id,
        tasks: tasks.iter().zip(found).map(told).collect(),
        timestamp: now_ms(),
        worker_id: worker_id.clone(),
    }
}

/// What one look shows; nothing of a task that is not watched yet, or any more.
async fn one(watcher: &Watcher, task: &Task) -> Examined {
    let (answer, answered) = oneshot::channel();
    watcher.examine(task.exec.id(), move |examined| {
        // Whoever asked may have gone.
        let _ = answer.send(examined);
    });
    answered.await.unwrap_or_default()
}
