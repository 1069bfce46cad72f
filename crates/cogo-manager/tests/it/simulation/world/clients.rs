//! Clients that want their tasks done, and ask again when they get no answer.

use std::time::Duration;

use cogo_manager::coordinator::{Answer, ClientRequest, Input, Known, ReplyId, RequestError};
use cogo_protocol::command::CommandRequest;
use cogo_protocol::exec::Limits;
use cogo_protocol::recovery::{AlternativeCommand, RecoveryRequest};
use cogo_protocol::task::{Priority, Requirements, TaskId, TaskRequest};

use super::super::checks::Broken;
use super::super::sabotage::Sabotage;
use super::{Event, World};

/// One client with one task.
#[derive(Debug)]
pub(super) struct Client {
    task_id: TaskId,
    request: TaskRequest,
    submitter: String,
    asked: u32,
    /// Whether it was told that the task is taken.
    accepted: bool,
    /// Whether it has given up.
    refused: bool,
    /// Submissions that were answered as new.
    new: u32,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    client: usize,
    /// Whether another request was sent under the name.
    differs: bool,
}

impl Client {
    pub(super) const fn task_id(&self) -> &TaskId {
        &self.task_id
    }

    pub(super) const fn is_accepted(&self) -> bool {
        self.accepted
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.accepted || self.refused
    }
}

impl World {
    pub(super) fn new_client(&mut self, index: usize) -> Client {
        let random = &mut self.random;
        let workers: Vec<_> = self.workers.keys().cloned().collect();
        let requirements = match random.below(8) {
            0 => Requirements {
                worker: random.pick(&workers).cloned(),
                ..Requirements::default()
            },
            1 => Requirements {
                kind: Some("basic".to_owned()),
                ..Requirements::default()
            },
            2 => Requirements {
                cpu: Some(2.0),
                memory: Some(1 << 29),
                ..Requirements::default()
            },
            _ => Requirements::default(),
        };
        let request = TaskRequest {
            command: CommandRequest {
                command: Some("make -j8".to_owned()),
                timeout: random.percent(10).then_some(5000),
                limits: Limits {
                    memory_bytes: random.percent(30).then_some(8 << 20),
                    ..Limits::default()
                },
                ..CommandRequest::default()
            },
            recovery: random.percent(50).then(|| RecoveryRequest {
                enabled: random.percent(90),
                attempts_max: [None, Some(1), Some(3)][random.below(3) as usize],
                time_max: Some(60_000),
                alternative: (random.percent(20))
                    .then(|| AlternativeCommand::Line("make slowly".to_owned())),
                failure_retries: random.below(3) as u32,
                ..RecoveryRequest::default()
            }),
            requirements,
            priority: Priority::try_from(random.below(10) as u8).expect("below 10"),
            attempts_max: [None, None, Some(1), Some(2)][random.below(4) as usize],
            queue_timeout: random.percent(10).then(|| random.below(20_000)),
            ..TaskRequest::default()
        };
        Client {
            task_id: format!("task-{index}").parse().expect("a short name"),
            request,
            submitter: ["a", "b", "c"][random.below(3) as usize].to_owned(),
            asked: 0,
            accepted: false,
            refused: false,
            new: 0,
        }
    }

    /// Submits, or submits again for no reason, or because nothing was answered.
    pub(super) fn client_acts(&mut self, index: usize) {
        let client = &self.clients[index];
        let again = Duration::from_secs(2) + self.random.millis(4000);
        if client.refused || (client.is_settled() && (self.calm || client.asked > 6)) {
            return;
        }
        self.at(self.now + again, Event::ClientActs(index));
        if self.manager.is_some() {
            self.submit(index);
        }
    }

    fn submit(&mut self, index: usize) {
        let differs = self.clients[index].accepted && self.random.percent(10);
        let known = self.look(index);
        let client = &mut self.clients[index];
        client.asked += 1;
        let mut request = client.request.clone();
        if differs {
            request.command.command = Some("make clean".to_owned());
        }
        self.reply_last += 1;
        let reply = Reply {
            client: index,
            differs,
        };
        self.replies.insert(self.reply_last, reply);
        let request = ClientRequest::Submit {
            task_id: client.task_id.clone(),
            request: Box::new(request),
            submitter: client.submitter.clone(),
            known,
        };
        let input = Box::new(Input::Request(ReplyId(self.reply_last), request));
        // Between the look and the submission much can happen.
        let within = if self.random.percent(20) { 6000 } else { 20 };
        let epoch = self.epoch;
        self.soon(within, Event::Arrives { epoch, input });
    }

    fn look(&mut self, index: usize) -> Known {
        let client = &self.clients[index];
        if self.setup.sabotage == Some(Sabotage::NoLook) {
            return Known::Fresh;
        }
        match self.durable.tasks.get(&client.task_id) {
            Some(record) => Known::Stored(Box::new(record.clone())),
            None => Known::Absent {
                looked_at: self.clock().monotonic,
            },
        }
    }

    pub(super) fn forget_replies(&mut self) {
        self.replies.clear();
    }

    pub(super) fn answered(&mut self, reply: u64, answer: Answer) -> Result<(), Broken> {
        let Some(reply) = self.replies.remove(&reply) else {
            return Ok(());
        };
        let client = &mut self.clients[reply.client];
        let name = client.task_id.clone();
        match answer {
            Answer::Submitted { task, new } => {
                if task.task_id != name || reply.differs {
                    return Err(format!("another task was taken for `{name}`"));
                }
                if !self.durable.tasks.contains_key(&name) {
                    return Err(format!("task `{name}` was accepted and not stored"));
                }
                client.accepted = true;
                client.new += u32::from(new);
                if client.new > 1 {
                    return Err(format!("task `{name}` was new twice"));
                }
            }
            Answer::LookAgain(_) => self.submit(reply.client),
            Answer::Refused(RequestError::TaskDiffers(_)) if reply.differs => (),
            Answer::Refused(RequestError::QueueFull { .. }) => (),
            Answer::Refused(RequestError::NoSuchWorker(_)) => client.refused = !client.accepted,
            other => return Err(format!("an odd answer for `{name}`: {other:?}")),
        }
        Ok(())
    }
}
