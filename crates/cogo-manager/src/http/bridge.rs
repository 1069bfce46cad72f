//! `WebSockets` for clients: the manager speaks as if it were one worker.
//!
//! `/connect` takes all messages of a worker's clients, so that what was written for a worker
//! drives a manager unchanged; `/tasks/{id}/stream` is the same for one task. Output comes from
//! the log, at the pace of the client: whatever it does not read waits there.

mod connection;
mod health;
mod outgoing;
mod task_list;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use cogo_protocol::message::{SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON};
use cogo_protocol::task::TaskId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::extract::{Path, Query};
use super::problem::Problem;
use super::routes::{Operation, READ_OR_OWN, Routes};
use super::{Api, tasks};
use crate::follow::Start;
use crate::tokens::Caller;

use connection::{Connection, Reach};

/// What goes before a message when a socket writes many.
const WRITE_BUFFER: usize = 128 * 1024;

/// From where on to tell.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct StreamQuery {
    /// Begin at this record without being asked. Default: wait for `attach`.
    from_seq: Option<u64>,
    /// The attempt to begin with. Default: the latest.
    attempt: Option<u32>,
}

pub(super) fn add(routes: Routes) -> Routes {
    routes
        .add(
            Operation::new(
                Method::GET,
                "/connect",
                READ_OR_OWN,
                "Drive the manager as if it were a worker",
            )
            .web_socket("speaks the worker's protocol"),
            connect,
        )
        .add(
            Operation::new(
                Method::GET,
                "/tasks/{id}/stream",
                READ_OR_OWN,
                "Follow one task and feed it",
            )
            .query::<StreamQuery>()
            .web_socket("speaks the worker's protocol, for this task alone"),
            stream,
        )
}

/// A request that has to become a WebSocket.
pub(super) fn upgrade(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<WebSocketUpgrade, Problem> {
    upgrade.map_err(|rejection| {
        Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "web_socket_required",
            rejection.body_text(),
        )
        .hint("open this address as a WebSocket")
    })
}

async fn connect(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let request = upgrade(request)?;
    Ok(open(api, caller, Reach::All, request))
}

async fn stream(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<TaskId>,
    Query(query): Query<StreamQuery>,
    request: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let request = upgrade(request)?;
    tasks::visible(&api, &caller, &id).await?;
    let start = query.from_seq.map(|from_seq| Start {
        attempt: query.attempt,
        from_seq,
        lead_in: false,
    });
    Ok(open(api, caller, Reach::One(id, start), request))
}

fn open(api: Arc<Api>, caller: Caller, reach: Reach, request: WebSocketUpgrade) -> Response {
    let request = request
        .protocols([SUBPROTOCOL_JSON, SUBPROTOCOL_BINARY])
        .max_message_size(api.config.message_max)
        .max_frame_size(api.config.message_max)
        .write_buffer_size(WRITE_BUFFER);
    let binary = request
        .selected_protocol()
        .is_some_and(|protocol| protocol == SUBPROTOCOL_BINARY);
    request.on_upgrade(move |socket| Connection::run(api, caller, reach, binary, socket))
}
