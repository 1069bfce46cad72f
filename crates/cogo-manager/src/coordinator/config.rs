//! Settings of the coordinator.

use std::time::Duration;

use cogo_protocol::worker::CreateWorker;

use crate::rules::backoff::{Backoff, CrashLoop};
use crate::rules::pool::PoolConfig;

/// Settings of the coordinator. Each clock has its own name; none stands in for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Silence of a worker after which its tasks are taken back. Default: `10s`.
    pub lease: Duration,
    /// How often workers are to send heartbeats. Default: `2s`.
    pub heartbeat: Duration,
    /// Tasks that may wait; more are refused. Default: 100,000.
    pub queue_bound: usize,
    /// Time in the queue that raises a task by one level. Default: `30s`.
    pub aging_step: Duration,
    /// Waits before a lost task is tried again. Default: `500ms`, doubling up to `30s`.
    pub retry: Backoff,
    /// Time from lease to start after which a worker that is not silent has lost its way.
    /// Default: `60s`.
    pub start_timeout: Duration,
    /// Time between the polite signal and the kill, where a task does not say. Default: `5s`.
    pub grace_period: Duration,
    /// Time after the kill for a worker to tell the end, before its lease is taken. Default: `10s`.
    pub kill_timeout: Duration,
    /// Time past a task's own timeout after which the manager ends it itself. Default: `30s`.
    pub deadline_slack: Duration,
    /// Time a worker that says it is full gets nothing, if it tells nothing new. Default: `1s`.
    pub busy_pause: Duration,
    /// Time a remote worker that is gone stays known. Default: `24h`.
    pub worker_forget: Duration,
    /// Time the name of an ended task is remembered, see [`Known`](super::Known). Default: `60s`.
    pub remember_ended: Duration,
    /// The newest events, so many, are kept in the store. Default: 100,000.
    pub events_kept: u64,
    /// How many local workers there are.
    pub pool: PoolConfig,
    /// What the pool starts.
    pub pool_worker: CreateWorker,
    /// Time for a local worker to connect. Default: `30s`.
    pub connect_timeout: Duration,
    /// Waits before a local worker is started again. Default: `200ms`, doubling up to `10s`.
    pub restart: Backoff,
    /// When a local worker is given up. Default: 5 ends within `60s`.
    pub crash_loop: CrashLoop,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            queue_bound: 100_000,
            aging_step: Duration::from_secs(30),
            retry: Backoff {
                first: Duration::from_millis(500),
                longest: Duration::from_secs(30),
            },
            start_timeout: Duration::from_mins(1),
            grace_period: Duration::from_secs(5),
            kill_timeout: Duration::from_secs(10),
            deadline_slack: Duration::from_secs(30),
            busy_pause: Duration::from_secs(1),
            worker_forget: Duration::from_hours(24),
            remember_ended: Duration::from_mins(1),
            events_kept: 100_000,
            pool: PoolConfig::default(),
            pool_worker: CreateWorker::default(),
            connect_timeout: Duration::from_secs(30),
            restart: Backoff {
                first: Duration::from_millis(200),
                longest: Duration::from_secs(10),
            },
            crash_loop: CrashLoop {
                failures: 5,
                window: Duration::from_mins(1),
            },
        }
    }
}
