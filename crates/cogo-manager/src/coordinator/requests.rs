//! Clients' requests.

use cogo_protocol::task::{TaskId, TaskStatus};
use cogo_protocol::worker::{CreateWorker, WorkerId, WorkerInfo};
use cogo_store::Change;

use super::Coordinator;
use super::effect::{Answer, PoolHealth, RequestError};
use super::input::{ClientRequest, ReplyId};
use super::task::{Stage, task_status};
use super::worker::{Phase, Worker};
use crate::rules::queue::TaskNumber;

/// How far into the queue a single task's place is looked for.
const POSITION_MAX: usize = 256;

impl Coordinator {
    pub(super) fn request(&mut self, reply: ReplyId, request: ClientRequest) {
        let answer = match request {
            ClientRequest::Submit {
                task_id,
                request,
                submitter,
                known,
            } => return self.submit(reply, task_id, *request, submitter, &known),
            ClientRequest::Cancel {
                task_id,
                grace_period,
            } => self.cancel(&task_id, grace_period),
            ClientRequest::Task(task_id) => self.show_task(&task_id),
            ClientRequest::TaskConnection(task_id) => self.show_connection(&task_id),
            ClientRequest::Queue { limit } => Ok(self.show_queue(limit)),
            ClientRequest::Workers => Ok(Answer::Workers(
                self.workers.values().map(|it| self.info(it)).collect(),
            )),
            ClientRequest::Worker(id) => self.show_worker(&id),
            ClientRequest::WorkerCreate(request) => self.create_worker(request),
            ClientRequest::WorkerRemove { worker_id, force } => {
                self.with_worker(&worker_id, |it, id| it.remove_on_request(id, force))
            }
            ClientRequest::WorkerDrain {
                worker_id,
                draining,
            } => self.with_worker(&worker_id, |it, id| it.drain(id, draining)),
            ClientRequest::WorkerRecover(worker_id) => {
                self.with_worker(&worker_id, Self::recover_worker)
            }
            ClientRequest::DetectBlock(worker_id) => match self.examine(reply, &worker_id) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            ClientRequest::Health => Ok(Answer::Health(self.health())),
            ClientRequest::Drain => {
                self.draining = true;
                Ok(Answer::Done)
            }
        };
        self.output
            .reply(reply, answer.unwrap_or_else(Answer::Refused));
    }

    /// How the manager is doing.
    pub fn health(&self) -> PoolHealth {
        let count = |test: fn(&Worker) -> bool| self.workers.values().filter(|it| test(it)).count();
        PoolHealth {
            queued: self.queued(),
            running: self.running,
            workers_connected: count(|it| it.connection().is_some()),
            workers: self.workers.len(),
            workers_given_up: count(|it| it.phase() == Some(Phase::GivenUp)),
        }
    }

    /// Tasks that wait, those that pause before they are tried again included.
    pub(super) fn queued(&self) -> usize {
        self.tasks.len() - self.running
    }

    pub(super) fn number(&self, task_id: &TaskId) -> Result<TaskNumber, RequestError> {
        (self.numbers.get(task_id).copied())
            .ok_or_else(|| RequestError::NoSuchTask(task_id.clone()))
    }

    fn show_task(&self, task_id: &TaskId) -> Result<Answer, RequestError> {
        let number = self.number(task_id)?;
        let task = &self.tasks[&number];
        let mut status = task_status(&task.record);
        status.block = task
            .lease()
            .and_then(|lease| lease.block.as_deref().cloned());
        if let Stage::Waiting { .. } = self.tasks[&number].stage {
            let order = self.queue.order(self.now.monotonic, POSITION_MAX);
            status.queue_position = order.iter().position(|it| *it == number);
        }
        Ok(Answer::Task(Box::new(status)))
    }

    fn show_connection(&self, task_id: &TaskId) -> Result<Answer, RequestError> {
        let task = &self.tasks[&self.number(task_id)?];
        let not_now = || RequestError::NotApplicable(format!("task `{task_id}` does not run"));
        let worker_id = &task.lease().ok_or_else(not_now)?.worker_id;
        let away = || RequestError::NotApplicable(format!("worker `{worker_id}` is not connected"));
        let connection = self.workers.get(worker_id).and_then(Worker::connection);
        Ok(Answer::TaskConnection {
            connection: connection.ok_or_else(away)?,
            fence: task.fence_of(worker_id).ok_or_else(not_now)?,
        })
    }

    fn show_queue(&self, limit: usize) -> Answer {
        let status = |(position, number): (usize, &TaskNumber)| TaskStatus {
            queue_position: Some(position),
            ..task_status(&self.tasks[number].record)
        };
        let order = self.queue.order(self.now.monotonic, limit);
        Answer::Queue {
            tasks: order.iter().enumerate().map(status).collect(),
            total: self.queued(),
        }
    }

    fn show_worker(&self, id: &WorkerId) -> Result<Answer, RequestError> {
        let worker = self.workers.get(id);
        let worker = worker.ok_or_else(|| RequestError::NoSuchWorker(id.clone()))?;
        Ok(Answer::Worker(Box::new(self.info(worker))))
    }

    fn info(&self, worker: &Worker) -> WorkerInfo {
        let name = |number: &TaskNumber| self.tasks[number].record.id.clone();
        worker.info(worker.held.keys().map(name).collect())
    }

    fn create_worker(&mut self, request: CreateWorker) -> Result<Answer, RequestError> {
        let limit = self.config.pool.max;
        if self.pool_size() >= limit {
            return Err(RequestError::PoolFull { limit });
        }
        let id = self.pool_start(request);
        self.show_worker(&id)
    }

    fn with_worker(
        &mut self,
        id: &WorkerId,
        act: impl FnOnce(&mut Self, &WorkerId),
    ) -> Result<Answer, RequestError> {
        if !self.workers.contains_key(id) {
            return Err(RequestError::NoSuchWorker(id.clone()));
        }
        act(self, id);
        Ok(Answer::Done)
    }

    fn drain(&mut self, id: &WorkerId, draining: bool) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.record.draining = draining;
        let record = Box::new(worker.record.clone());
        self.output.changes.push(Change::WorkerPut(record));
        self.rerank(id);
    }
}
