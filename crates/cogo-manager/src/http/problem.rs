//! What a client is told when it does not get what it asked for: RFC 9457, with a `code` for
//! programs and a `hint` for people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cogo_protocol::job::JobId;
use cogo_protocol::task::TaskId;
use cogo_protocol::worker::WorkerId;
use cogo_store::StoreError;
use schemars::JsonSchema;
use serde::Serialize;
use tracing::error;

use crate::coordinator::RequestError;
use crate::jobs::JobRefusal;
use crate::runtime::Stopped;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    hint: Option<String>,
}

/// A problem as it travels, as `application/problem+json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ProblemBody<'a> {
    /// `about:blank`: the status says what sort of problem it is, the code which one.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// A stable name for programs.
    code: &'static str,
    /// The fact.
    detail: &'a str,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            hint: None,
        }
    }

    /// Adds what can be done about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The request can be read, and asks for something impossible.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
    }

    pub(crate) fn no_such_task(id: &TaskId) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_task",
            format!("there is no task `{id}`"),
        )
        .hint("`GET /api/sandbox/tasks` lists the tasks that are known")
    }

    pub(crate) fn no_such_job(id: &JobId) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_job",
            format!("there is no job `{id}`"),
        )
        .hint("`GET /api/sandbox/jobs` lists the jobs that are known")
    }

    pub(crate) fn no_such_worker(id: &WorkerId) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_such_worker",
            format!("there is no worker `{id}`"),
        )
        .hint("`GET /api/sandbox/workers` lists the workers")
    }

    /// The caller may see it and not change it. `what` names it, such as ``task `t1` ``.
    pub(crate) fn not_yours(what: &str, submitter: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not_yours",
            format!("{what} was submitted by `{submitter}`"),
        )
        .hint("its submitter may do that, or a token with the scope admin")
    }

    /// Something of ours failed. The cause goes to the log, not to the client.
    pub(crate) fn internal(what: &'static str, cause: &dyn std::error::Error) -> Self {
        error!(cause = %Chain(cause), "{what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what)
            .hint("the manager's log says more")
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Unknown"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            hint: self.hint.as_deref(),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoSuchTask(id) => Self::no_such_task(&id),
            RequestError::NoSuchWorker(id) => Self::no_such_worker(&id),
            RequestError::Invalid(why) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", why)
            }
            RequestError::TaskDiffers(id) => Self::new(
                StatusCode::CONFLICT,
                "task_differs",
                format!("task `{id}` exists and asks for something else"),
            )
            .hint("a task's name stands for one request; choose another name"),
            RequestError::QueueFull { limit } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "queue_full",
                format!("{limit} tasks wait, and no more may"),
            )
            .hint("try again when some are done"),
            RequestError::PoolFull { limit } => Self::new(
                StatusCode::CONFLICT,
                "pool_full",
                format!("there are {limit} workers, and no more may be started"),
            )
            .hint("start the manager with a higher bound in --workers"),
            RequestError::NotApplicable(why) => {
                Self::new(StatusCode::CONFLICT, "not_applicable", why)
            }
        }
    }
}

impl From<JobRefusal> for Problem {
    fn from(refusal: JobRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            JobRefusal::NotOffered(_) => {
                Self::new(StatusCode::NOT_IMPLEMENTED, "not_offered", detail)
            }
            JobRefusal::Invalid(_) => Self::invalid(detail),
            JobRefusal::Differs(_) => Self::new(StatusCode::CONFLICT, "job_differs", detail)
                .hint("a job's name stands for one request; choose another name"),
            JobRefusal::Full(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "jobs_full", detail)
                .hint("try again when some are done"),
            JobRefusal::Stopping => Stopped.into(),
            JobRefusal::Directory(error) => {
                Self::internal("failed to make the folder of a job", &error)
            }
            JobRefusal::Store(error) => error.into(),
        }
    }
}

impl From<Stopped> for Problem {
    fn from(_: Stopped) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the manager is stopping",
        )
        .hint("try again when it is back")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::internal("failed to read the store", &error)
    }
}
