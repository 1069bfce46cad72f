//! How attempts end.

use std::time::Duration;

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::{TaskComplete, TaskError, TerminateTask, ToWorker};
use cogo_protocol::recovery::{Cause, RecoveryRecord};
use cogo_protocol::task::{Fence, TaskState};
use cogo_protocol::verdict::{Outcome, Verdict};
use cogo_protocol::worker::WorkerId;
use cogo_store::AttemptEnd;

use super::Coordinator;
use super::input::AttemptKey;
use super::ladder::Ended;
use super::task::{Ending as TaskEnding, EndingReason, Lease, Stage};
use super::tasks::Ending;
use super::worker::{Leaving, Worker};
use crate::rules::demand::Demand;
use crate::rules::queue::TaskNumber;
use crate::rules::{retry, verdict};

/// An attempt that is over without an answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) end: AttemptEnd,
    /// Why, for a reader.
    pub(super) why: String,
    /// Sequence number after the last record of its output, where that is known.
    pub(super) log_end: Option<u64>,
    /// The worker's verdict, if it gave one.
    pub(super) verdict: Option<Verdict>,
    /// What the fault was.
    pub(super) cause: Cause,
}

impl Unanswered {
    pub(super) const fn new(end: AttemptEnd, why: String) -> Self {
        Self {
            end,
            why,
            log_end: None,
            verdict: None,
            cause: Cause::WorkerLost,
        }
    }

    /// The worker lives, and does not do what it is told.
    pub(super) fn hung(why: String) -> Self {
        Self {
            cause: Cause::WorkerHung,
            ..Self::new(AttemptEnd::Lost, why)
        }
    }

    /// As a worker tells it.
    pub(super) fn told(end: AttemptEnd, error: TaskError) -> Self {
        Self {
            end,
            why: error.error,
            log_end: error.last_seq,
            verdict: error.verdict,
            cause: match end {
                AttemptEnd::Unable => Cause::StartRefused,
                _ => Cause::Unknown,
            },
        }
    }
}

/// What becomes of the room that an attempt took on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoomAfter {
    /// The attempt is over, the room is free.
    Free,
    /// Its lease was taken away, and it may still run.
    Taken,
}

impl Coordinator {
    /// The command's own end is known.
    pub(super) fn answered(&mut self, number: TaskNumber, complete: TaskComplete) {
        let verdict = complete.verdict.unwrap_or_else(|| Verdict {
            outcome: Outcome::Exited {
                code: complete.exit_code,
            },
            incidents: Vec::new(),
            survivors: 0,
        });
        let circumstances = self.tasks[&number].circumstances();
        let Some(state) = verdict::final_state(&verdict.outcome, circumstances) else {
            return self.unanswered(
                number,
                RoomAfter::Free,
                &Unanswered {
                    end: AttemptEnd::Lost,
                    why: verdict.outcome.describe(),
                    log_end: complete.last_seq,
                    verdict: Some(verdict),
                    cause: Cause::Unknown,
                },
            );
        };
        let result = verdict.outcome.describe();
        let end = Ended {
            outcome: &verdict.outcome,
            usage: complete.usage,
            result: &result,
            log_end: complete.last_seq,
        };
        if self.tried_otherwise(number, &end) {
            return;
        }
        self.close_attempt(number, AttemptEnd::Answered, result, complete.last_seq);
        self.release(number, RoomAfter::Free);
        let ending = Ending {
            exit_code: Some(complete.exit_code),
            verdict: Some(verdict),
            usage: complete.usage,
            error: None,
        };
        self.finish(number, state, ending);
    }

    /// An attempt is over and the task has no answer: try again, or give up.
    pub(super) fn unanswered(&mut self, number: TaskNumber, room: RoomAfter, how: &Unanswered) {
        let circumstances = self.tasks[&number].circumstances();
        match how.end {
            AttemptEnd::Lost => self.counters.attempts_lost += 1,
            AttemptEnd::Refused => self.counters.attempts_refused += 1,
            AttemptEnd::Answered
            | AttemptEnd::Superseded
            | AttemptEnd::Unable
            | AttemptEnd::TakenBack => (),
        }
        self.close_attempt(number, how.end, how.why.clone(), how.log_end);
        self.release(number, room);
        let ending = Ending {
            exit_code: None,
            verdict: how.verdict.clone(),
            usage: None,
            error: Some(how.why.clone()),
        };
        if circumstances.cancel_requested {
            self.finish(number, TaskState::Cancelled, ending);
        } else if circumstances.deadline_passed {
            self.finish(number, TaskState::TimedOut, ending);
        } else {
            self.try_again(number, how, ending);
        }
    }

    fn try_again(&mut self, number: TaskNumber, how: &Unanswered, ending: Ending) {
        let task = &self.tasks[&number];
        let elsewhere =
            how.end == AttemptEnd::Unable && self.anyone_could_take(&Demand::of(&task.record));
        let next = retry::next(
            &task.record.attempts,
            task.record.request.attempts_max,
            elsewhere,
            self.config.retry,
        );
        let counts = matches!(how.end, AttemptEnd::Lost | AttemptEnd::Unable);
        match next {
            retry::Next::Again { after } if !counts => self.requeue(number, &how.why, after, None),
            retry::Next::Again { after } if self.moves_on(number, how, after) => {}
            retry::Next::Again { .. } | retry::Next::GiveUp => {
                self.quarantines(number, &how.cause);
                let state = match how.end {
                    AttemptEnd::Unable => TaskState::Failed,
                    AttemptEnd::Lost
                    | AttemptEnd::Answered
                    | AttemptEnd::Superseded
                    | AttemptEnd::Refused
                    | AttemptEnd::TakenBack => TaskState::Lost,
                };
                self.finish(number, state, ending);
            }
        }
    }

    /// The command cannot be run anywhere: that is an answer, too.
    pub(super) fn impossible(&mut self, number: TaskNumber, error: TaskError) {
        let result = error.error.clone();
        let outcome = (error.verdict.as_ref()).map(|verdict| verdict.outcome.clone());
        if let Some(outcome @ Outcome::NotStarted { .. }) = outcome {
            let end = Ended {
                outcome: &outcome,
                usage: None,
                result: &result,
                log_end: error.last_seq,
            };
            if self.tried_otherwise(number, &end) {
                return;
            }
        }
        self.close_attempt(number, AttemptEnd::Answered, result, error.last_seq);
        self.release(number, RoomAfter::Free);
        let ending = Ending {
            exit_code: (error.verdict.as_ref()).and_then(|verdict| verdict.outcome.exit_code()),
            verdict: error.verdict,
            usage: None,
            error: Some(error.error),
        };
        self.finish(number, TaskState::Failed, ending);
    }

    pub(super) fn requeue(
        &mut self,
        number: TaskNumber,
        why: &str,
        after: Duration,
        recovery: Option<Box<RecoveryRecord>>,
    ) {
        let until = self.now.monotonic + after;
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        task.record.state = TaskState::Queued;
        task.stage = Stage::Pausing { until };
        self.output.changed.insert(number);
        if let Some(attempt) = task.record.attempts.last() {
            let event = ManagerEvent::TaskRequeued {
                task_id: task.record.id.clone(),
                worker_id: attempt.worker_id.clone(),
                attempt: attempt.number,
                reason: why.to_owned(),
                recovery,
            };
            self.announce(&event);
        }
        if after.is_zero() {
            self.enqueue(number);
        } else {
            self.arm_task(number);
        }
    }

    pub(super) fn close_attempt(
        &mut self,
        number: TaskNumber,
        end: AttemptEnd,
        result: String,
        log_end: Option<u64>,
    ) {
        let ended_at_ms = self.now.unix_ms;
        if let Some(attempt) = (self.tasks.get_mut(&number)).and_then(|task| task.attempt_mut()) {
            attempt.end = Some(end);
            attempt.result = Some(result.clone());
            attempt.log_end = log_end;
            attempt.ended_at_ms = Some(ended_at_ms);
        }
        if end.counts() || end == AttemptEnd::Superseded {
            self.note_result(number, result);
        }
    }

    /// Ends the lease on a task. The task is left pausing, for the caller to decide on.
    pub(super) fn release(&mut self, number: TaskNumber, room: RoomAfter) {
        let now = self.now.monotonic;
        let (grace_period, kill_timeout) = (self.config.grace_period, self.config.kill_timeout);
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let pausing = Stage::Pausing { until: now };
        let Stage::Held(lease) = std::mem::replace(&mut task.stage, pausing) else {
            return;
        };
        self.running -= 1;
        self.queue.share_mut().stops(&task.submitter);
        let fence = (task.record.attempts.last()).map_or(Fence(0), |attempt| attempt.fence);
        let Some(worker) = self.workers.get_mut(&lease.worker_id) else {
            return;
        };
        worker.held.remove(&number);
        if room == RoomAfter::Taken && worker.connection().is_some() {
            let key = AttemptKey {
                task_id: task.record.id.clone(),
                fence,
            };
            let grace_period = (lease.ending).map_or(grace_period, |ending| ending.grace_period);
            let leaving = Leaving {
                room: lease.room,
                kill_at: now + grace_period + kill_timeout,
            };
            worker.leaving.insert(key, leaving);
        }
        self.gained_room(&lease.worker_id);
    }

    /// A worker has one attempt less.
    pub(super) fn gained_room(&mut self, worker_id: &WorkerId) {
        if let Some(worker) = self.workers.get_mut(worker_id) {
            if worker.held.is_empty() && worker.leaving.is_empty() {
                worker.idle_since.get_or_insert(self.now.monotonic);
            }
            // It was full, and is not any more.
            worker.paused_until = None;
        }
        self.freed.insert(worker_id.clone());
        self.rerank(worker_id);
    }

    /// Asks the holder of a lease to end the attempt, and sees to it that it does.
    pub(super) fn begin_ending(
        &mut self,
        number: TaskNumber,
        why: EndingReason,
        grace_period: Option<Duration>,
    ) {
        let default = self.config.grace_period;
        let kill_timeout = self.config.kill_timeout;
        let now = self.now.monotonic;
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let grace_period = (grace_period.or(task.grace_period())).unwrap_or(default);
        if let Some(lease) = task.lease_mut() {
            lease.ending = Some(TaskEnding {
                why,
                grace_period,
                give_up_at: now + grace_period + kill_timeout,
            });
        }
        self.send_terminate(number);
        self.arm_task(number);
    }

    /// Tells the holder of a lease to end the attempt.
    pub(super) fn send_terminate(&mut self, number: TaskNumber) {
        let task = &self.tasks[&number];
        let Some(Lease {
            worker_id, ending, ..
        }) = task.lease()
        else {
            return;
        };
        let connection = self.workers.get(worker_id).and_then(Worker::connection);
        let Some(connection) = connection else {
            return;
        };
        let message = TerminateTask {
            task_id: task.record.id.clone(),
            grace_ms: ending.map(|ending| ending.grace_period.as_millis() as u64),
            signal: None,
            fence: task.fence_of(worker_id),
        };
        self.output
            .send(connection, ToWorker::TerminateTask(message));
    }

    /// Takes a lease away from its holder, which is told to end the attempt.
    pub(super) fn take_away(&mut self, number: TaskNumber, end: AttemptEnd, why: String) {
        self.send_terminate(number);
        self.unanswered(number, RoomAfter::Taken, &Unanswered::new(end, why));
    }

    /// As [`Self::take_away`], because the holder does not do what it is told.
    pub(super) fn take_from_hung(&mut self, number: TaskNumber, why: String) {
        self.send_terminate(number);
        self.unanswered(number, RoomAfter::Taken, &Unanswered::hung(why));
    }
}
