//! A coordinator with a store that is always done at once, and workers by name.

use std::collections::BTreeMap;
use std::time::Duration;

use cogo_protocol::block::{BlockInfo, BlockReason, ResourceUsage};
use cogo_protocol::command::CommandRequest;
use cogo_protocol::exec::Isolation;
use cogo_protocol::id::ExecId;
use cogo_protocol::message::{
    BlockDetected, ExecutionStarted, FromWorker, Heartbeat, PROTOCOL_VERSION, TaskBrief,
    TaskComplete, TaskError, ToWorker, Welcome,
};
use cogo_protocol::task::{Fence, TaskRequest, TaskState};
use cogo_protocol::verdict::{Outcome, Verdict};
use cogo_protocol::worker::{Capabilities, Health, WorkerStatus};
use cogo_store::{Change, TaskRecord, WorkerRecord};

use super::super::*;

pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What is stored, by name.
#[derive(Default)]
pub(super) struct Records {
    tasks: BTreeMap<String, TaskRecord>,
    pub(super) workers: BTreeMap<String, WorkerRecord>,
}

/// An attempt that runs, as a worker lists it.
pub(super) fn brief(task: &str, fence: u64) -> TaskBrief {
    TaskBrief {
        task_id: task.parse().unwrap(),
        attempt: Some(1),
        fence: Some(Fence(fence)),
        exec_id: ExecId::from_parts(fence, &[0; 10]),
        running: true,
        last_seq: 0,
        blocked: None,
    }
}

pub(super) struct Fixture {
    pub(super) coordinator: Coordinator,
    pub(super) now: Now,
    pub(super) records: Records,
    /// The latest answer.
    pub(super) answer: Option<Answer>,
    /// Local workers started.
    pub(super) starts: usize,
    config: Config,
    connections: BTreeMap<u64, &'static str>,
    sent: Vec<(&'static str, ToWorker)>,
    /// Tasks whose output was asked for anew.
    pub(super) asked: Vec<String>,
    wake_at: Option<Duration>,
}

impl Fixture {
    /// Without local workers.
    pub(super) fn new() -> Self {
        Self::with(|config| config.pool.max = 0)
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let now = Now {
            monotonic: Duration::ZERO,
            unix_ms: 1_700_000_000_000,
        };
        let (coordinator, step) = Coordinator::new(config.clone(), Restored::default(), now);
        let mut fixture = Self {
            coordinator,
            now,
            records: Records::default(),
            answer: None,
            starts: 0,
            config,
            connections: BTreeMap::new(),
            sent: Vec::new(),
            asked: Vec::new(),
            wake_at: None,
        };
        fixture.take(&step);
        fixture
    }

    /// Starts a new manager over what is stored.
    pub(super) fn restart(&mut self) {
        let restored = Restored {
            tasks: self.records.tasks.values().cloned().collect(),
            workers: self.records.workers.values().cloned().collect(),
            number_last: self.records.tasks.len() as u64,
            event_last: 1000,
        };
        let (coordinator, step) = Coordinator::new(self.config.clone(), restored, self.now);
        self.coordinator = coordinator;
        self.connections.clear();
        self.take(&step);
    }

    pub(super) fn handle(&mut self, input: Input) -> Step {
        let step = self.coordinator.handle(input, self.now);
        self.take(&step);
        step
    }

    fn take(&mut self, step: &Step) {
        self.wake_at = step.wake_in.map(|wait| self.now.monotonic + wait);
        for change in &step.changes {
            match change {
                Change::TaskPut(record) => {
                    let name = record.id.to_string();
                    self.records.tasks.insert(name, (**record).clone());
                }
                Change::WorkerPut(record) => {
                    let name = record.id.to_string();
                    self.records.workers.insert(name, (**record).clone());
                }
                Change::WorkerDelete(id) => {
                    self.records.workers.remove(id.as_str());
                }
                other => assert!(matches!(other, Change::EventAppend(_)), "{other:?}"),
            }
        }
        for effect in &step.effects {
            match effect {
                Effect::Reply(_, answer) => self.answer = Some(answer.clone()),
                Effect::Send(connection, message) => {
                    let worker = self.connections[&connection.0];
                    self.sent.push((worker, (**message).clone()));
                }
                Effect::WorkerStart { .. } => self.starts += 1,
                Effect::Relay(_, RelayOrder::Resume { task_id, .. }) => {
                    self.asked.push(task_id.to_string());
                }
                Effect::Relay(_, RelayOrder::Begin { .. })
                | Effect::Close(..)
                | Effect::Publish(_)
                | Effect::WorkerStop { .. } => (),
            }
        }
    }

    /// Lets time pass, with every tick that is asked for.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.advance_to(at);
            self.handle(Input::Tick);
        }
        self.advance_to(end);
    }

    /// Lets time pass unseen.
    pub(super) fn sleep(&mut self, time: Duration) {
        self.advance_to(self.now.monotonic + time);
    }

    fn advance_to(&mut self, at: Duration) {
        let time = at.saturating_sub(self.now.monotonic);
        self.now.monotonic += time;
        self.now.unix_ms += time.as_millis() as u64;
    }

    pub(super) fn connect(&mut self, worker: &'static str, slots: u32) {
        self.connect_with(worker, slots, &[]);
    }

    /// A worker connects with tasks that run.
    pub(super) fn connect_with(&mut self, worker: &'static str, slots: u32, tasks: &[(&str, u64)]) {
        let connection = self.connections.keys().last().map_or(1, |last| last + 1);
        self.connections.insert(connection, worker);
        self.handle(Input::WorkerConnected {
            connection: ConnectionId(connection),
            welcome: Box::new(Welcome {
                worker_id: worker.parse().unwrap(),
                worker_type: "basic".to_owned(),
                protocol_version: PROTOCOL_VERSION,
                capabilities: Capabilities {
                    slots,
                    cpus: 2.0,
                    memory_bytes: 1000,
                    labels: BTreeMap::new(),
                },
                isolation: vec![Isolation::Strict],
                tasks: tasks.iter().map(|it| brief(it.0, it.1)).collect(),
                timestamp: 0,
            }),
        });
    }

    fn connection(&self, worker: &str) -> ConnectionId {
        let mut of_worker = self.connections.iter().rev().filter(|it| *it.1 == worker);
        ConnectionId(*of_worker.next().unwrap().0)
    }

    pub(super) fn disconnect(&mut self, worker: &str) {
        let connection = self.connection(worker);
        self.handle(Input::WorkerDisconnected(connection));
    }

    fn say(&mut self, worker: &str, message: FromWorker) {
        let connection = self.connection(worker);
        self.handle(Input::WorkerSaid(connection, Box::new(message)));
    }

    /// A worker lists what it holds.
    pub(super) fn heartbeat(&mut self, worker: &str) {
        let holds = |task: &&TaskRecord| {
            let holder = task.attempts.last().map(|it| it.worker_id.as_str());
            let held = matches!(task.state, TaskState::Leased | TaskState::Running);
            held && holder == Some(worker)
        };
        let briefs: Vec<TaskBrief> = (self.records.tasks.values().filter(holds))
            .map(|task| {
                brief(
                    task.id.as_str(),
                    task.attempts[task.attempts.len() - 1].fence.0,
                )
            })
            .collect();
        self.heartbeat_with(worker, briefs);
    }

    pub(super) fn heartbeat_with(&mut self, worker: &str, tasks: Vec<TaskBrief>) {
        let message = FromWorker::Heartbeat(Heartbeat {
            worker_id: worker.parse().unwrap(),
            timestamp: 0,
            status: WorkerStatus::Idle,
            health: Health::default(),
            current_task: None,
            tasks,
            draining: false,
        });
        self.say(worker, message);
    }

    pub(super) fn started(&mut self, worker: &str, task: &str, fence: u64) {
        let message = FromWorker::ExecutionStarted(ExecutionStarted {
            task_id: task.parse().unwrap(),
            worker_id: worker.parse().unwrap(),
            timestamp: 0,
            pid: None,
            attempt: None,
            fence: Some(Fence(fence)),
            exec_id: None,
            handle: None,
        });
        self.say(worker, message);
    }

    pub(super) fn complete(&mut self, worker: &str, task: &str, fence: u64, exit_code: i32) {
        self.ended(worker, task, fence, Outcome::Exited { code: exit_code });
    }

    /// An attempt ends in this way.
    pub(super) fn ended(&mut self, worker: &str, task: &str, fence: u64, outcome: Outcome) {
        let message = FromWorker::TaskComplete(Box::new(TaskComplete {
            task_id: task.parse().unwrap(),
            worker_id: worker.parse().unwrap(),
            exit_code: outcome.exit_code().unwrap_or(1),
            timestamp: 0,
            verdict: Some(Verdict {
                outcome,
                incidents: Vec::new(),
                survivors: 0,
            }),
            usage: None,
            last_seq: None,
            duration_ms: None,
            attempt: None,
            fence: Some(Fence(fence)),
        }));
        self.say(worker, message);
    }

    /// A worker tells that an attempt hangs.
    pub(super) fn hangs(&mut self, worker: &str, task: &str, fence: u64, reason: BlockReason) {
        let (task_id, worker_id): (TaskId, WorkerId) =
            (task.parse().unwrap(), worker.parse().unwrap());
        let message = FromWorker::BlockDetected(Box::new(BlockDetected {
            task_id: task_id.clone(),
            worker_id: worker_id.clone(),
            block_info: BlockInfo {
                task_id,
                worker_id,
                reason,
                duration: 700,
                resource_usage: ResourceUsage::default(),
                recoverable: reason.is_recoverable(),
                evidence: vec!["thread 1 waits for thread 2".to_owned()],
            },
            timestamp: 0,
            fence: Some(Fence(fence)),
        }));
        self.say(worker, message);
    }

    /// The command of the newest attempt.
    pub(super) fn command(&self) -> &CommandRequest {
        let mut executed = self
            .sent
            .iter()
            .rev()
            .filter_map(|(_, message)| match message {
                ToWorker::ExecuteCommand(execute) => Some(&execute.command),
                _ => None,
            });
        executed.next().unwrap()
    }

    pub(super) fn error(&mut self, worker: &str, task: &str, fence: u64, code: &str) {
        let message = FromWorker::TaskError(TaskError {
            task_id: Some(task.parse().unwrap()),
            worker_id: worker.parse().unwrap(),
            error: code.to_owned(),
            code: Some(code.to_owned()),
            hint: None,
            timestamp: 0,
            verdict: None,
            last_seq: None,
            fence: Some(Fence(fence)),
        });
        self.say(worker, message);
    }

    pub(super) fn ask(&mut self, request: ClientRequest) -> Step {
        self.handle(Input::Request(ReplyId(1), request))
    }

    pub(super) fn cancel(&mut self, task: &str) {
        self.ask(ClientRequest::Cancel {
            task_id: task.parse().unwrap(),
            grace_period: None,
        });
    }

    pub(super) fn submit(&mut self, task: &str) -> Step {
        self.submit_with(task, |_| ())
    }

    pub(super) fn submit_with(
        &mut self,
        task: &str,
        change: impl FnOnce(&mut TaskRequest),
    ) -> Step {
        self.submit_as(task, Known::Fresh, change)
    }

    pub(super) fn submit_known(&mut self, task: &str, known: Known) {
        self.submit_as(task, known, |_| ());
    }

    fn submit_as(
        &mut self,
        task: &str,
        known: Known,
        change: impl FnOnce(&mut TaskRequest),
    ) -> Step {
        let mut request = TaskRequest {
            command: CommandRequest {
                command: Some("make".to_owned()),
                ..CommandRequest::default()
            },
            ..TaskRequest::default()
        };
        change(&mut request);
        self.ask(ClientRequest::Submit {
            task_id: task.parse().unwrap(),
            request: Box::new(request),
            submitter: "local".to_owned(),
            known,
        })
    }

    pub(super) fn stored(&self, task: &str) -> &TaskRecord {
        &self.records.tasks[task]
    }

    /// Commands that were sent.
    pub(super) fn executed(&self) -> Vec<(&str, &str, u64)> {
        self.told(|message| match message {
            ToWorker::ExecuteCommand(it) => Some((it.task_id.as_str(), it.fence)),
            _ => None,
        })
    }

    /// Attempts that workers were told to end.
    pub(super) fn terminated(&self) -> Vec<(&str, &str, u64)> {
        self.told(|message| match message {
            ToWorker::TerminateTask(it) => Some((it.task_id.as_str(), it.fence)),
            _ => None,
        })
    }

    /// Ends that workers may forget.
    pub(super) fn acknowledged(&self) -> Vec<(&str, &str, u64)> {
        self.told(|message| match message {
            ToWorker::Acknowledge(it) => Some((it.task_id.as_str(), Some(it.fence))),
            _ => None,
        })
    }

    fn told<'a>(
        &'a self,
        what: impl Fn(&'a ToWorker) -> Option<(&'a str, Option<Fence>)>,
    ) -> Vec<(&'a str, &'a str, u64)> {
        (self.sent.iter())
            .filter_map(|(worker, message)| {
                let (task, fence) = what(message)?;
                Some((*worker, task, fence?.0))
            })
            .collect()
    }
}
