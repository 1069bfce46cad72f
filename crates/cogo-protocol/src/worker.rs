//! Workers as clients see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exec::Isolation;
use crate::name::name_type;
use crate::task::TaskId;

name_type! {
    /// Names a worker. Workers choose theirs and keep it across restarts.
    WorkerId, "worker id"
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// It has no task.
    Idle,
    /// It runs a task.
    Busy,
    /// It cannot run tasks.
    Error,
    /// Something that it runs hangs.
    Blocked,
}

/// How a worker's host is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Processor time used, in percent of all cores.
    pub cpu: f64,
    /// Memory used, in percent.
    pub memory: f64,
    /// Disk used where the worker keeps its state, in percent.
    pub disk: f64,
    /// Milliseconds since the worker started.
    pub uptime: u64,
}

/// What a worker can do, told in its `welcome`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Tasks it runs at once.
    pub slots: u32,
    /// Processor cores for all its tasks together.
    pub cpus: f64,
    /// Memory for all its tasks together.
    pub memory_bytes: u64,
    /// Free labels, matched by a task's requirements.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A worker as `GET workers/{id}` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// Its name.
    pub id: WorkerId,
    /// Its type, such as `basic`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is doing.
    pub status: WorkerStatus,
    /// The task it runs, or the one it has run longest.
    pub current_task: Option<TaskId>,
    /// How its host is doing.
    pub health: Health,
    /// Unix time in milliseconds of its last sign of life.
    pub last_heartbeat: u64,
    /// All tasks it runs.
    #[serde(default)]
    pub tasks: Vec<TaskId>,
    /// Whether a connection to it is open.
    pub connected: bool,
    /// Whether it takes no more tasks.
    pub draining: bool,
    /// Whether this manager started it and may end it.
    pub local: bool,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The tiers of isolation it can enforce.
    #[serde(default)]
    pub isolation: Vec<Isolation>,
}

/// What `POST workers` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateWorker {
    /// Its type. Default: `basic`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Labels it shall have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
