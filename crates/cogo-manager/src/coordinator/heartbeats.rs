//! What workers list in their heartbeats, against what is stored.
//!
//! A worker tells the end of an attempt over the connection that asked for its output. Of one that
//! nobody asked for, such as a late one that was told to end, only the list says that it is over.
//!
//! ```text
//!  lease taken away  listed as running  ─▶ keeps its room; told to end, killed after a while
//!                    anything else      ─▶ its room is free
//!  lease held        ended, twice       ─▶ its end was lost: asked for again
//!                    not listed, twice  ─▶ lost
//! ```
//!
//! Twice, because a list is older than what the worker has said since: it overtakes output and
//! ends on their way.

use std::collections::HashMap;

use cogo_protocol::message::{Heartbeat, TaskBrief, TerminateTask, ToWorker};
use cogo_protocol::task::{Fence, TaskId};
use cogo_protocol::worker::WorkerId;
use cogo_store::AttemptEnd;

use super::Coordinator;
use super::attempts::{RoomAfter, Unanswered};
use super::input::{AttemptKey, ConnectionId};
use super::task::Listed;
use crate::rules::queue::TaskNumber;

/// What a worker lists, by attempt.
type List<'a> = HashMap<(&'a TaskId, Fence), &'a TaskBrief>;

impl Coordinator {
    pub(super) fn heartbeat(
        &mut self,
        connection: ConnectionId,
        worker_id: &WorkerId,
        heartbeat: &Heartbeat,
    ) {
        if let Some(worker) = self.workers.get_mut(worker_id) {
            worker.status = heartbeat.status;
            worker.health = heartbeat.health;
        }
        self.blocks_told(worker_id, &heartbeat.tasks);
        self.reconcile(connection, worker_id, &heartbeat.tasks);
        self.rerank(worker_id);
    }

    fn reconcile(&mut self, connection: ConnectionId, id: &WorkerId, briefs: &[TaskBrief]) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        // Workers also send heartbeats when something changes, which may be often.
        let full = worker.reconciled_at + self.config.heartbeat / 2 <= self.now.monotonic;
        if !full && worker.leaving.is_empty() {
            return;
        }
        if full {
            worker.reconciled_at = self.now.monotonic;
        }
        let listed: List<'_> = (briefs.iter())
            .filter_map(|brief| Some(((&brief.task_id, brief.fence?), brief)))
            .collect();
        self.free_what_left(connection, id, &listed);
        if full {
            self.kill_what_lingers(connection, id);
            for brief in briefs {
                self.send_away_unless_held(connection, id, brief);
            }
            self.doubt_held(connection, id, &listed);
        }
    }

    /// Frees the room of attempts that are over and whose lease was taken away before.
    fn free_what_left(&mut self, connection: ConnectionId, id: &WorkerId, listed: &List<'_>) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let runs = |key: &AttemptKey| {
            (listed.get(&(&key.task_id, key.fence))).is_some_and(|brief| brief.running)
        };
        let over: Vec<AttemptKey> = (worker.leaving.keys())
            .filter(|key| !runs(key))
            .cloned()
            .collect();
        for key in &over {
            worker.leaving.remove(key);
        }
        if over.is_empty() {
            return;
        }
        self.gained_room(id);
        for AttemptKey { task_id, fence } in over {
            self.acknowledge(connection, task_id, Some(fence));
        }
    }

    /// Has attempts killed that were told to end and had their time.
    fn kill_what_lingers(&mut self, connection: ConnectionId, id: &WorkerId) {
        let now = self.now.monotonic;
        let kill_timeout = self.config.kill_timeout;
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        for (key, leaving) in &mut worker.leaving {
            if leaving.kill_at > now {
                continue;
            }
            leaving.kill_at = now + kill_timeout;
            let message = TerminateTask {
                task_id: key.task_id.clone(),
                grace_ms: Some(0),
                signal: None,
                fence: Some(key.fence),
            };
            self.output
                .send(connection, ToWorker::TerminateTask(message));
        }
    }

    /// Looks for attempts whose end, or whose loss, was not heard of.
    fn doubt_held(&mut self, connection: ConnectionId, id: &WorkerId, listed: &List<'_>) {
        let held: Vec<TaskNumber> = (self.workers.get(id).into_iter())
            .flat_map(|worker| worker.held.keys().copied())
            .collect();
        for number in held {
            let Some(task) = self.tasks.get_mut(&number) else {
                continue;
            };
            // What was not heard to run may not have been heard of there, and has a clock.
            let Some(fence) = task.fence_of(id).filter(|_| task.is_running()) else {
                continue;
            };
            let now = match listed.get(&(&task.record.id, fence)) {
                Some(brief) if brief.running => Listed::Running,
                Some(_) => Listed::Ended,
                None => Listed::Not,
            };
            let Some(lease) = task.lease_mut() else {
                continue;
            };
            let before = std::mem::replace(&mut lease.listed, now);
            match (before, now) {
                (Listed::Ended, Listed::Ended) => self.ask_for_output(connection, number),
                (Listed::Not, Listed::Not) => {
                    let why = format!("worker `{id}` does not have it any more");
                    let how = Unanswered::new(AttemptEnd::Lost, why);
                    self.unanswered(number, RoomAfter::Free, &how);
                }
                (Listed::Running | Listed::Ended | Listed::Not, _) => (),
            }
        }
    }
}
