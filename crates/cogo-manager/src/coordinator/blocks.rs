//! Tasks that hang, as their workers tell of them.

use cogo_protocol::message::{BlockDetected, BlockReport, DetectBlock, TaskBrief, ToWorker};
use cogo_protocol::worker::WorkerId;

use super::Coordinator;
use super::effect::{Answer, RequestError};
use super::input::{ConnectionId, ReplyId};
use super::worker::Worker;

impl Coordinator {
    /// A worker tells of a block. After a lost connection it does so again.
    pub(super) fn block(&mut self, worker_id: &WorkerId, block: BlockDetected) {
        let Some(&number) = self.numbers.get(&block.task_id) else {
            return;
        };
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let held = task.fence_of(worker_id);
        if block.fence.is_some() && block.fence != held {
            return;
        }
        let Some(lease) = (task.lease_mut()).filter(|lease| lease.worker_id == *worker_id) else {
            return;
        };
        let told = block.block_info;
        match &mut lease.block {
            Some(known) if known.reason == told.reason => {
                known.duration = told.duration;
                known.resource_usage = told.resource_usage;
                known.evidence = told.evidence;
            }
            Some(_) | None => self.hangs(number, worker_id, told),
        }
    }

    /// Notes which tasks of a worker hang no more, by what its heartbeat lists.
    pub(super) fn blocks_told(&mut self, worker_id: &WorkerId, tasks: &[TaskBrief]) {
        for brief in tasks.iter().filter(|brief| brief.blocked.is_none()) {
            let Some(&number) = self.numbers.get(&brief.task_id) else {
                continue;
            };
            let Some(task) = self.tasks.get_mut(&number) else {
                continue;
            };
            let is_current = task.fence_of(worker_id) == brief.fence;
            // What is being ended does not hang any more, and its end is still to be told apart from
            // one that somebody asked for.
            let lease = task.lease_mut().filter(|_| is_current);
            if let Some(lease) = lease.filter(|lease| lease.ending.is_none()) {
                lease.block = None;
            }
        }
    }

    /// Has a worker look closely at what it runs. The answer goes back when it has.
    pub(super) fn examine(
        &mut self,
        reply: ReplyId,
        worker_id: &WorkerId,
    ) -> Result<(), RequestError> {
        let worker = self.workers.get(worker_id);
        let worker = worker.ok_or_else(|| RequestError::NoSuchWorker(worker_id.clone()))?;
        let connection = Worker::connection(worker).ok_or_else(|| away(worker_id))?;
        self.examinations.insert(reply, connection);
        let request = DetectBlock {
            task_id: None,
            request_id: Some(reply.0),
        };
        self.output.send(connection, ToWorker::DetectBlock(request));
        Ok(())
    }

    /// A worker has looked.
    pub(super) fn examined(&mut self, connection: ConnectionId, report: BlockReport) {
        let Some(reply) = report.request_id.map(ReplyId) else {
            return;
        };
        // Only who was asked answers.
        if self.examinations.get(&reply) == Some(&connection) {
            self.examinations.remove(&reply);
            self.output
                .reply(reply, Answer::BlockReport(Box::new(report)));
        }
    }

    /// Answers for workers that went away before they did.
    pub(super) fn end_examinations(&mut self) {
        let connections = &self.connections;
        let gone = (self.examinations)
            .extract_if(.., |_, connection| !connections.contains_key(connection));
        for (reply, _) in gone {
            let error = RequestError::NotApplicable("the worker has disconnected".to_owned());
            self.output.reply(reply, Answer::Refused(error));
        }
    }
}

fn away(worker_id: &WorkerId) -> RequestError {
    RequestError::NotApplicable(format!("worker `{worker_id}` is not connected"))
}
