//! What workers say.

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::{
    Acknowledge, ExecutionStarted, FromWorker, OutputCut, ProgressUpdate, TaskComplete, TaskError,
    TerminateTask, ToWorker,
};
use cogo_protocol::task::{Fence, MissingOutput, TaskId, TaskState};
use cogo_protocol::worker::WorkerId;
use cogo_store::AttemptEnd;

use super::Coordinator;
use super::attempts::{RoomAfter, Unanswered};
use super::input::{AttemptKey, ConnectionId};
use super::worker::Leaving;
use crate::rules::demand::Room;
use crate::rules::lease::{Standing, standing};
use crate::rules::queue::TaskNumber;
use crate::rules::retry::{Complaint, complaint};

impl Coordinator {
    pub(super) fn worker_said(&mut self, connection: ConnectionId, message: FromWorker) {
        // What comes over a connection that was given up is not heard.
        let Some(worker_id) = self.connections.get(&connection).cloned() else {
            return;
        };
        if let Some(worker) = self.workers.get_mut(&worker_id) {
            worker.heard_at = self.now.monotonic;
            worker.heard_at_ms = self.now.unix_ms;
        }
        match message {
            FromWorker::ExecutionStarted(started) => {
                self.started(connection, &worker_id, &started);
            }
            FromWorker::TaskComplete(complete) => self.complete(connection, &worker_id, *complete),
            FromWorker::TaskError(error) => self.error(connection, &worker_id, error),
            FromWorker::BlockDetected(block) => self.block(&worker_id, *block),
            FromWorker::BlockReport(report) => self.examined(connection, *report),
            FromWorker::ProgressUpdate(update) => self.progress(&worker_id, update),
            FromWorker::Heartbeat(heartbeat) => {
                self.heartbeat(connection, &worker_id, &heartbeat);
            }
            FromWorker::OutputCut(cut) => self.output_cut(&worker_id, &cut),
            FromWorker::Welcome(_)
            | FromWorker::TaskOutput(_)
            | FromWorker::Pong(_)
            | FromWorker::TaskList(_) => (),
        }
    }

    /// The task that a worker speaks of under its present lease.
    fn current(
        &self,
        worker_id: &WorkerId,
        task_id: &TaskId,
        fence: Option<Fence>,
    ) -> Option<TaskNumber> {
        let number = *self.numbers.get(task_id)?;
        let held = self.tasks[&number].fence_of(worker_id);
        (standing(held, fence) == Standing::Current).then_some(number)
    }

    fn started(
        &mut self,
        connection: ConnectionId,
        worker_id: &WorkerId,
        started: &ExecutionStarted,
    ) {
        let Some(number) = self.current(worker_id, &started.task_id, started.fence) else {
            self.counters.stale += 1;
            return self.send_away(connection, worker_id, &started.task_id, started.fence);
        };
        if self.tasks[&number].is_running() {
            return;
        }
        if let Some(attempt) = (self.tasks.get_mut(&number)).and_then(|task| task.attempt_mut()) {
            attempt.exec_id = started.exec_id;
        }
        self.runs(number);
    }

    /// An attempt is known to run from now on.
    pub(super) fn runs(&mut self, number: TaskNumber) {
        let now = self.now;
        let slack = self.config.deadline_slack;
        let default_grace = self.config.grace_period;
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        task.record.state = TaskState::Running;
        task.record.started_at_ms.get_or_insert(now.unix_ms);
        let Some(attempt) = task.attempt_mut() else {
            return;
        };
        attempt.started_at_ms = Some(now.unix_ms);
        let event = ManagerEvent::TaskStarted {
            worker_id: attempt.worker_id.clone(),
            attempt: attempt.number,
            task_id: task.record.id.clone(),
        };
        let grace = task.grace_period().unwrap_or(default_grace);
        let timeout = task.timeout();
        if let Some(lease) = task.lease_mut() {
            lease.check_at = timeout.map(|timeout| now.monotonic + timeout + grace + slack);
        }
        self.output.changed.insert(number);
        self.counters.started += 1;
        self.announce(&event);
        self.arm_task(number);
    }

    fn complete(&mut self, connection: ConnectionId, worker_id: &WorkerId, complete: TaskComplete) {
        let (task_id, fence) = (complete.task_id.clone(), complete.fence);
        match self.current(worker_id, &task_id, fence) {
            Some(number) => self.answered(number, complete),
            None => self.stale_end(worker_id, &task_id, fence),
        }
        self.acknowledge(connection, task_id, fence);
    }

    fn error(&mut self, connection: ConnectionId, worker_id: &WorkerId, error: TaskError) {
        let Some(task_id) = error.task_id.clone() else {
            return;
        };
        let fence = error.fence;
        let number = self.current(worker_id, &task_id, fence);
        let started = number.is_some_and(|number| self.tasks[&number].is_running());
        let complaint = complaint(error.code.as_deref(), started);
        if complaint == Complaint::Remark {
            return;
        }
        match number {
            Some(number) => self.complained(number, worker_id, complaint, error),
            None => self.stale_end(worker_id, &task_id, fence),
        }
        self.acknowledge(connection, task_id, fence);
    }

    /// The holder of a lease says that there is no answer.
    fn complained(
        &mut self,
        number: TaskNumber,
        worker_id: &WorkerId,
        complaint: Complaint,
        error: TaskError,
    ) {
        let end = match complaint {
            Complaint::Impossible => return self.impossible(number, error),
            Complaint::Remark => return,
            Complaint::Busy | Complaint::Drains | Complaint::Confused => AttemptEnd::Refused,
            Complaint::Unable => AttemptEnd::Unable,
            Complaint::Unknown => AttemptEnd::Lost,
        };
        self.unanswered(number, RoomAfter::Free, &Unanswered::told(end, error));
        let pause_until = self.now.monotonic + self.config.busy_pause;
        let Some(worker) = self.workers.get_mut(worker_id) else {
            return;
        };
        match complaint {
            // What has something else under that name gets nothing for a moment, so that the task
            // does not come back to it at once.
            Complaint::Busy | Complaint::Confused => worker.paused_until = Some(pause_until),
            Complaint::Drains => worker.refuses = true,
            Complaint::Unable | Complaint::Impossible | Complaint::Unknown | Complaint::Remark => {}
        }
        self.rerank(worker_id);
        self.arm_worker(worker_id);
    }

    /// An attempt has ended whose lease was taken away. What it says is not taken, but its room is
    /// free.
    fn stale_end(&mut self, worker_id: &WorkerId, task_id: &TaskId, fence: Option<Fence>) {
        self.counters.stale += 1;
        let Some(fence) = fence else {
            return;
        };
        let key = AttemptKey {
            task_id: task_id.clone(),
            fence,
        };
        let worker = self.workers.get_mut(worker_id);
        if worker.is_some_and(|worker| worker.leaving.remove(&key).is_some()) {
            self.gained_room(worker_id);
        }
    }

    /// Lets a worker forget an attempt that is over.
    pub(super) fn acknowledge(
        &mut self,
        connection: ConnectionId,
        task_id: TaskId,
        fence: Option<Fence>,
    ) {
        if let Some(fence) = fence {
            let message = Acknowledge { task_id, fence };
            self.output.send(connection, ToWorker::Acknowledge(message));
        }
    }

    /// Tells a worker to end an attempt that it has no right to.
    pub(super) fn send_away(
        &mut self,
        connection: ConnectionId,
        worker_id: &WorkerId,
        task_id: &TaskId,
        fence: Option<Fence>,
    ) {
        let Some(fence) = fence else {
            return;
        };
        let kill_at = self.now.monotonic + self.config.grace_period + self.config.kill_timeout;
        if let Some(worker) = self.workers.get_mut(worker_id) {
            let key = AttemptKey {
                task_id: task_id.clone(),
                fence,
            };
            let leaving = Leaving {
                room: Room::default(),
                kill_at,
            };
            worker.leaving.entry(key).or_insert(leaving);
        }
        let message = TerminateTask {
            task_id: task_id.clone(),
            grace_ms: None,
            signal: None,
            fence: Some(fence),
        };
        self.output
            .send(connection, ToWorker::TerminateTask(message));
        self.rerank(worker_id);
    }

    /// Output is gone. It is told on a connection at most once, but anew on each.
    fn output_cut(&mut self, worker_id: &WorkerId, cut: &OutputCut) {
        let Some(number) = self.current(worker_id, &cut.task_id, cut.fence) else {
            return;
        };
        let Some(attempt) = (self.tasks.get_mut(&number)).and_then(|task| task.attempt_mut())
        else {
            return;
        };
        let known = (attempt.output_missing.last()).map_or(0, |missing| missing.end_seq);
        if cut.first_seq >= known {
            attempt.output_missing.push(MissingOutput {
                first_seq: cut.first_seq,
                end_seq: cut.end_seq,
                bytes: cut.bytes,
            });
            self.output.changed.insert(number);
        }
    }

    fn progress(&mut self, worker_id: &WorkerId, update: ProgressUpdate) {
        let holds = (self.numbers.get(&update.task_id))
            .is_some_and(|number| self.tasks[number].fence_of(worker_id).is_some());
        if holds {
            let event = ManagerEvent::TaskProgress {
                task_id: update.task_id,
                worker_id: worker_id.clone(),
                progress: update.progress,
            };
            self.output.passing_event(&event, self.now.unix_ms);
        }
    }
}
