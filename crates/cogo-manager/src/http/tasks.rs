//! Where tasks stand, and their end on demand.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::{Extension, Json};
use cogo_protocol::task::{TaskId, TaskState, TaskStatus};
use cogo_store::TaskFilter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::extract::{Path, Query};
use super::problem::Problem;
use super::routes::{Operation, READ, READ_OR_OWN, Routes, SUBMIT};
use crate::tasks::TaskFailure;
use crate::tokens::Caller;

/// Tasks of a page when nothing is asked for, and at most.
const PAGE_LEN: usize = 100;
const PAGE_LEN_MAX: usize = 1000;

/// What `state` of a list may be.
const STATES_PATTERN: &str =
    "^((queued|leased|running|succeeded|failed|timed_out|blocked|cancelled|lost)(,|$))*$";

/// A page of tasks, the newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskStatus>,
    /// What to give as `before` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
}

/// Which tasks to list.
#[derive(Debug, Deserialize, JsonSchema)]
struct ListQuery {
    /// States, separated by commas, such as `queued,running`. Default: all.
    #[schemars(extend("pattern" = STATES_PATTERN))]
    state: Option<String>,
    /// Only tasks before this place in the order of submission: `nextBefore` of the last page.
    before: Option<u64>,
    /// Tasks at most, up to 1000. Default: 100.
    limit: Option<usize>,
}

/// How to end a task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CancelQuery {
    /// Milliseconds between the polite signal and the kill. Default: the task's.
    grace_ms: Option<u64>,
}

pub(super) fn add(routes: Routes) -> Routes {
    let status = |path| {
        Operation::new(Method::GET, path, READ_OR_OWN, "Where a task stands")
            .answer::<TaskStatus>(StatusCode::OK, "the task")
    };
    routes
        .add(
            Operation::new(Method::GET, "/tasks", READ, "List tasks, the newest first")
                .query::<ListQuery>()
                .answer::<TaskPage>(StatusCode::OK, "a page"),
            list,
        )
        .add(status("/tasks/{id}"), show)
        .add(status("/tasks/{id}/status"), show)
        .add(
            Operation::new(Method::DELETE, "/tasks/{id}", SUBMIT, "Cancel a task")
                .query::<CancelQuery>()
                .answer::<TaskStatus>(
                    StatusCode::ACCEPTED,
                    "the task; it ends after its grace period",
                )
                .answer::<TaskStatus>(StatusCode::OK, "the task, which has ended"),
            cancel,
        )
}

impl From<TaskFailure> for Problem {
    fn from(failure: TaskFailure) -> Self {
        match failure {
            TaskFailure::Refused(error) => error.into(),
            TaskFailure::Stopped(stopped) => stopped.into(),
            TaskFailure::Store(error) => error.into(),
        }
    }
}

async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<TaskPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_LEN).clamp(1, PAGE_LEN_MAX);
    let filter = TaskFilter {
        states: states(query.state.as_deref().unwrap_or_default())?,
        before: query.before,
        limit: Some(limit),
    };
    let tasks = api.tasks.list(filter).await?;
    let next_before = (tasks.len() == limit)
        .then(|| tasks.last().map(|(number, _)| *number))
        .flatten();
    let tasks = tasks.into_iter().map(|(_, task)| task).collect();
    Ok(Json(TaskPage { tasks, next_before }))
}

fn states(text: &str) -> Result<Vec<TaskState>, Problem> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(|word| {
            serde_json::from_value(word.into()).map_err(|_| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "bad_query",
                    format!("`{word}` is not a state of a task"),
                )
                .hint("states are queued, leased, running, succeeded, failed, timed_out, blocked, cancelled, lost")
            })
        })
        .collect()
}

async fn show(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<TaskId>,
) -> Result<Json<TaskStatus>, Problem> {
    Ok(Json(visible(&api, &caller, &id).await?))
}

/// A task that the caller may see. Another one does not exist for the caller.
pub(super) async fn visible(
    api: &Api,
    caller: &Caller,
    id: &TaskId,
) -> Result<TaskStatus, Problem> {
    let task = api.tasks.status(id).await?;
    if caller.may_see(&task.submitter) {
        Ok(task)
    } else {
        Err(Problem::no_such_task(id))
    }
}

/// A task that the caller may feed and end.
pub(super) async fn changeable(
    api: &Api,
    caller: &Caller,
    id: &TaskId,
) -> Result<TaskStatus, Problem> {
    let task = visible(api, caller, id).await?;
    if caller.may_change(&task.submitter) {
        return Ok(task);
    }
    Err(Problem::not_yours(&format!("task `{id}`"), &task.submitter))
}

async fn cancel(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<TaskId>,
    Query(query): Query<CancelQuery>,
) -> Result<(StatusCode, Json<TaskStatus>), Problem> {
    changeable(&api, &caller, &id).await?;
    let grace_period = query.grace_ms.map(Duration::from_millis);
    let task = api.tasks.cancel(&id, grace_period).await?;
    let status = if task.state.is_final() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, Json(task)))
}
