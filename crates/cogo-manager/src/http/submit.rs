//! Tasks come in here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cogo_protocol::task::{TaskRequest, TaskStatus};
use cogo_protocol::worker::WorkerId;

use super::Api;
use super::extract::{Body, Path};
use super::problem::Problem;
use super::routes::{Operation, PREFIX, Routes, SUBMIT};
use crate::tokens::Caller;

pub(super) fn add(routes: Routes) -> Routes {
    routes
        .add(
            Operation::new(Method::POST, "/execute", SUBMIT, "Submit a task")
                .body::<TaskRequest>()
                .answer::<TaskStatus>(StatusCode::CREATED, "the new task")
                .answer::<TaskStatus>(StatusCode::OK, "the task that had this name already"),
            execute,
        )
        .add(
            Operation::new(
                Method::POST,
                "/workers/{id}/execute",
                SUBMIT,
                "Submit a task for one worker",
            )
            .body::<TaskRequest>()
            .answer::<TaskStatus>(StatusCode::CREATED, "the new task")
            .answer::<TaskStatus>(StatusCode::OK, "the task that had this name already"),
            execute_on,
        )
}

async fn execute(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<TaskRequest>,
) -> Result<Response, Problem> {
    submit(&api, &caller, request).await
}

async fn execute_on(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(worker_id): Path<WorkerId>,
    Body(mut request): Body<TaskRequest>,
) -> Result<Response, Problem> {
    request.requirements.worker = Some(worker_id);
    submit(&api, &caller, request).await
}

async fn submit(api: &Api, caller: &Caller, request: TaskRequest) -> Result<Response, Problem> {
    let (task, new) = api.tasks.submit(request, &caller.name).await?;
    // A name tells nothing of a task that someone else has submitted.
    if !caller.may_see(&task.submitter) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "task_differs",
            format!("task `{}` is someone else's", task.task_id),
        )
        .hint("choose another name"));
    }
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let location = format!("{PREFIX}/tasks/{}", encoded(task.task_id.as_str()));
    let mut response = (status, Json(task)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A name as one part of a path.
fn encoded(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_part_of_a_path() {
        assert_eq!(encoded("build-7"), "build-7");
        assert_eq!(encoded("a/b é?"), "a%2Fb%20%C3%A9%3F");
    }
}
