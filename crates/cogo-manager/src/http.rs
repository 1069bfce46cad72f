//! The doors for clients: HTTP and WebSocket under `/api/sandbox`.
//!
//! One file per subject. A request passes [`doors`] first, which finds out who asks; each route
//! says which scope it needs, and its description beside it becomes the `OpenAPI` document.

mod bridge;
mod doors;
mod events;
mod extract;
mod files;
mod jobs;
mod logs;
mod problem;
mod rates;
mod reference;
mod refusals;
mod routes;
mod submit;
mod system;
mod tasks;
mod token_list;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use cogo_store::task_log::TaskLogs;
use cogo_store::{Durability, Store};
use tokio_util::sync::CancellationToken;

use crate::follow::Follows;
use crate::jobs::Jobs;
use crate::manager::WorkerClocks;
use crate::runtime::{Connections, Events, Handle, LocalWorkers, TaskWatches};
use crate::tasks::Tasks;
use crate::tokens::Tokens;

pub use jobs::JobPage;
use problem::Problem;
pub use rates::Rate;
pub(crate) use rates::Rates;
pub(crate) use refusals::Refusals;
pub use system::{HealthReport, QueueReport};
pub use tasks::TaskPage;
pub use token_list::{CreateToken, NewToken, TokenInfo, TokenList};
pub use workers::{DrainWorker, WorkerList};

/// Bounds and wishes for the doors.
#[derive(Clone, Debug)]
pub struct DoorsConfig {
    /// Pages from elsewhere that may use the API, such as `https://console.example.org`.
    /// Default: none.
    pub origins: Vec<String>,
    /// Bytes of a request's body at most. Default: 1 MiB.
    pub body_max: usize,
    /// Bytes of a file that is sent at most. Default: 1 GiB.
    pub file_max: usize,
    /// Bytes of a message from a client at most. Default: 1 MiB.
    pub message_max: usize,
    /// Requests that one client may send. Default: 20,000 a second.
    pub rate: Rate,
    /// Time between two heartbeats to a client of a WebSocket. Default: 30 s.
    pub heartbeat: Duration,
    /// Silence after which a WebSocket is closed; it is pinged before. Default: 30 s.
    pub silence_max: Duration,
}

impl Default for DoorsConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            body_max: 1 << 20,
            file_max: 1 << 30,
            message_max: 1 << 20,
            rate: Rate {
                per_second: 20_000,
                burst: 20_000,
            },
            heartbeat: Duration::from_secs(30),
            silence_max: Duration::from_secs(30),
        }
    }
}

/// What all doors share.
pub(crate) struct Api {
    pub(crate) config: DoorsConfig,
    pub(crate) handle: Handle,
    pub(crate) tasks: Tasks,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) follows: Follows,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) logs: Arc<TaskLogs>,
    pub(crate) events: Arc<Events>,
    pub(crate) watches: Arc<TaskWatches>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) local_workers: Arc<dyn LocalWorkers>,
    pub(crate) tokens: Tokens,
    pub(crate) worker_clocks: WorkerClocks,
    pub(crate) durability: Durability,
    pub(crate) rates: Rates,
    pub(crate) refusals: Refusals,
    /// Ends everything that stays open.
    pub(crate) stop: CancellationToken,
    pub(crate) started_at_ms: u64,
}

/// All routes.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let routes = routes::Routes::new();
    let routes = system::add(routes);
    let routes = submit::add(routes);
    let routes = tasks::add(routes);
    let routes = logs::add(routes);
    let routes = workers::add(routes);
    let routes = workers::add_door(routes);
    let routes = events::add(routes);
    let routes = files::add(routes);
    let routes = token_list::add(routes);
    let routes = jobs::add(routes);
    let (doors, document) = routes.finish();
    let document = Arc::new(document);
    let body_max = DefaultBodyLimit::max(api.config.body_max);
    guard(&api, doors)
        .layer(body_max)
        .route(
            "/openapi.json",
            get(move || async move { Json(document.as_ref().clone()) }),
        )
        .route("/", get(|| async { Html(reference::PAGE) }))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::map_response(harden))
        .with_state(api)
}

/// The door for workers alone, for a listener that nobody else is to use.
pub(crate) fn workers_router(api: Arc<Api>) -> Router {
    let (door, _) = workers::add_door(routes::Routes::new()).finish();
    guard(&api, door)
        .fallback(no_such_path)
        .layer(middleware::map_response(harden))
        .with_state(api)
}

/// Nobody passes who is not let in.
fn guard(api: &Arc<Api>, doors: Router<Arc<Api>>) -> Router<Arc<Api>> {
    doors.layer(middleware::from_fn_with_state(
        Arc::clone(api),
        doors::admit,
    ))
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_path",
        format!("there is nothing at `{}`", uri.path()),
    )
    .hint("`/openapi.json` lists what there is")
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_such_method",
        "this path does not know that method",
    )
    .hint("`/openapi.json` lists what there is")
}

/// Headers that keep browsers from guessing, framing and keeping.
async fn harden(response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
             connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ];
    let mut response = response.into_response();
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
