//! What the coordinator is told.

use std::time::Duration;

use cogo_protocol::message::{FromWorker, Welcome};
use cogo_protocol::task::{Fence, TaskId, TaskRequest};
use cogo_protocol::worker::{CreateWorker, WorkerId};
use cogo_store::TaskRecord;

/// One connection of one worker. A worker that reconnects gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A client asks; exactly one [`Answer`](super::Answer) goes back.
    Request(ReplyId, ClientRequest),
    /// A worker has connected and said what it is and has.
    WorkerConnected {
        /// The connection, which is new.
        connection: ConnectionId,
        /// Its first message.
        welcome: Box<Welcome>,
    },
    /// A worker said something on an open connection. Output does not come here: it goes to the
    /// task's log, and whatever the worker said after it comes only when it is in there.
    WorkerSaid(ConnectionId, Box<FromWorker>),
    /// A connection is closed, for whatever reason.
    WorkerDisconnected(ConnectionId),
    /// The process of a local worker has ended.
    LocalWorkerExited {
        /// Which.
        worker_id: WorkerId,
        /// How, for a reader.
        how: String,
    },
    /// A local worker could not be started.
    LocalWorkerFailed {
        /// Which.
        worker_id: WorkerId,
        /// Why, for a reader.
        why: String,
    },
    /// Time has passed; comes at the latest when [`Step::wake_in`](super::Step) asks for it.
    Tick,
}

/// What the store knows of a task's name, as looked up just before a submission.
///
/// The coordinator forgets a task when it has ended, so that a repeated submission has to be
/// recognised by what is stored. Whoever submits looks the name up first. A task that ends between
/// the look and the submission is noticed: the coordinator remembers for a while which names have
/// ended, and answers [`Answer::LookAgain`](super::Answer) when the look may be too old.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// The manager has just made the name up, so there is nothing to look for.
    Fresh,
    /// There is no such task.
    Absent {
        /// When the store was asked, by the monotonic clock.
        looked_at: Duration,
    },
    /// There is one.
    Stored(Box<TaskRecord>),
}

/// What a client can ask.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientRequest {
    /// Take a task. A name that is known answers with the task that is there.
    Submit {
        /// The task's name, the client's or a fresh one.
        task_id: TaskId,
        /// What to do.
        request: Box<TaskRequest>,
        /// Who asks.
        submitter: String,
        /// What the store knows of that name.
        known: Known,
    },
    /// End a task, whatever its state.
    Cancel {
        /// Which.
        task_id: TaskId,
        /// Time between the polite signal and the kill. Default: the task's.
        grace_period: Option<Duration>,
    },
    /// Tell where a task that is not final stands.
    Task(TaskId),
    /// Tell which worker connection has a task, to send it input or signals.
    TaskConnection(TaskId),
    /// List tasks that wait, in the order in which they would be served now.
    Queue {
        /// How many at most.
        limit: usize,
    },
    /// List workers.
    Workers,
    /// Tell of one worker.
    Worker(WorkerId),
    /// Start a local worker. Answered at once with what it will be.
    WorkerCreate(CreateWorker),
    /// Take no more tasks for a worker, and remove it when it has none. `force` does not wait:
    /// what it runs is taken back and queued anew.
    WorkerRemove {
        /// Which.
        worker_id: WorkerId,
        /// Whether to wait for what it runs.
        force: bool,
    },
    /// Have a worker look closely at what it runs. Answered when it has.
    DetectBlock(WorkerId),
    /// Give a worker no more tasks, or give it tasks again.
    WorkerDrain {
        /// Which.
        worker_id: WorkerId,
        /// Whether it is to be drained.
        draining: bool,
    },
    /// Recover what hangs on a worker by its cause. If it has told of no block, take its tasks back
    /// and queue them anew elsewhere; restart it if it is local.
    WorkerRecover(WorkerId),
    /// Tell how the manager is doing.
    Health,
    /// Give out no more tasks, because the manager is about to end. What waits stays stored.
    Drain,
}

impl ClientRequest {
    /// The task it is about, if it is about one.
    pub const fn task_id(&self) -> Option<&TaskId> {
        match self {
            Self::Submit { task_id, .. }
            | Self::Cancel { task_id, .. }
            | Self::Task(task_id)
            | Self::TaskConnection(task_id) => Some(task_id),
            Self::Queue { .. }
            | Self::Workers
            | Self::Worker(_)
            | Self::WorkerCreate(_)
            | Self::WorkerRemove { .. }
            | Self::WorkerDrain { .. }
            | Self::WorkerRecover(_)
            | Self::DetectBlock(_)
            | Self::Health
            | Self::Drain => None,
        }
    }
}

/// The attempt that a message from a worker is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// Its task.
    pub task_id: TaskId,
    /// The right it runs under.
    pub fence: Fence,
}
