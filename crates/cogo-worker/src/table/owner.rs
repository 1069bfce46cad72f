//! The task that owns the table, and the way to it.

use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::id::ExecId;
use cogo_protocol::message::{ExecuteCommand, error_code};
use cogo_protocol::task::{Fence, TaskId};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use super::{Act, Effect, Event, Request, Summary, Table};
use crate::block::Watcher;
use crate::instant::now_ms;
use crate::refusal::Refusal;
use crate::runner::{self, Tools};
use crate::starter::Starter;
use crate::task::Task;

/// Requests that may wait for the table.
const INBOX_MAX: usize = 256;
/// How often to look for what is too old.
const PRUNE_INTERVAL: Duration = Duration::from_mins(1);

/// The way to the table. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct TableHandle {
    inbox: mpsc::Sender<Request>,
    summary: watch::Receiver<Summary>,
}

/// The owner of the table, to be run.
pub(crate) struct Owner {
    table: Table,
    starter: Arc<Starter>,
    watcher: Arc<Watcher>,
    /// Told by runners when a task hangs, or hangs no more.
    blocks_changed: Arc<Notify>,
    inbox: mpsc::Receiver<Request>,
    summary: watch::Sender<Summary>,
}

/// Makes the way to a table and its owner.
pub(crate) fn open(
    table: Table,
    starter: Arc<Starter>,
    watcher: Arc<Watcher>,
) -> (TableHandle, Owner) {
    let (sender, inbox) = mpsc::channel(INBOX_MAX);
    let (summary, summary_receiver) = watch::channel(table.summary());
    let handle = TableHandle {
        inbox: sender,
        summary: summary_receiver,
    };
    let owner = Owner {
        table,
        starter,
        watcher,
        blocks_changed: Arc::default(),
        inbox,
        summary,
    };
    (handle, owner)
}

impl Owner {
    /// Serves until nobody has the way to it any more. Runners that are left end with this; the
    /// execs go on.
    pub(crate) async fn run(mut self) {
        let mut runners: JoinSet<ExecId> = JoinSet::new();
        let mut prune = interval(PRUNE_INTERVAL);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                request = self.inbox.recv() => match request {
                    Some(request) => Event::Request(request),
                    None => return,
                },
                Some(done) = runners.join_next() => match done {
                    Ok(exec) => Event::RunnerDone(exec),
                    Err(error) => {
                        error!(%error, "a task's runner failed");
                        Event::PruneDue
                    }
                },
                () = self.blocks_changed.notified() => Event::BlocksChanged,
                _ = prune.tick() => {
                    self.starter.let_go_of_unused();
                    Event::PruneDue
                }
            };
            for effect in self.table.handle(event, now_ms()) {
                self.perform(effect, &mut runners);
            }
            self.publish();
        }
    }

    fn perform(&self, effect: Effect, runners: &mut JoinSet<ExecId>) {
        let starter = Arc::clone(&self.starter);
        match effect {
            Effect::Run(job) => {
                let exec = job.task.record.exec_id;
                let tools = Tools {
                    starter,
                    watcher: Arc::clone(&self.watcher),
                    blocks_changed: Arc::clone(&self.blocks_changed),
                };
                runners.spawn(async move {
                    runner::run(job, tools).await;
                    exec
                });
            }
            Effect::Forget(record) => {
                runners.spawn(async move {
                    let exec = record.exec_id;
                    // An error is a panic inside, which has been told.
                    let _ = tokio::task::spawn_blocking(move || starter.forget(&record)).await;
                    exec
                });
            }
        }
    }

    /// Tells everyone what changed.
    fn publish(&self) {
        let new = self.table.summary();
        self.summary.send_if_modified(|old| {
            let changed = !old.is_like(&new);
            *old = new;
            changed
        });
    }
}

impl Summary {
    /// Whether a manager would not have to be told the difference at once.
    fn is_like(&self, other: &Self) -> bool {
        self.status == other.status
            && self.hanging == other.hanging
            && self.draining == other.draining
            && self.current == other.current
            && self.tasks.len() == other.tasks.len()
            && self.live == other.live
    }
}

impl TableHandle {
    pub(crate) async fn execute(&self, command: Box<ExecuteCommand>) -> Result<Arc<Task>, Refusal> {
        self.ask(|answer| Request::Execute(command, answer)).await?
    }

    pub(crate) async fn find(&self, task_id: TaskId) -> Result<Arc<Task>, Refusal> {
        self.ask(|answer| Request::Find(task_id, answer)).await?
    }

    pub(crate) async fn act(&self, act: Act) -> Result<(), Refusal> {
        self.ask(|answer| Request::Act(act, answer)).await?
    }

    pub(crate) async fn acknowledge(&self, task_id: TaskId, fence: Fence) -> Result<(), Refusal> {
        self.ask(|answer| Request::Acknowledge(task_id, fence, answer))
            .await?
    }

    pub(crate) async fn list(&self) -> Result<Vec<Arc<Task>>, Refusal> {
        self.ask(Request::List).await
    }

    pub(crate) async fn drain(&self) {
        // Without an owner nothing is taken anyway.
        let _ = self.inbox.send(Request::Drain).await;
    }

    pub(crate) async fn stop_all(&self, grace_period: Option<Duration>) {
        let _ = self.inbox.send(Request::StopAll(grace_period)).await;
    }

    pub(crate) fn summary(&self) -> watch::Receiver<Summary> {
        self.summary.clone()
    }

    /// Waits until no task runs.
    pub(crate) async fn idle(&self) {
        let mut summary = self.summary.clone();
        let _ = summary
            .wait_for(|summary| !summary.tasks.iter().any(|task| task.is_live()))
            .await;
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let ending = |()| Refusal::new(error_code::DRAINING, "the worker is ending");
        self.inbox
            .send(request(answer))
            .await
            .map_err(|_| ending(()))?;
        answered.await.map_err(|_| ending(()))
    }
}
