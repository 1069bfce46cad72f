//! How tasks come and how they end.

use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::task::{TaskId, TaskRequest, TaskState};
use cogo_protocol::verdict::{Usage, Verdict};
use cogo_store::{Change, TaskRecord};

use super::Coordinator;
use super::effect::{Answer, RequestError};
use super::input::{Known, ReplyId};
use super::ladder::patience;
use super::task::{EndingReason, Stage, Task, task_status};
use super::timers::Subject;
use crate::rules::demand::Demand;
use crate::rules::queue::{Place, TaskNumber, Ticket};

/// How a task ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) exit_code: Option<i32>,
    pub(super) verdict: Option<Verdict>,
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<String>,
}

impl Coordinator {
    pub(super) fn submit(
        &mut self,
        reply: ReplyId,
        task_id: TaskId,
        mut request: TaskRequest,
        submitter: String,
        known: &Known,
    ) {
        request.task_id = Some(task_id.clone());
        if let Some(answer) = self.recognise(&task_id, &request, known) {
            return self.output.reply(reply, answer);
        }
        if let Err(error) = self.check(&request) {
            return self.output.reply(reply, Answer::Refused(error));
        }
        let number = self.take(task_id, request, submitter);
        // A free worker gets it now, so that the answer says so and one commit holds both.
        self.assign();
        let task = Box::new(task_status(&self.tasks[&number].record));
        let answer = Answer::Submitted { task, new: true };
        self.output.reply(reply, answer);
    }

    /// The answer to a submission whose name was used before, or may have been.
    fn recognise(
        &mut self,
        task_id: &TaskId,
        request: &TaskRequest,
        known: &Known,
    ) -> Option<Answer> {
        let now = self.now.monotonic;
        let record = if let Some(number) = self.numbers.get(task_id) {
            &self.tasks[number].record
        } else {
            match known {
                Known::Fresh => return None,
                Known::Absent { looked_at } => {
                    let too_old = *looked_at + self.config.remember_ended < now;
                    let unsure = too_old || self.ended.contains(task_id);
                    return unsure.then(|| Answer::LookAgain(task_id.clone()));
                }
                // It was open then and has ended since.
                Known::Stored(record) if !record.state.is_final() => {
                    return Some(Answer::LookAgain(task_id.clone()));
                }
                Known::Stored(record) => record,
            }
        };
        self.counters.repeated += 1;
        Some(if record.request == *request {
            Answer::Submitted {
                task: Box::new(task_status(record)),
                new: false,
            }
        } else {
            Answer::Refused(RequestError::TaskDiffers(task_id.clone()))
        })
    }

    fn check(&mut self, request: &TaskRequest) -> Result<(), RequestError> {
        let invalid = |text: String| Err(RequestError::Invalid(text));
        if let Err(error) = request.command.argv() {
            return invalid(error.to_string());
        }
        if request.attempts_max == Some(0) {
            return invalid("`attemptsMax` is 0; a task needs one attempt at least".to_owned());
        }
        let cpu = request.requirements.cpu;
        if cpu.is_some_and(|cores| !(0.0..=1e6).contains(&cores)) {
            return invalid("`requirements.cpu` is no number of cores".to_owned());
        }
        if let Some(pinned) = &request.requirements.worker
            && !self.workers.contains_key(pinned)
        {
            return Err(RequestError::NoSuchWorker(pinned.clone()));
        }
        let limit = self.config.queue_bound;
        if self.queued() >= limit {
            self.counters.queue_full += 1;
            return Err(RequestError::QueueFull { limit });
        }
        Ok(())
    }

    /// Takes a new task in.
    fn take(&mut self, task_id: TaskId, request: TaskRequest, submitter: String) -> TaskNumber {
        self.number_last += 1;
        self.counters.submitted += 1;
        let number = self.number_last;
        self.announce(&ManagerEvent::TaskQueued {
            task_id: task_id.clone(),
            priority: request.priority,
            submitter: submitter.clone(),
        });
        let record = TaskRecord {
            id: task_id,
            request,
            submitter,
            number,
            state: TaskState::Queued,
            cancel_requested: false,
            attempts: Vec::new(),
            recoveries: Vec::new(),
            exit_code: None,
            verdict: None,
            usage: None,
            error: None,
            created_at_ms: self.now.unix_ms,
            started_at_ms: None,
            ended_at_ms: None,
        };
        self.keep(record, Duration::ZERO);
        self.output.changed.insert(number);
        self.enqueue(number);
        number
    }

    /// Takes a task into memory that has waited for `waited`. It has no place yet.
    pub(super) fn keep(&mut self, record: TaskRecord, waited: Duration) {
        let aging = self.queue.aging();
        let now = self.now.monotonic;
        let number = record.number;
        self.numbers.insert(record.id.clone(), number);
        let task = Task {
            submitter: record.submitter.as_str().into(),
            ripe_at: aging.ripe_at(record.request.priority, now, waited),
            stage: Stage::Pausing { until: now },
            timer: None,
            record,
        };
        self.tasks.insert(number, Box::new(task));
    }

    /// Puts a task in the queue.
    pub(super) fn enqueue(&mut self, number: TaskNumber) {
        let now = self.now.monotonic;
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let place = Place {
            demand: Arc::new(Demand::of(&task.record)),
            submitter: Arc::clone(&task.submitter),
            ticket: Ticket {
                ripe_at: task.ripe_at,
                number,
            },
        };
        // In a line that others wait in already, nobody can be served: a worker that could have
        // done so would have.
        if self.queue.is_line_empty(&place.demand) {
            self.opened.insert(Arc::clone(&place.demand));
        }
        self.queue.enter(&place);
        let timeout = (task
            .record
            .request
            .queue_timeout
            .map(Duration::from_millis)
            .into_iter())
        .chain(patience(&task.record, self.now.unix_ms))
        .min();
        task.stage = Stage::Waiting {
            place,
            fails_at: timeout.map(|timeout| now + timeout),
        };
        self.arm_task(number);
    }

    pub(super) fn cancel(
        &mut self,
        task_id: &TaskId,
        grace_period: Option<Duration>,
    ) -> Result<Answer, RequestError> {
        let number = self.number(task_id)?;
        let Some(task) = self.tasks.get_mut(&number) else {
            return Err(RequestError::NoSuchTask(task_id.clone()));
        };
        task.record.cancel_requested = true;
        let record = if task.lease().is_some() {
            self.output.changed.insert(number);
            self.begin_ending(number, EndingReason::Cancel, grace_period);
            self.tasks[&number].record.clone()
        } else {
            self.finish(number, TaskState::Cancelled, Ending::default())
        };
        Ok(Answer::Task(Box::new(task_status(&record))))
    }

    /// Ends a task that no worker has. It leaves memory; the store has it from now on.
    pub(super) fn finish(
        &mut self,
        number: TaskNumber,
        state: TaskState,
        ending: Ending,
    ) -> TaskRecord {
        let mut task = self
            .tasks
            .remove(&number)
            .expect("the caller has just seen it");
        if let Stage::Waiting { place, .. } = &task.stage {
            self.queue.leave(place);
        }
        self.timers
            .set(&mut task.timer, None, || Subject::Task(number));
        let mut record = task.record;
        record.state = state;
        record.exit_code = ending.exit_code;
        record.verdict = ending.verdict;
        record.usage = ending.usage;
        record.error = ending.error;
        record.ended_at_ms = Some(self.now.unix_ms);
        self.announce(&ManagerEvent::TaskComplete {
            task_id: record.id.clone(),
            worker_id: (record.attempts.last()).map(|attempt| attempt.worker_id.clone()),
            state,
            exit_code: record.exit_code,
            verdict: record.verdict.clone(),
            usage: record.usage,
            error: record.error.clone(),
        });
        self.count_end(state);
        self.numbers.remove(&record.id);
        let keep = self.config.remember_ended;
        self.ended.note(&record.id, self.now.monotonic, keep);
        self.output.changed.remove(&number);
        let change = Change::TaskPut(Box::new(record.clone()));
        self.output.changes.push(change);
        record
    }

    fn count_end(&mut self, state: TaskState) {
        let counter = match state {
            TaskState::Succeeded => &mut self.counters.succeeded,
            TaskState::Failed => &mut self.counters.failed,
            TaskState::TimedOut => &mut self.counters.timed_out,
            TaskState::Blocked => &mut self.counters.blocked,
            TaskState::Cancelled => &mut self.counters.cancelled,
            TaskState::Lost => &mut self.counters.lost,
            TaskState::Queued | TaskState::Leased | TaskState::Running => return,
        };
        *counter += 1;
    }

    /// Sets a task's timer to when something is due.
    pub(super) fn arm_task(&mut self, number: TaskNumber) {
        if let Some(task) = self.tasks.get_mut(&number) {
            let due = task.due_at();
            self.timers
                .set(&mut task.timer, due, || Subject::Task(number));
        }
    }

    /// Tells everyone and keeps it.
    pub(super) fn announce(&mut self, event: &ManagerEvent) {
        self.output.event(event, self.now.unix_ms);
    }
}
