//! A store with the promises of `cogo_store::Store`: changes are ordered, all or none, and what is
//! not durable is gone after a crash.

use std::collections::BTreeMap;

use cogo_manager::coordinator::Restored;
use cogo_protocol::task::TaskId;
use cogo_protocol::worker::WorkerId;
use cogo_store::{Change, TaskRecord, WorkerRecord};

/// What was written, up to some point.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) tasks: BTreeMap<TaskId, TaskRecord>,
    pub(super) workers: BTreeMap<WorkerId, WorkerRecord>,
    pub(super) event_last: u64,
}

impl Records {
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::TaskPut(record) => {
                self.tasks.insert(record.id.clone(), (**record).clone());
            }
            Change::WorkerPut(record) => {
                self.workers.insert(record.id.clone(), (**record).clone());
            }
            Change::WorkerDelete(id) => {
                self.workers.remove(id);
            }
            Change::EventAppend(event) => {
                if event.number <= self.event_last {
                    let last = self.event_last;
                    return Err(format!("event {} comes after {last}", event.number));
                }
                self.event_last = event.number;
            }
            Change::TaskDelete(id) => return Err(format!("task `{id}` is deleted")),
            Change::EventsTrim(_)
            | Change::TokenPut(_)
            | Change::TokenDelete(_)
            | Change::JobPut(_)
            | Change::JobDelete(_) => (),
        }
        Ok(())
    }

    pub(super) fn restored(&self) -> Restored {
        let open = |task: &&TaskRecord| !task.state.is_final();
        Restored {
            tasks: self.tasks.values().filter(open).cloned().collect(),
            workers: self.workers.values().cloned().collect(),
            number_last: (self.tasks.values().map(|task| task.number).max()).unwrap_or(0),
            event_last: self.event_last,
        }
    }
}
