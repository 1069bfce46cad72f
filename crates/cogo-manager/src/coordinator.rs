//! The one owner of tasks, leases and workers.
//!
//! A task's life, with the files that hold each step:
//!
//! ```text
//!  submit ─▶ queued ──lease──▶ leased ──started──▶ running ──verdict──▶ succeeded, failed,
//!  [tasks]     ▲ │  [assign]     │ │                 │   [messages]     timed_out, blocked,
//!              │ │               │ │                 │                  cancelled
//!              │ │ waited too    │ │ refused         │ lost
//!              │ │ long,         │ ▼                 ▼
//!              │ │ cancelled     └▶ retry rule: again, or no attempt left ────▶ lost, failed
//!              │ │ [timeouts]       [attempts]  │
//!              │ └─▶ timed_out, cancelled       │
//!              └───────── after a wait ─────────┘
//! ```
//!
//! Each input is handled to its end: what follows from it directly, then what has become due, then
//! workers with free slots get what waits. All of it becomes one [`Step`], so that a task that is
//! submitted while a worker is free is stored once, leased already.
//!
//! Recovery is no mode. Leases run out by the same timer whether a worker, a connection or this
//! manager was away; a worker that comes back is compared with what is stored about it, whether it
//! was cut off for a second or an earlier manager knew it ([recovery](self)).
//!
//! Deliberately absent: the store, the network, processes and clocks.

mod assign;
mod attempts;
mod blocks;
mod config;
mod counters;
mod effect;
mod heartbeats;
mod input;
mod ladder;
mod memory;
mod messages;
mod output;
mod pool;
mod recovery;
mod removal;
mod requests;
mod task;
mod tasks;
mod timeouts;
mod timers;
mod worker;
mod workers;

pub use config::Config;
pub use counters::Counters;
pub use effect::{Answer, Effect, PoolHealth, RelayOrder, RequestError, Step};
pub use input::{AttemptKey, ClientRequest, ConnectionId, Input, Known, ReplyId};
pub use recovery::Restored;
pub use task::task_status;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::task::TaskId;
use cogo_protocol::worker::WorkerId;
use cogo_store::Change;

use self::memory::{EndedNames, Warm};
use self::output::Output;
use self::pool::Pool;
use self::task::Task;
use self::timers::Timers;
use self::worker::Worker;
use crate::clock::Now;
use crate::rules::aging::Aging;
use crate::rules::demand::Demand;
use crate::rules::matching::{Class, Rank};
use crate::rules::queue::{Queue, TaskNumber};

/// The one owner of tasks, leases and workers.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    /// Of the input at hand.
    now: Now,
    /// When a tick was last asked for at the latest.
    wake_at: Option<Duration>,

    /// Boxed, so that the map moves little when it grows.
    tasks: HashMap<TaskNumber, Box<Task>>,
    numbers: HashMap<TaskId, TaskNumber>,
    number_last: TaskNumber,
    /// Tasks that a worker has.
    running: usize,
    queue: Queue,

    workers: BTreeMap<WorkerId, Worker>,
    connections: HashMap<ConnectionId, WorkerId>,
    /// Workers that can be given a task now, by their sort.
    ready: BTreeMap<Arc<Class>, BTreeSet<Rank>>,
    pool: Pool,

    ended: EndedNames,
    warm: Warm,
    timers: Timers,
    counters: Counters,
    /// Who waits for which worker to look at what it runs.
    examinations: BTreeMap<ReplyId, ConnectionId>,
    /// Events up to this one are forgotten.
    events_trimmed: u64,
    /// Whether no more tasks are given out, because the manager is about to end.
    draining: bool,

    output: Output,
    /// Workers that have got room in this step, or may go.
    freed: BTreeSet<WorkerId>,
    /// Lines that were empty and have got a task in this step.
    opened: BTreeSet<Arc<Demand>>,
    /// Whether a worker has stopped taking part in this step.
    thinned: bool,
}

/// How late a tick may come before the manager takes its own sleep for the cause of silence.
const SLEEP: Duration = Duration::from_millis(500);

impl Coordinator {
    /// Takes up what is stored.
    pub fn new(config: Config, restored: Restored, now: Now) -> (Self, Step) {
        let mut coordinator = Self {
            queue: Queue::new(Aging::new(config.aging_step)),
            config,
            now,
            wake_at: None,
            tasks: HashMap::new(),
            numbers: HashMap::new(),
            number_last: restored.number_last,
            running: 0,
            workers: BTreeMap::new(),
            connections: HashMap::new(),
            ready: BTreeMap::new(),
            pool: Pool::default(),
            ended: EndedNames::default(),
            warm: Warm::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            examinations: BTreeMap::new(),
            events_trimmed: 0,
            draining: false,
            output: Output {
                event_last: restored.event_last,
                ..Output::default()
            },
            freed: BTreeSet::new(),
            opened: BTreeSet::new(),
            thinned: false,
        };
        coordinator.restore(restored);
        coordinator.pool_review();
        let step = coordinator.conclude();
        (coordinator, step)
    }

    /// Handles what happened.
    pub fn handle(&mut self, input: Input, now: Now) -> Step {
        self.now = Now {
            monotonic: now.monotonic.max(self.now.monotonic),
            unix_ms: now.unix_ms,
        };
        self.pardon_if_slept();
        match input {
            Input::Request(reply, request) => self.request(reply, request),
            Input::WorkerConnected {
                connection,
                welcome,
            } => self.worker_connected(connection, &welcome),
            Input::WorkerSaid(connection, message) => self.worker_said(connection, *message),
            Input::WorkerDisconnected(connection) => self.worker_disconnected(connection),
            Input::LocalWorkerExited { worker_id, how } => self.process_ended(&worker_id, &how),
            Input::LocalWorkerFailed { worker_id, why } => self.process_ended(&worker_id, &why),
            Input::Tick => (),
        }
        self.handle_due();
        self.end_examinations();
        self.conclude()
    }

    /// What has happened so far, counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Settles what the input has left open and hands out what follows.
    fn conclude(&mut self) -> Step {
        self.assign();
        self.trim_events();
        let mut changes = std::mem::take(&mut self.output.changes);
        for number in std::mem::take(&mut self.output.changed) {
            let record = Box::new(self.tasks[&number].record.clone());
            changes.push(Change::TaskPut(record));
        }
        self.wake_at = self.timers.next();
        Step {
            changes,
            effects: std::mem::take(&mut self.output.effects),
            wake_in: (self.wake_at).map(|at| at.saturating_sub(self.now.monotonic)),
        }
    }

    /// Gives all workers a moment to be heard when this manager itself was asleep: what they sent
    /// meanwhile waits to be handled.
    fn pardon_if_slept(&mut self) {
        let now = self.now.monotonic;
        let slept = self.wake_at.is_some_and(|at| at + SLEEP < now);
        if !slept {
            return;
        }
        let heard_at = (now + SLEEP).saturating_sub(self.config.lease);
        for worker in self.workers.values_mut() {
            worker.heard_at = worker.heard_at.max(heard_at);
        }
    }

    fn trim_events(&mut self) {
        const OFTEN: u64 = 1000;
        let last = self.output.event_last;
        let kept = self.config.events_kept.max(1);
        let due = self.events_trimmed + kept + OFTEN;
        if last > due {
            self.events_trimmed = last - kept;
            self.output.changes.push(Change::EventsTrim(last - kept));
        }
    }
}

#[cfg(test)]
mod tests;
