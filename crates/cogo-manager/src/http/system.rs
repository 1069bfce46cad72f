//! The manager itself: health and queue.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use cogo_protocol::task::TaskStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::extract::Query;
use super::problem::Problem;
use super::routes::{Operation, READ, Routes};
use crate::clock;
use crate::coordinator::{Answer, ClientRequest};
use crate::tasks::unexpected;

/// Tasks of the queue that are shown when nothing is asked for, and at most.
const QUEUE_SHOWN: usize = 100;
const QUEUE_SHOWN_MAX: usize = 10_000;

/// How the manager is doing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// `ok`, or `degraded` when there are workers that are known and none that is connected, or
    /// some that were given up.
    pub status: String,
    /// The manager's version.
    pub version: String,
    /// Milliseconds since it started.
    pub uptime: u64,
    /// Tasks that wait.
    pub queued: usize,
    /// Tasks that a worker has.
    pub running: usize,
    /// Workers that are connected.
    pub workers_connected: usize,
    /// All workers that are known.
    pub workers: usize,
    /// Local workers that ended again and again and are not started any more.
    pub workers_given_up: usize,
    /// Bytes of memory that the manager's process holds, where the kernel tells.
    pub memory_bytes: Option<u64>,
}

/// Tasks that wait.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueReport {
    /// The first of them, in the order in which they would be served now.
    pub tasks: Vec<TaskStatus>,
    /// How many there are in all.
    pub total: usize,
}

/// How much of the queue to show.
#[derive(Debug, Deserialize, JsonSchema)]
struct QueueQuery {
    /// Tasks at most, up to 10000. Default: 100.
    limit: Option<usize>,
}

pub(super) fn add(routes: Routes) -> Routes {
    routes
        .add(
            Operation::new(Method::GET, "/health", READ, "How the manager is doing")
                .answer::<HealthReport>(StatusCode::OK, "its numbers"),
            health,
        )
        .add(
            Operation::new(
                Method::GET,
                "/queue",
                READ,
                "Tasks that wait, the next first",
            )
            .query::<QueueQuery>()
            .answer::<QueueReport>(StatusCode::OK, "the queue"),
            queue,
        )
}

async fn health(State(api): State<Arc<Api>>) -> Result<Json<HealthReport>, Problem> {
    let health = match api.handle.ask(ClientRequest::Health).await? {
        Answer::Health(health) => health,
        answer => unexpected(&answer),
    };
    let degraded =
        health.workers > 0 && health.workers_connected == 0 || health.workers_given_up > 0;
    Ok(Json(HealthReport {
        status: if degraded { "degraded" } else { "ok" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: clock::unix_ms().saturating_sub(api.started_at_ms),
        queued: health.queued,
        running: health.running,
        workers_connected: health.workers_connected,
        workers: health.workers,
        workers_given_up: health.workers_given_up,
        memory_bytes: memory_bytes(),
    }))
}

/// The resident set of this process.
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

async fn queue(
    State(api): State<Arc<Api>>,
    Query(query): Query<QueueQuery>,
) -> Result<Json<QueueReport>, Problem> {
    let limit = query.limit.unwrap_or(QUEUE_SHOWN).min(QUEUE_SHOWN_MAX);
    match api.handle.ask(ClientRequest::Queue { limit }).await? {
        Answer::Queue { tasks, total } => Ok(Json(QueueReport { tasks, total })),
        answer => unexpected(&answer),
    }
}
