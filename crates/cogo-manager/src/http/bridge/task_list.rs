//! Tasks as a worker lists them.

use std::sync::Arc;

use cogo_protocol::message::TaskBrief;
use cogo_protocol::task::TaskStatus;
use cogo_store::task_log::{TaskLogError, TaskLogs};

use crate::http::problem::Problem;

/// The tasks that a worker has begun, the oldest first; `tasks` has the newest first.
pub(super) async fn briefs(
    logs: &Arc<TaskLogs>,
    tasks: Vec<TaskStatus>,
) -> Result<Vec<TaskBrief>, Problem> {
    const FAILED: &str = "failed to list tasks";
    let logs = Arc::clone(logs);
    let reading = tokio::task::spawn_blocking(move || {
        let briefs = tasks
            .iter()
            .rev()
            .filter_map(|task| brief(&logs, task).transpose());
        briefs.collect::<Result<_, TaskLogError>>()
    });
    let result = reading
        .await
        .map_err(|error| Problem::internal(FAILED, &error))?;
    result.map_err(|error| Problem::internal(FAILED, &error))
}

fn brief(logs: &TaskLogs, task: &TaskStatus) -> Result<Option<TaskBrief>, TaskLogError> {
    let attempt = task.attempts.last();
    let begun = attempt.and_then(|attempt| Some((attempt, attempt.exec_id?)));
    let Some((attempt, exec_id)) = begun else {
        return Ok(None);
    };
    Ok(Some(TaskBrief {
        blocked: task.block.as_ref().map(|block| block.reason),
        exec_id,
        attempt: Some(attempt.number),
        fence: None,
        running: !task.state.is_final(),
        last_seq: logs.end(&task.task_id, attempt.fence)?,
        task_id: task.task_id.clone(),
    }))
}
