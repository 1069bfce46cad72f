//! What is due because time has passed.

use cogo_protocol::task::TaskState;
use cogo_protocol::worker::WorkerId;

use super::Coordinator;
use super::task::{EndingReason, Stage};
use super::tasks::Ending;
use super::timers::Subject;
use super::worker::{Link, Phase};
use crate::rules::queue::TaskNumber;

impl Coordinator {
    /// Handles everything whose time has come.
    pub(super) fn handle_due(&mut self) {
        while let Some(subject) = self.timers.pop_due(self.now.monotonic) {
            match subject {
                Subject::Task(number) => self.task_due(number),
                Subject::Worker(id) => self.worker_due(&id),
                Subject::Pool => self.pool_due(),
            }
        }
    }

    fn task_due(&mut self, number: TaskNumber) {
        let now = self.now.monotonic;
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        task.timer = None;
        match &task.stage {
            Stage::Waiting { .. } => {
                let error = match task.record.request.queue_timeout {
                    Some(waited) => format!("waited {waited} ms for a worker"),
                    None => "no other worker came in the time for recovery".to_owned(),
                };
                let ending = Ending {
                    error: Some(error),
                    ..Ending::default()
                };
                self.finish(number, TaskState::TimedOut, ending);
            }
            Stage::Pausing { .. } => self.enqueue(number),
            Stage::Held(lease) if lease.ending.is_some_and(|ending| ending.give_up_at <= now) => {
                let why = format!(
                    "worker `{}` was told to end it and did not say that it has ended",
                    lease.worker_id
                );
                self.take_from_hung(number, why);
            }
            Stage::Held(_) if task.is_running() => {
                self.begin_ending(number, EndingReason::Deadline, None);
            }
            Stage::Held(lease) => {
                let why = format!("worker `{}` never said that it started it", lease.worker_id);
                self.take_from_hung(number, why);
            }
        }
    }

    fn worker_due(&mut self, id: &WorkerId) {
        let now = self.now.monotonic;
        let (lease, forget) = (self.config.lease, self.config.worker_forget);
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.timer = None;
        if worker.paused_until.is_some_and(|until| until <= now) {
            worker.paused_until = None;
            self.freed.insert(id.clone());
        }
        let silent_since = worker.heard_at;
        let (link, phase) = (worker.link, worker.phase());
        if worker.lost_at(lease).is_some_and(|at| at <= now) {
            self.worker_lost(id);
        } else if link == Link::Lost && phase.is_none() && silent_since + forget <= now {
            return self.remove_worker(id, "it was away for too long");
        }
        match phase {
            Some(Phase::Starting { by }) if by <= now => self.process_never_connected(id),
            Some(Phase::Restarting { at }) if at <= now => self.process_start(id),
            Some(Phase::Stopping { kill_at }) if kill_at <= now => self.process_kill(id),
            Some(
                Phase::Starting { .. }
                | Phase::Restarting { .. }
                | Phase::Stopping { .. }
                | Phase::Up
                | Phase::Inherited
                | Phase::GivenUp,
            )
            | None => (),
        }
        self.rerank(id);
        self.arm_worker(id);
    }
}
