//! Collects what follows from one input.

use std::collections::BTreeSet;

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::ToWorker;
use cogo_store::{Change, EventRecord};

use super::effect::{Answer, Effect};
use super::input::{ConnectionId, ReplyId};
use crate::rules::queue::TaskNumber;

/// Everything that follows from the input at hand, while it is being handled.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// For the store, but for the tasks in `changed`.
    pub(super) changes: Vec<Change>,
    /// Open tasks whose record is not what the store has. Each is written once per step, however
    /// often it changed.
    pub(super) changed: BTreeSet<TaskNumber>,
    /// For the world.
    pub(super) effects: Vec<Effect>,
    /// The number of the latest event.
    pub(super) event_last: u64,
}

impl Output {
    pub(super) fn reply(&mut self, to: ReplyId, answer: Answer) {
        self.effects.push(Effect::Reply(to, answer));
    }

    pub(super) fn send(&mut self, to: ConnectionId, message: ToWorker) {
        self.effects.push(Effect::Send(to, Box::new(message)));
    }

    /// Tells everyone, and keeps it in the store.
    pub(super) fn event(&mut self, event: &ManagerEvent, unix_ms: u64) {
        let record = Box::new(self.record(event, unix_ms));
        self.changes.push(Change::EventAppend(record.clone()));
        self.effects.push(Effect::Publish(record));
    }

    /// Tells everyone who listens now.
    pub(super) fn passing_event(&mut self, event: &ManagerEvent, unix_ms: u64) {
        let record = Box::new(self.record(event, unix_ms));
        self.effects.push(Effect::Publish(record));
    }

    fn record(&mut self, event: &ManagerEvent, unix_ms: u64) -> EventRecord {
        self.event_last += 1;
        EventRecord {
            number: self.event_last,
            timestamp_ms: unix_ms,
            task_id: event.task_id().cloned(),
            worker_id: event.worker_id().cloned(),
            json: serde_json::to_string(event).expect("an event has only string keys"),
        }
    }
}
