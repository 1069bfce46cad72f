//! Stored intent against observed fact: after a restart, when a worker comes back, when one is
//! silent for too long.
//!
//! ```text
//!  stored: lease with fence n   worker lists n         ─▶ adopted, its output asked for
//!                               lists it not, unheard  ─▶ told again, under the same fence
//!                               lists it not, ran      ─▶ lost
//!                               silent for a lease     ─▶ lost
//!  stored: anything else        worker lists n         ─▶ terminated, or acknowledged if ended
//! ```
//!
//! After a restart every lease runs for a full term from the start of the manager, since nobody
//! listened before.

use std::collections::HashMap;
use std::time::Duration;

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::TaskBrief;
use cogo_protocol::task::{TaskId, TaskState};
use cogo_protocol::worker::{CreateWorker, WorkerId};
use cogo_store::{AttemptEnd, TaskRecord, WorkerRecord};

use super::Coordinator;
use super::attempts::{RoomAfter, Unanswered};
use super::effect::{Effect, RelayOrder};
use super::input::{AttemptKey, ConnectionId};
use super::task::{Ending, EndingReason, Lease, Listed, Stage};
use super::worker::{Link, Phase, Process, Worker};
use crate::rules::backoff::Failures;
use crate::rules::demand::Demand;
use crate::rules::lease::{Return, on_return};
use crate::rules::queue::TaskNumber;

/// What is stored when the manager starts.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// All tasks that are not final.
    pub tasks: Vec<TaskRecord>,
    /// All workers.
    pub workers: Vec<WorkerRecord>,
    /// The highest [number](TaskRecord::number) of any task, final ones included.
    pub number_last: u64,
    /// The number of the newest event.
    pub event_last: u64,
}

impl Coordinator {
    /// Takes up what is stored.
    pub(super) fn restore(&mut self, restored: Restored) {
        for record in restored.workers {
            let process = record.local.then(|| Process {
                request: CreateWorker {
                    kind: Some(record.kind.clone()),
                    labels: record.capabilities.labels.clone(),
                },
                phase: Phase::Inherited,
                failures: Failures::default(),
            });
            let id = record.id.clone();
            let local = process.is_some();
            let worker = Worker::new(record, self.now.monotonic, process);
            self.workers.insert(id.clone(), worker);
            // Found if it runs, and else started: it has to take up what it left before its leases
            // run out.
            if local && self.config.pool.max > 0 {
                self.process_start(&id);
            }
            self.arm_worker(&id);
        }
        let mut tasks = restored.tasks;
        tasks.retain(|task| !task.state.is_final());
        tasks.sort_by_key(|task| task.number);
        for record in tasks {
            self.restore_task(record);
        }
    }

    fn restore_task(&mut self, record: TaskRecord) {
        let number = record.number;
        let state = record.state;
        self.number_last = self.number_last.max(number);
        // By the clock for people, which may have jumped: within what aging can make of it.
        let waited = Duration::from_millis(self.now.unix_ms.saturating_sub(record.created_at_ms));
        self.keep(record, waited.min(self.queue.aging().longest()));
        match state {
            TaskState::Queued => self.enqueue(number),
            TaskState::Leased | TaskState::Running => self.restore_lease(number),
            TaskState::Succeeded
            | TaskState::Failed
            | TaskState::TimedOut
            | TaskState::Blocked
            | TaskState::Cancelled
            | TaskState::Lost => (),
        }
    }

    /// Gives a stored lease a full term.
    fn restore_lease(&mut self, number: TaskNumber) {
        let now = self.now.monotonic;
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let Some(attempt) = task.record.attempts.last() else {
            task.record.state = TaskState::Queued;
            return self.enqueue(number);
        };
        let worker_id = attempt.worker_id.clone();
        let room = Demand::of(&task.record).room;
        let grace_period = task.grace_period().unwrap_or(self.config.grace_period);
        let check_in = if task.is_running() {
            (task.timeout()).map(|it| it + grace_period + self.config.deadline_slack)
        } else {
            Some(self.config.start_timeout)
        };
        let ending = task.record.cancel_requested.then(|| Ending {
            why: EndingReason::Cancel,
            grace_period,
            give_up_at: now + self.config.lease + grace_period + self.config.kill_timeout,
        });
        task.stage = Stage::Held(Lease {
            worker_id: worker_id.clone(),
            room,
            check_at: check_in.map(|it| now + it),
            ending,
            block: None,
            listed: Listed::Running,
        });
        self.running += 1;
        self.queue.share_mut().starts(&task.submitter);
        if let Some(worker) = self.workers.get_mut(&worker_id) {
            worker.held.insert(number, room);
            self.arm_task(number);
        } else {
            let why = format!("worker `{worker_id}` is not known any more");
            let how = Unanswered::new(AttemptEnd::Lost, why);
            self.unanswered(number, RoomAfter::Free, &how);
        }
    }

    /// Compares what is stored about a worker with the tasks that it lists as it comes (back).
    pub(super) fn returned(
        &mut self,
        connection: ConnectionId,
        id: &WorkerId,
        listed: &[TaskBrief],
    ) {
        // First what it has to end, so that its room is free for what it is told to start.
        for brief in listed {
            self.send_away_unless_held(connection, id, brief);
        }
        let listed: HashMap<&TaskId, &TaskBrief> =
            listed.iter().map(|brief| (&brief.task_id, brief)).collect();
        let held: Vec<TaskNumber> = (self.workers.get(id).into_iter())
            .flat_map(|worker| worker.held.keys().copied())
            .collect();
        for number in held {
            let task = &self.tasks[&number];
            let brief = listed.get(&task.record.id).copied();
            let Some(fence) = task.fence_of(id) else {
                continue;
            };
            match on_return(task.record.state, fence, brief) {
                Return::Adopt => self.adopt(connection, number, brief),
                Return::SendAgain => self.send_again(number),
                Return::Lost => {
                    let why = format!("worker `{id}` came back without it");
                    let how = Unanswered::new(AttemptEnd::Lost, why);
                    self.unanswered(number, RoomAfter::Free, &how);
                }
            }
        }
    }

    pub(super) fn send_away_unless_held(
        &mut self,
        connection: ConnectionId,
        id: &WorkerId,
        it: &TaskBrief,
    ) {
        let Some(fence) = it.fence else {
            return;
        };
        let number = self.numbers.get(&it.task_id);
        let held = number.and_then(|number| self.tasks[number].fence_of(id));
        if held == Some(fence) {
            return;
        }
        let key = AttemptKey {
            task_id: it.task_id.clone(),
            fence,
        };
        // It was told to, and takes its time.
        if (self.workers.get(id)).is_some_and(|worker| worker.leaving.contains_key(&key)) {
            return;
        }
        self.counters.stale += 1;
        if it.running {
            self.send_away(connection, id, &it.task_id, it.fence);
        } else {
            self.acknowledge(connection, it.task_id.clone(), it.fence);
        }
    }

    /// Goes on with an attempt that the worker has.
    fn adopt(&mut self, connection: ConnectionId, number: TaskNumber, brief: Option<&TaskBrief>) {
        self.counters.adopted += 1;
        if !self.tasks[&number].is_running() {
            self.runs(number);
        }
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let ending = task.lease().is_some_and(|lease| lease.ending.is_some());
        if let Some(lease) = task.lease_mut() {
            lease.listed = Listed::Running;
        }
        if let Some(attempt) = task.attempt_mut() {
            attempt.exec_id = brief.map(|brief| brief.exec_id).or(attempt.exec_id);
            self.output.changed.insert(number);
        }
        self.ask_for_output(connection, number);
        if ending {
            self.send_terminate(number);
        }
    }

    /// Has a worker asked for what the log of an attempt lacks. Its end comes behind that.
    pub(super) fn ask_for_output(&mut self, connection: ConnectionId, number: TaskNumber) {
        let record = &self.tasks[&number].record;
        if let Some(attempt) = record.attempts.last() {
            let order = RelayOrder::Resume {
                task_id: record.id.clone(),
                fence: attempt.fence,
                attempt: attempt.number,
            };
            self.output.effects.push(Effect::Relay(connection, order));
        }
    }

    /// Tells a worker again of an attempt that it has not heard of.
    fn send_again(&mut self, number: TaskNumber) {
        let circumstances = self.tasks[&number].circumstances();
        if circumstances.cancel_requested {
            let why = "cancelled before it was started".to_owned();
            let how = Unanswered::new(AttemptEnd::Refused, why);
            self.unanswered(number, RoomAfter::Free, &how);
        } else {
            self.send_command(number);
        }
    }

    /// A worker was silent for a whole lease: what it has is taken from it.
    pub(super) fn worker_lost(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let silent = self.now.monotonic.saturating_sub(worker.heard_at);
        let connection = worker.connection();
        worker.link = Link::Lost;
        worker.leaving.clear();
        let held: Vec<TaskNumber> = worker.held.keys().copied().collect();
        if let Some(connection) = connection {
            self.connections.remove(&connection);
            let why = format!("nothing was heard for {} ms", silent.as_millis());
            self.output.effects.push(Effect::Close(connection, why));
        }
        self.counters.workers_lost += 1;
        self.announce(&ManagerEvent::WorkerLost {
            worker_id: id.clone(),
            silent_ms: silent.as_millis() as u64,
        });
        for number in held {
            let why = format!(
                "worker `{id}` was lost: nothing was heard for {} ms",
                silent.as_millis()
            );
            let how = Unanswered::new(AttemptEnd::Lost, why);
            self.unanswered(number, RoomAfter::Free, &how);
        }
        self.thinned = true;
        self.rerank(id);
        self.process_of_lost(id);
    }
}
