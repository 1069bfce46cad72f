//! A worker that keeps to the protocol, with a process that can die, hang and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cogo_manager::coordinator::ConnectionId;
use cogo_protocol::exec::Isolation;
use cogo_protocol::id::ExecId;
use cogo_protocol::message::{
    ExecuteCommand, ExecutionStarted, FromWorker, Heartbeat, PROTOCOL_VERSION, TaskBrief,
    TaskComplete, TaskError, ToWorker, Welcome, error_code,
};
use cogo_protocol::task::{Fence, TaskId};
use cogo_protocol::verdict::{Outcome, TimeoutClock, Verdict};
use cogo_protocol::worker::{Capabilities, Health, WorkerId, WorkerStatus};

use super::random::Random;

/// An attempt by its task and right.
pub(super) type Key = (TaskId, Fence);

/// One attempt on a worker.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) attempt: Option<u32>,
    /// When it ends by itself.
    pub(super) ends_at: Duration,
    /// How it ends, or has ended; nothing for an end that nobody sees.
    pub(super) outcome: Option<Outcome>,
    pub(super) running: bool,
}

/// What a worker's process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Up,
    /// It neither reads nor writes until then.
    Wedged(Duration),
    /// It is not there until then.
    Down(Duration),
    /// It will not come back.
    Gone,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) slots: u32,
    pub(super) local: bool,
    pub(super) process: Process,
    pub(super) connection: Option<ConnectionId>,
    pub(super) runs: BTreeMap<Key, Run>,
    /// What the present connection was asked to tell of. Nothing is told of anything else.
    pub(super) fed: BTreeSet<Key>,
    pub(super) draining: bool,
    /// How often it lost what it knew.
    pub(super) amnesia: u64,
    /// Whether everything goes well by now.
    pub(super) calm: bool,
    pub(super) heartbeat_at: Duration,
    pub(super) connect_at: Duration,
}

/// A program that takes longer than any test, and has to be ended.
const HANGS: Duration = Duration::from_secs(100_000);
/// Memory with which no program runs out of it.
const ENOUGH: u64 = 64 << 20;
/// The longest program when everything goes well.
const CALM_MAX: Duration = Duration::from_secs(2);

impl Worker {
    pub(super) fn new(id: WorkerId, slots: u32, local: bool, now: Duration) -> Self {
        Self {
            id,
            slots,
            local,
            process: Process::Up,
            connection: None,
            runs: BTreeMap::new(),
            fed: BTreeSet::new(),
            draining: false,
            amnesia: 0,
            calm: false,
            heartbeat_at: now,
            connect_at: now,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.process == Process::Up
    }

    pub(super) fn running(&self) -> usize {
        self.runs.values().filter(|run| run.running).count()
    }

    pub(super) fn welcome(&self) -> Welcome {
        Welcome {
            worker_id: self.id.clone(),
            worker_type: "basic".to_owned(),
            protocol_version: PROTOCOL_VERSION,
            capabilities: Capabilities {
                slots: self.slots,
                cpus: 4.0,
                memory_bytes: 1 << 30,
                labels: BTreeMap::new(),
            },
            isolation: vec![Isolation::Strict],
            tasks: self.briefs(),
            timestamp: 0,
        }
    }

    fn briefs(&self) -> Vec<TaskBrief> {
        (self.runs.iter())
            .map(|((task_id, fence), run)| TaskBrief {
                task_id: task_id.clone(),
                attempt: run.attempt,
                fence: Some(*fence),
                exec_id: ExecId::from_parts(fence.0, &[0; 10]),
                running: run.running,
                last_seq: 0,
                blocked: None,
            })
            .collect()
    }

    pub(super) fn heartbeat(&self) -> FromWorker {
        FromWorker::Heartbeat(Heartbeat {
            worker_id: self.id.clone(),
            timestamp: 0,
            status: match self.running() {
                0 => WorkerStatus::Idle,
                _ => WorkerStatus::Busy,
            },
            health: Health::default(),
            current_task: None,
            tasks: self.briefs(),
            draining: false,
        })
    }

    /// What it answers, and the attempt that it has started by this, if any.
    pub(super) fn hear(
        &mut self,
        message: &ToWorker,
        now: Duration,
        random: &mut Random,
    ) -> (Vec<FromWorker>, Option<Key>) {
        match message {
            ToWorker::ExecuteCommand(execute) => return self.execute(execute, now, random),
            ToWorker::TerminateTask(terminate) => {
                let fence = terminate.fence.expect("a manager names the fence");
                let key = (terminate.task_id.clone(), fence);
                let Some(run) = self.runs.get_mut(&key) else {
                    return (vec![self.error(&key, error_code::NO_SUCH_TASK)], None);
                };
                // Sometimes the kill does not work.
                if run.running && (self.calm || !random.percent(3)) {
                    run.ends_at = run.ends_at.min(now + random.millis(2000));
                    run.outcome = Some(Outcome::Cancelled);
                }
            }
            ToWorker::Acknowledge(acknowledge) => {
                let key = (acknowledge.task_id.clone(), acknowledge.fence);
                if self.runs.get(&key).is_some_and(|run| !run.running) {
                    self.runs.remove(&key);
                    self.fed.remove(&key);
                }
            }
            ToWorker::Attach(attach) => {
                let mut of_task = self.runs.keys().rev();
                let Some(key) = of_task.find(|key| key.0 == attach.task_id).cloned() else {
                    return (vec![self.no_such_task(&attach.task_id)], None);
                };
                self.fed.insert(key.clone());
                return (self.told(&key), None);
            }
            ToWorker::Drain {} => self.draining = true,
            ToWorker::SendInput(_)
            | ToWorker::Ping(_)
            | ToWorker::ResizePty(_)
            | ToWorker::SignalTask(_)
            | ToWorker::ListTasks {}
            | ToWorker::DetectBlock(_)
            | ToWorker::Joined(_) => (),
        }
        (Vec::new(), None)
    }

    fn execute(
        &mut self,
        execute: &ExecuteCommand,
        now: Duration,
        random: &mut Random,
    ) -> (Vec<FromWorker>, Option<Key>) {
        let fence = execute.fence.expect("a manager names the fence");
        let key = (execute.task_id.clone(), fence);
        if self.runs.contains_key(&key) {
            self.fed.insert(key.clone());
            return (self.told(&key), None);
        }
        let rival = |it: &Key| it.0 == key.0;
        if self.runs.keys().any(|it| rival(it) && it.1 > fence) {
            return (vec![self.error(&key, error_code::STALE_FENCE)], None);
        }
        if (self.runs.iter()).any(|(it, run)| rival(it) && run.running) {
            return (vec![self.error(&key, error_code::TASK_EXISTS)], None);
        }
        if self.draining {
            return (vec![self.error(&key, error_code::DRAINING)], None);
        }
        if self.running() >= self.slots as usize || (!self.calm && random.percent(1)) {
            return (vec![self.error(&key, error_code::AT_CAPACITY)], None);
        }
        if random.percent(1) {
            return (vec![self.error(&key, error_code::SANDBOX_FAILED)], None);
        }
        let (lasts, outcome) = draw(execute, random);
        let lasts = if self.calm {
            lasts.min(CALM_MAX)
        } else {
            lasts
        };
        let run = Run {
            attempt: execute.attempt,
            ends_at: now + lasts,
            outcome,
            running: true,
        };
        self.runs.insert(key.clone(), run);
        self.fed.insert(key.clone());
        (vec![self.started(&key)], Some(key))
    }

    /// What it says first of an attempt that it is asked to tell of.
    fn told(&self, key: &Key) -> Vec<FromWorker> {
        let mut told = vec![self.started(key)];
        if !self.runs[key].running {
            told.push(self.end_of(key));
        }
        told
    }

    fn started(&self, key: &Key) -> FromWorker {
        FromWorker::ExecutionStarted(ExecutionStarted {
            task_id: key.0.clone(),
            worker_id: self.id.clone(),
            timestamp: 0,
            pid: None,
            attempt: self.runs[key].attempt,
            fence: Some(key.1),
            exec_id: None,
            handle: None,
        })
    }

    /// What it says about an attempt that has ended.
    pub(super) fn end_of(&self, key: &Key) -> FromWorker {
        let run = &self.runs[key];
        let Some(outcome) = run.outcome.clone() else {
            return self.error(key, error_code::OUTCOME_UNKNOWN);
        };
        FromWorker::TaskComplete(Box::new(TaskComplete {
            task_id: key.0.clone(),
            worker_id: self.id.clone(),
            exit_code: outcome.exit_code().unwrap_or(1),
            timestamp: 0,
            verdict: Some(Verdict {
                outcome,
                incidents: Vec::new(),
                survivors: 0,
            }),
            usage: None,
            last_seq: Some(0),
            duration_ms: None,
            attempt: run.attempt,
            fence: Some(key.1),
        }))
    }

    fn no_such_task(&self, task_id: &TaskId) -> FromWorker {
        let code = error_code::NO_SUCH_TASK;
        FromWorker::TaskError(TaskError {
            task_id: Some(task_id.clone()),
            worker_id: self.id.clone(),
            error: code.replace('_', " "),
            code: Some(code.to_owned()),
            hint: None,
            timestamp: 0,
            verdict: None,
            last_seq: None,
            fence: None,
        })
    }

    fn error(&self, key: &Key, code: &str) -> FromWorker {
        FromWorker::TaskError(TaskError {
            task_id: Some(key.0.clone()),
            worker_id: self.id.clone(),
            error: code.replace('_', " "),
            code: Some(code.to_owned()),
            hint: None,
            timestamp: 0,
            verdict: None,
            last_seq: None,
            fence: Some(key.1),
        })
    }

    /// Ends what is due, and says which.
    pub(super) fn end_due(&mut self, now: Duration) -> Vec<Key> {
        let due = |(_, run): &(&Key, &mut Run)| run.running && run.ends_at <= now;
        (self.runs.iter_mut().filter(due))
            .map(|(key, run)| {
                run.running = false;
                key.clone()
            })
            .collect()
    }

    /// When it next does something by itself.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        let ends = (self.runs.values())
            .filter(|run| run.running && run.ends_at < HANGS)
            .map(|run| run.ends_at);
        let acts = match self.process {
            Process::Up if self.connection.is_some() => Some(self.heartbeat_at),
            Process::Up => Some(self.connect_at),
            Process::Wedged(until) | Process::Down(until) => Some(until),
            Process::Gone => None,
        };
        ends.chain(acts).min()
    }
}

/// How long a command runs, and how it ends. What has enough memory does not run out of it.
fn draw(execute: &ExecuteCommand, random: &mut Random) -> (Duration, Option<Outcome>) {
    let lasts = match random.below(20) {
        0 => HANGS,
        1..=3 => random.millis(40_000),
        _ => random.millis(2000),
    };
    let limit = execute.command.limits.memory_bytes.unwrap_or(1 << 20);
    let status = cogo_protocol::verdict::ExitStatus::Signaled { signal: 9 };
    let timed_out = |clock| Outcome::TimedOut {
        after_ms: 5000,
        clock,
    };
    let outcome = match random.below(24) {
        0 => None,
        1 | 2 => Some(Outcome::Exited { code: 1 }),
        3 | 4 if limit < ENOUGH => Some(Outcome::OutOfMemory {
            limit_bytes: limit,
            peak_bytes: limit,
            status,
        }),
        5 => Some(Outcome::PidsExhausted { limit: 9, status }),
        6 => Some(Outcome::DiskFull {
            limit_bytes: 9,
            status,
        }),
        7 => Some(timed_out(TimeoutClock::Silence)),
        8 => Some(timed_out(TimeoutClock::Wall)),
        9 => Some(Outcome::Signaled {
            signal: 9,
            core_dumped: false,
        }),
        _ => Some(Outcome::Exited { code: 0 }),
    };
    (lasts, outcome)
}
