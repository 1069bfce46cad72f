//! The table of tasks: one owner decides what is taken, replaced, passed on and forgotten.
//!
//! Requests come in over a bounded queue; a full one makes its senders wait. What is to be done
//! comes out as effects, so that the decisions need neither a runtime nor a sandbox. Ended tasks
//! stay, for replay, until they are acknowledged or there are too many or too old ones.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cogo_protocol::command::StdinRequest;
use cogo_protocol::id::ExecId;
use cogo_protocol::message::{ExecuteCommand, error_code};
use cogo_protocol::task::{Fence, TaskId};
use cogo_protocol::worker::WorkerStatus;
use cogo_sandbox::exec_dir::ExecDir;
use tokio::sync::{mpsc, oneshot, watch};

use crate::block::{BlockSettings, Blocks};
use crate::config::Retention;
use crate::limits;
use crate::refusal::Refusal;
use crate::runner::{Action, Job, JobKind};
use crate::task::{Begun, End, Phase, Progress, Task};
use crate::task_record::{InputRecord, PhaseRecord, TaskRecord};

mod owner;
#[cfg(test)]
mod tests;

pub(crate) use owner::{TableHandle, open};

/// Bytes of input that may wait for a program to read them.
const INPUT_PENDING_MAX: usize = 8 << 20;
/// Actions that may wait for a task's runner.
const ACTIONS_MAX: usize = 256;

/// What is asked of the table. An answer that nobody waits for any more is dropped.
#[derive(Debug)]
pub(crate) enum Request {
    Execute(Box<ExecuteCommand>, Answer<Result<Arc<Task>, Refusal>>),
    Find(TaskId, Answer<Result<Arc<Task>, Refusal>>),
    Act(Act, Answer<Result<(), Refusal>>),
    Acknowledge(TaskId, Fence, Answer<Result<(), Refusal>>),
    List(Answer<Vec<Arc<Task>>>),
    Drain,
    /// Stop all that runs; `None` leaves each task its own grace period.
    StopAll(Option<Duration>),
}

pub(crate) type Answer<T> = oneshot::Sender<T>;

/// Something to be done with a running task.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) task_id: TaskId,
    /// Only an attempt under this right is meant.
    pub(crate) fence: Option<Fence>,
    pub(crate) deed: Deed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Input {
        bytes: Vec<u8>,
        eof: bool,
    },
    Resize {
        rows: u16,
        columns: u16,
    },
    Signal(i32),
    Stop {
        grace_period: Option<Duration>,
        signal: Option<i32>,
    },
}

/// What happens to the table.
#[derive(Debug)]
pub(crate) enum Event {
    Request(Request),
    /// A runner is done.
    RunnerDone(ExecId),
    /// It is time to look for what is too old.
    PruneDue,
    /// A task hangs from now on, or no more.
    BlocksChanged,
}

/// What is to be done for the table.
#[derive(Debug)]
pub(crate) enum Effect {
    Run(Job),
    Forget(TaskRecord),
}

/// What everyone may know of the table at any time.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) status: WorkerStatus,
    /// How many of the tasks hang.
    pub(crate) hanging: usize,
    pub(crate) draining: bool,
    /// The task that has run longest.
    pub(crate) current: Option<TaskId>,
    /// Those that run, and those of a manager whose end was not acknowledged; oldest first.
    pub(crate) tasks: Arc<[Arc<Task>]>,
    /// How many of them run.
    pub(crate) live: usize,
}

/// What the table goes by.
#[derive(Clone, Debug)]
pub(crate) struct TableConfig {
    pub(crate) slots: usize,
    pub(crate) retention: Retention,
    /// What is done about blocks where a task does not say.
    pub(crate) block: BlockSettings,
    /// The worker's state directory, in which tasks get their places.
    pub(crate) state_dir: PathBuf,
}

/// All tasks of the worker.
pub(crate) struct Table {
    config: TableConfig,
    new_id: Box<dyn FnMut() -> ExecId + Send>,
    tasks: HashMap<TaskId, Entry>,
    /// Attempts that a newer one has replaced and that are being ended.
    replaced: HashMap<ExecId, Entry>,
    /// Ended tasks in the order of their end, with its Unix time in milliseconds.
    ended: VecDeque<(TaskId, ExecId, u64)>,
    draining: bool,
    effects: Vec<Effect>,
}

/// A task with the ways to its runner.
struct Entry {
    task: Arc<Task>,
    actions: mpsc::Sender<Action>,
    input_pending: Arc<AtomicUsize>,
    input_open: bool,
    /// Its own, or the default.
    grace_period: Duration,
}

impl Table {
    pub(crate) fn new(
        config: TableConfig,
        new_id: impl FnMut() -> ExecId + Send + 'static,
    ) -> Self {
        Self {
            config,
            new_id: Box::new(new_id),
            tasks: HashMap::new(),
            replaced: HashMap::new(),
            ended: VecDeque::new(),
            draining: false,
            effects: Vec::new(),
        }
    }

    /// Takes in a task that an earlier worker wrote down. `over` is how it ended, if it did.
    pub(crate) fn recover(&mut self, record: TaskRecord, over: Option<(Option<Begun>, End)>) {
        let newest = self
            .tasks
            .get(&record.task_id)
            .map(|entry| entry.task.record.fence);
        if newest.is_some_and(|fence| fence > record.fence) {
            return self.recover_replaced(record, over.is_some());
        }
        if let Some(older) = self.tasks.remove(&record.task_id) {
            self.retire(older);
        }
        let (task_id, exec_id) = (record.task_id.clone(), record.exec_id);
        if let Some((begun, end)) = over {
            let ended_at_ms = end.at_ms(exec_id);
            let entry = self.entry(record, limits::GRACE, Progress::ended(begun, end), None);
            self.tasks.insert(task_id.clone(), entry);
            self.ended.push_back((task_id, exec_id, ended_at_ms));
            return;
        }
        let progress = Progress::starting();
        let entry = self.entry(record, limits::GRACE, progress, Some(JobKind::Watch));
        self.tasks.insert(task_id, entry);
    }

    fn recover_replaced(&mut self, record: TaskRecord, over: bool) {
        if over {
            self.effects.push(Effect::Forget(record));
        } else {
            let progress = Progress::starting();
            let entry = self.entry(record, limits::GRACE, progress, Some(JobKind::Watch));
            self.retire(entry);
        }
    }

    /// Handles one event and gives what is to be done for it.
    pub(crate) fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Effect> {
        match event {
            Event::Request(request) => self.answer(request),
            Event::RunnerDone(exec) => self.note_end(exec, now_ms),
            Event::PruneDue | Event::BlocksChanged => {}
        }
        self.prune(now_ms);
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut tasks: Vec<_> = self
            .tasks
            .values()
            .chain(self.replaced.values())
            .map(|entry| &entry.task)
            .filter(|task| task.is_live() || task.record.fence.is_some())
            .cloned()
            .collect();
        tasks.sort_by_key(|task| task.record.exec_id);
        let current = tasks.iter().find(|task| task.is_live());
        let hanging = tasks.iter().filter(|task| task.hangs()).count();
        Summary {
            status: match current {
                Some(_) if hanging > 0 => WorkerStatus::Blocked,
                Some(_) => WorkerStatus::Busy,
                None => WorkerStatus::Idle,
            },
            hanging,
            draining: self.draining,
            live: tasks.iter().filter(|task| task.is_live()).count(),
            current: current.map(|task| task.record.task_id.clone()),
            tasks: tasks.into(),
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Execute(command, answer) => {
                let _ = answer.send(self.execute(*command));
            }
            Request::Find(task_id, answer) => {
                let found = self.find(&task_id).map(|entry| Arc::clone(&entry.task));
                let _ = answer.send(found);
            }
            Request::Act(act, answer) => {
                let _ = answer.send(self.act(act));
            }
            Request::Acknowledge(task_id, fence, answer) => {
                let _ = answer.send(self.acknowledge(&task_id, fence));
            }
            Request::List(answer) => {
                let mut tasks: Vec<_> = self
                    .tasks
                    .values()
                    .map(|entry| Arc::clone(&entry.task))
                    .collect();
                tasks.sort_by_key(|task| task.record.exec_id);
                let _ = answer.send(tasks);
            }
            Request::Drain => self.draining = true,
            Request::StopAll(grace_period) => self.stop_all(grace_period),
        }
    }

    fn execute(&mut self, command: ExecuteCommand) -> Result<Arc<Task>, Refusal> {
        let mut after = None;
        if let Some(known) = self.tasks.get(&command.task_id) {
            match (known.task.record.fence, command.fence) {
                (Some(has), Some(asks)) if has == asks => return Ok(Arc::clone(&known.task)),
                (Some(has), Some(asks)) if has > asks => return Err(stale(has)),
                (Some(_), Some(_)) => after = Some(known.task.progress.clone()),
                (_, None) | (None, Some(_)) => return Err(exists(&command.task_id)),
            }
        }
        self.check_room(&command.task_id)?;
        if let Some(older) = self.tasks.remove(&command.task_id) {
            self.retire(older);
        }
        Ok(self.take(command, after))
    }

    /// Whether one more task can be taken, in the place of the one that it replaces.
    fn check_room(&self, task_id: &TaskId) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::new(
                error_code::DRAINING,
                "the worker finishes what it has and takes no more",
            )
            .hint("send the task to another worker"));
        }
        let running = self
            .tasks
            .iter()
            .filter(|(id, entry)| *id != task_id && entry.task.is_live())
            .count();
        if running >= self.config.slots {
            let slots = self.config.slots;
            return Err(
                Refusal::new(error_code::AT_CAPACITY, format!("all {slots} slots are taken"))
                    .hint("wait for a task to end, start the worker with more --slots, or let a manager queue tasks"),
            );
        }
        Ok(())
    }

    fn take(
        &mut self,
        command: ExecuteCommand,
        after: Option<watch::Receiver<Progress>>,
    ) -> Arc<Task> {
        let exec_id = (self.new_id)();
        let request = command.command;
        let workspaces = self.config.state_dir.join("workspaces");
        let record = TaskRecord {
            task_id: command.task_id.clone(),
            attempt: command.attempt,
            fence: command.fence,
            exec_id,
            workspace: request
                .workspace
                .is_none()
                .then(|| workspaces.join(exec_id.to_string())),
            input: match request.stdin {
                StdinRequest::Closed => InputRecord::Closed,
                StdinRequest::Open => InputRecord::Open,
                StdinRequest::Text(_) => InputRecord::Text,
            },
            pty: request.pty.is_some(),
            block: (self.config.block).changed_by(request.block_policy, &request.block_after),
            phase: PhaseRecord::Starting,
        };
        let grace_period = request
            .grace_ms
            .map_or(limits::GRACE, Duration::from_millis);
        let kind = JobKind::Start {
            request: Box::new(request),
            after,
        };
        let entry = self.entry(record, grace_period, Progress::starting(), Some(kind));
        let task = Arc::clone(&entry.task);
        self.tasks.insert(command.task_id, entry);
        task
    }

    /// Makes an entry, and a job for its runner if it is to have one.
    fn entry(
        &mut self,
        record: TaskRecord,
        grace_period: Duration,
        progress: Progress,
        kind: Option<JobKind>,
    ) -> Entry {
        let execs = self.config.state_dir.join("execs");
        let exec = ExecDir::at(execs.join(record.exec_id.to_string()));
        let (sender, receiver) = watch::channel(progress);
        let (actions, actions_receiver) = mpsc::channel(ACTIONS_MAX);
        let entry = Entry {
            input_open: record.input == InputRecord::Open,
            task: Arc::new(Task {
                record,
                exec,
                progress: receiver,
            }),
            actions,
            input_pending: Arc::default(),
            grace_period,
        };
        if let Some(kind) = kind {
            self.effects.push(Effect::Run(Job {
                task: Arc::clone(&entry.task),
                progress: sender,
                actions: actions_receiver,
                input_pending: Arc::clone(&entry.input_pending),
                kind,
            }));
        }
        entry
    }

    /// Ends an attempt whose right has passed on, and forgets it.
    fn retire(&mut self, older: Entry) {
        let record = &older.task.record;
        self.ended.retain(|(_, exec, _)| *exec != record.exec_id);
        if older.task.is_live() {
            older.stop(Duration::ZERO, None);
            self.replaced.insert(record.exec_id, older);
        } else {
            self.effects.push(Effect::Forget(record.clone()));
        }
    }

    fn find(&self, task_id: &TaskId) -> Result<&Entry, Refusal> {
        self.tasks.get(task_id).ok_or_else(|| no_such(task_id))
    }

    fn act(&mut self, act: Act) -> Result<(), Refusal> {
        let entry = self
            .tasks
            .get_mut(&act.task_id)
            .ok_or_else(|| no_such(&act.task_id))?;
        if let (Some(asks), Some(has)) = (act.fence, entry.task.record.fence)
            && asks != has
        {
            return Err(stale(has));
        }
        if !entry.task.is_live() {
            return Err(not_applicable(
                "the task has ended",
                "attach to it to see how",
            ));
        }
        entry.act(act.deed)
    }

    fn acknowledge(&mut self, task_id: &TaskId, fence: Fence) -> Result<(), Refusal> {
        // It may have been forgotten for the same message, sent twice.
        let Some(entry) = self.tasks.get(task_id) else {
            return Ok(());
        };
        match entry.task.record.fence {
            Some(has) if has != fence => Err(stale(has)),
            None => Err(not_applicable(
                "the task has no fence, so that no manager can have stored its end",
                "leave it to the worker to forget it",
            )),
            Some(_) if entry.task.is_live() => Err(not_applicable(
                "the task has not ended",
                "acknowledge it after its end",
            )),
            Some(_) => {
                self.forget(&task_id.clone());
                Ok(())
            }
        }
    }

    fn forget(&mut self, task_id: &TaskId) {
        if let Some(entry) = self.tasks.remove(task_id) {
            let record = entry.task.record.clone();
            self.ended.retain(|(_, exec, _)| *exec != record.exec_id);
            self.effects.push(Effect::Forget(record));
        }
    }

    fn stop_all(&mut self, grace_period: Option<Duration>) {
        let live = self.tasks.values().filter(|entry| entry.task.is_live());
        for entry in live {
            entry.stop(grace_period.unwrap_or(entry.grace_period), None);
        }
    }

    fn note_end(&mut self, exec: ExecId, now_ms: u64) {
        if let Some(entry) = self.replaced.remove(&exec) {
            self.effects.push(Effect::Forget(entry.task.record.clone()));
            return;
        }
        let entry = self
            .tasks
            .values()
            .find(|entry| entry.task.record.exec_id == exec);
        if let Some(entry) = entry {
            let task_id = entry.task.record.task_id.clone();
            self.ended.push_back((task_id, exec, now_ms));
        }
    }

    fn prune(&mut self, now_ms: u64) {
        let Retention { count, age } = self.config.retention;
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        while let Some((task_id, _, ended_at_ms)) = self.ended.front()
            && (self.ended.len() > count || now_ms.saturating_sub(*ended_at_ms) >= age_ms)
        {
            self.forget(&task_id.clone());
        }
    }
}

impl Entry {
    fn act(&mut self, deed: Deed) -> Result<(), Refusal> {
        match deed {
            Deed::Input { bytes, eof } => return self.take_input(bytes, eof),
            Deed::Resize { .. } if !self.task.record.pty => {
                return Err(not_applicable(
                    "the task does not run on a terminal",
                    "ask for a `pty` when it is started",
                ));
            }
            Deed::Resize { rows, columns } => {
                self.send(Action::Resize(cogo_sandbox::spec::PtySize {
                    rows,
                    columns,
                }))
            }
            Deed::Signal(signal) => self.send(Action::Signal(signal)),
            Deed::Stop {
                grace_period,
                signal,
            } => self.stop(grace_period.unwrap_or(self.grace_period), signal),
        }
        .then_some(())
        .ok_or_else(busy)
    }

    fn take_input(&mut self, bytes: Vec<u8>, eof: bool) -> Result<(), Refusal> {
        if !self.input_open || self.task.progress.borrow().input_ended {
            return Err(not_applicable(
                "the task's standard input is closed",
                "start it with `\"stdin\": \"open\"`, and send nothing after `eof`",
            ));
        }
        let len = bytes.len();
        if self.input_pending.load(Ordering::Relaxed) + len > INPUT_PENDING_MAX {
            return Err(Refusal::new(
                error_code::INPUT_FULL,
                "too much input waits for the program to read it",
            )
            .hint("send it again later, or give the whole input as `stdin` text"));
        }
        self.input_pending.fetch_add(len, Ordering::Relaxed);
        if !self.send(Action::Input { bytes, eof }) {
            self.input_pending.fetch_sub(len, Ordering::Relaxed);
            return Err(busy());
        }
        self.input_open = !eof;
        Ok(())
    }

    fn stop(&self, grace_period: Duration, signal: Option<i32>) -> bool {
        self.send(Action::Stop {
            grace_period,
            signal,
        })
    }

    /// Whether there was room for it.
    fn send(&self, action: Action) -> bool {
        self.actions.try_send(action).is_ok()
    }
}

impl Progress {
    fn ended(begun: Option<Begun>, end: End) -> Self {
        Self {
            log_end: match &end {
                End::Verdict(verdict) => verdict.log_end,
                End::Refused(_) => 0,
            },
            phase: Phase::Ended(Arc::new(end)),
            begun,
            blocks: Blocks::default(),
            input_ended: false,
            looks: 0,
        }
    }
}

impl End {
    /// Unix time in milliseconds; of what never ran, that of its exec's id.
    fn at_ms(&self, exec_id: ExecId) -> u64 {
        match self {
            Self::Verdict(verdict) => verdict.ended_at_ms,
            Self::Refused(_) => exec_id.created_at_ms(),
        }
    }
}

fn no_such(task_id: &TaskId) -> Refusal {
    Refusal::new(
        error_code::NO_SUCH_TASK,
        format!("the worker has no task `{task_id}`"),
    )
    .hint("`list_tasks` tells which it has; ended ones are forgotten after a while")
}

fn exists(task_id: &TaskId) -> Refusal {
    Refusal::new(
        error_code::TASK_EXISTS,
        format!("the worker has a task `{task_id}` already"),
    )
    .hint("attach to it, or choose another `taskId`")
}

fn stale(has: Fence) -> Refusal {
    Refusal::new(
        error_code::STALE_FENCE,
        format!("the task is held under fence {}", has.0),
    )
    .hint("the right to it has passed on; ask the manager where it runs")
}

fn not_applicable(error: &str, hint: &str) -> Refusal {
    Refusal::new(error_code::NOT_APPLICABLE, error).hint(hint)
}

fn busy() -> Refusal {
    Refusal::new(
        error_code::INPUT_FULL,
        "too many requests wait for this task",
    )
    .hint("send it again later")
}
