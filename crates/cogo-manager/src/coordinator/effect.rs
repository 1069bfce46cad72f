//! What the coordinator wants done.

use std::time::Duration;

use cogo_protocol::message::{BlockReport, ToWorker};
use cogo_protocol::task::{Fence, TaskId, TaskStatus};
use cogo_protocol::worker::{CreateWorker, WorkerId, WorkerInfo};
use cogo_store::{Change, EventRecord};

use super::input::{ConnectionId, ReplyId};

/// What follows from one input: first the changes become durable, all or none, then the effects
/// happen, in this order. Steps keep their order too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// For the store.
    pub changes: Vec<Change>,
    /// For the world.
    pub effects: Vec<Effect>,
    /// When to come back with a tick at the latest; `None` if there is nothing to wait for.
    pub wake_in: Option<Duration>,
}

/// Something to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a client.
    Reply(ReplyId, Answer),
    /// Send a message to a worker. A connection that is gone is no error.
    Send(ConnectionId, Box<ToWorker>),
    /// Begin or go on to keep an attempt's output that comes over a connection.
    Relay(ConnectionId, RelayOrder),
    /// Close a connection.
    Close(ConnectionId, String),
    /// Tell everyone who listens.
    Publish(Box<EventRecord>),
    /// Start the process of a local worker, or find the one that an earlier manager started.
    WorkerStart {
        /// What it is to call itself.
        worker_id: WorkerId,
        /// What it is to be.
        request: CreateWorker,
    },
    /// End the process of a local worker, gently or at once. One that is gone is no error.
    WorkerStop {
        /// Which.
        worker_id: WorkerId,
        /// Whether to kill it.
        force: bool,
    },
}

/// What to do with the output of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayOrder {
    /// The attempt is new on this connection: its output comes by itself, from the start.
    Begin {
        /// The attempt's task.
        task_id: TaskId,
        /// Its right.
        fence: Fence,
        /// Its number.
        attempt: u32,
    },
    /// The attempt was running before the connection: ask for what the log lacks.
    Resume {
        /// The attempt's task.
        task_id: TaskId,
        /// Its right.
        fence: Fence,
        /// Its number.
        attempt: u32,
    },
}

/// An answer to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The task, new or known.
    Submitted {
        /// Where it stands.
        task: Box<TaskStatus>,
        /// Whether this request made it.
        new: bool,
    },
    /// The name may have been used since the store was asked: ask it again, then submit again.
    LookAgain(TaskId),
    /// Where a task stands. Also the answer to a cancellation.
    Task(Box<TaskStatus>),
    /// The connection of the worker that runs the task.
    TaskConnection {
        /// Where to.
        connection: ConnectionId,
        /// Under which right it runs.
        fence: Fence,
    },
    /// Tasks that wait, and how many there are in all.
    Queue {
        /// The first of them.
        tasks: Vec<TaskStatus>,
        /// All of them.
        total: usize,
    },
    /// All workers.
    Workers(Vec<WorkerInfo>),
    /// One worker.
    Worker(Box<WorkerInfo>),
    /// What a worker saw of what it runs.
    BlockReport(Box<BlockReport>),
    /// It is done.
    Done,
    /// How the manager is doing.
    Health(PoolHealth),
    /// It cannot be done.
    Refused(RequestError),
}

/// How the manager is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolHealth {
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
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// There is no such task among those that are not final. It may be in the store.
    NoSuchTask(TaskId),
    /// There is no such worker.
    NoSuchWorker(WorkerId),
    /// The request asks for something impossible; says what and what to do.
    Invalid(String),
    /// The name was used for another request.
    TaskDiffers(TaskId),
    /// The queue is at its stated bound.
    QueueFull {
        /// The bound.
        limit: usize,
    },
    /// The pool is at its stated bound.
    PoolFull {
        /// The bound.
        limit: usize,
    },
    /// The task is not in a state for that.
    NotApplicable(String),
}
