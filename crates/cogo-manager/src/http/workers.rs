//! Workers: those that are known, new local ones, and the way out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use cogo_protocol::message::{BlockReport, SUBPROTOCOL_BINARY};
use cogo_protocol::worker::{CreateWorker, WorkerId, WorkerInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::extract::{Body, Path, Query};
use super::problem::Problem;
use super::routes::{ADMIN, Operation, READ, Routes, WORKER_JOIN};
use super::tasks::visible;
use crate::coordinator::{Answer, ClientRequest};
use crate::session;
use crate::tasks::unexpected;
use crate::tokens::Caller;

/// All workers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkerList {
    /// The workers, by name.
    pub workers: Vec<WorkerInfo>,
}

/// How to remove a worker.
#[derive(Debug, Deserialize, JsonSchema)]
struct RemoveQuery {
    /// Do not wait for what it runs: that is taken back and queued anew. Default: false.
    #[serde(default)]
    force: bool,
}

/// Whether a worker takes tasks.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DrainWorker {
    /// Whether it is to take no more.
    pub draining: bool,
}

pub(super) fn add(routes: Routes) -> Routes {
    let create = |path| {
        Operation::new(Method::POST, path, ADMIN, "Start a local worker")
            .body::<CreateWorker>()
            .answer::<WorkerInfo>(StatusCode::CREATED, "the worker, which is starting")
    };
    routes
        .add(create("/workers/create"), create_worker)
        .add(create("/workers"), create_worker)
        .add(
            Operation::new(Method::GET, "/workers", READ, "List workers")
                .answer::<WorkerList>(StatusCode::OK, "all of them"),
            list,
        )
        .add(
            Operation::new(Method::GET, "/workers/{id}", READ, "One worker")
                .answer::<WorkerInfo>(StatusCode::OK, "the worker"),
            show,
        )
        .add(
            Operation::new(Method::DELETE, "/workers/{id}", ADMIN, "Remove a worker")
                .query::<RemoveQuery>()
                .answer_empty(
                    StatusCode::ACCEPTED,
                    "it takes no more tasks, and goes when it has none",
                ),
            remove,
        )
        .add(
            Operation::new(
                Method::POST,
                "/workers/{id}/drain",
                ADMIN,
                "Give a worker no more tasks, or give it tasks again",
            )
            .body::<DrainWorker>()
            .answer_empty(StatusCode::NO_CONTENT, "so it is"),
            drain,
        )
        .add(
            Operation::new(
                Method::POST,
                "/recover/{workerId}",
                ADMIN,
                "Recover what hangs on a worker by its cause. If it has told of no block, take all its \
                 tasks back and queue them anew, and restart it if it is local",
            )
            .answer_empty(StatusCode::ACCEPTED, "it is under way"),
            recover,
        )
        .add(
            Operation::new(
                Method::POST,
                "/workers/{id}/detect-block",
                READ,
                "Look closely at what a worker runs: which tasks hang, and what their threads do",
            )
            .answer::<BlockReport>(StatusCode::OK, "what was found"),
            detect_block,
        )
}

/// The door that workers come in by.
pub(super) fn add_door(routes: Routes) -> Routes {
    routes.add(
        Operation::new(
            Method::GET,
            "/workers/connect",
            WORKER_JOIN,
            "The door for workers",
        )
        .web_socket(
            "speaks the worker's protocol in `cogo.v1.bin`; the worker says `welcome` first",
        ),
        connect,
    )
}

async fn create_worker(
    State(api): State<Arc<Api>>,
    body: Bytes,
) -> Result<(StatusCode, Json<WorkerInfo>), Problem> {
    // Nothing at all is the wish for a worker like any other.
    let request: CreateWorker = if body.is_empty() {
        CreateWorker::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request",
                format!("the body is no worker to create: {error}"),
            )
        })?
    };
    match api.handle.ask(ClientRequest::WorkerCreate(request)).await? {
        Answer::Worker(worker) => Ok((StatusCode::CREATED, Json(*worker))),
        Answer::Refused(error) => Err(error.into()),
        answer => unexpected(&answer),
    }
}

async fn list(State(api): State<Arc<Api>>) -> Result<Json<WorkerList>, Problem> {
    match api.handle.ask(ClientRequest::Workers).await? {
        Answer::Workers(workers) => Ok(Json(WorkerList { workers })),
        answer => unexpected(&answer),
    }
}

async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<WorkerId>,
) -> Result<Json<WorkerInfo>, Problem> {
    match api.handle.ask(ClientRequest::Worker(id)).await? {
        Answer::Worker(worker) => Ok(Json(*worker)),
        Answer::Refused(error) => Err(error.into()),
        answer => unexpected(&answer),
    }
}

async fn remove(
    State(api): State<Arc<Api>>,
    Path(worker_id): Path<WorkerId>,
    Query(RemoveQuery { force }): Query<RemoveQuery>,
) -> Result<StatusCode, Problem> {
    order(&api, ClientRequest::WorkerRemove { worker_id, force }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn drain(
    State(api): State<Arc<Api>>,
    Path(worker_id): Path<WorkerId>,
    Body(DrainWorker { draining }): Body<DrainWorker>,
) -> Result<StatusCode, Problem> {
    let request = ClientRequest::WorkerDrain {
        worker_id,
        draining,
    };
    order(&api, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn recover(
    State(api): State<Arc<Api>>,
    Path(worker_id): Path<WorkerId>,
) -> Result<StatusCode, Problem> {
    order(&api, ClientRequest::WorkerRecover(worker_id)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Two looks are a proof, and the worker takes up to three.
const EXAMINATION_MAX: Duration = Duration::from_secs(15);

/// What was found of the tasks that the caller may see.
async fn detect_block(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(worker_id): Path<WorkerId>,
) -> Result<Json<BlockReport>, Problem> {
    let asked = api.handle.ask(ClientRequest::DetectBlock(worker_id));
    let Ok(answer) = tokio::time::timeout(EXAMINATION_MAX, asked).await else {
        return Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "worker_silent",
            format!("the worker did not answer within {EXAMINATION_MAX:?}"),
        )
        .hint("POST recover/{workerId} takes its tasks back"));
    };
    let mut report = match answer? {
        Answer::BlockReport(report) => *report,
        Answer::Refused(error) => return Err(error.into()),
        answer => unexpected(&answer),
    };
    let mut seen = Vec::with_capacity(report.tasks.len());
    for task in report.tasks {
        if visible(&api, &caller, &task.task_id).await.is_ok() {
            seen.push(task);
        }
    }
    report.tasks = seen;
    Ok(Json(report))
}

async fn order(api: &Api, request: ClientRequest) -> Result<(), Problem> {
    match api.handle.ask(request).await? {
        Answer::Done | Answer::Worker(_) => Ok(()),
        Answer::Refused(error) => Err(error.into()),
        answer => unexpected(&answer),
    }
}

async fn connect(
    State(api): State<Arc<Api>>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = super::bridge::upgrade(upgrade)?;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL_BINARY])
        .max_message_size(session::MESSAGE_MAX)
        .max_frame_size(session::MESSAGE_MAX);
    if upgrade.selected_protocol().is_none() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "subprotocol_required",
            format!("a worker has to offer the subprotocol `{SUBPROTOCOL_BINARY}`"),
        ));
    }
    Ok(upgrade.on_upgrade(move |socket| session::run(api, socket)))
}
