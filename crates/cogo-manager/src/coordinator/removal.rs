//! How workers go.

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::ToWorker;
use cogo_protocol::task::TaskState;
use cogo_protocol::worker::WorkerId;
use cogo_store::{AttemptEnd, Change};

use super::Coordinator;
use super::attempts::{RoomAfter, Unanswered};
use super::effect::Effect;
use super::tasks::Ending;
use super::timers::Subject;
use super::worker::{Phase, Worker};
use crate::rules::queue::TaskNumber;

impl Coordinator {
    /// A client wants a worker gone: when it has no task any more, or now.
    pub(super) fn remove_on_request(&mut self, id: &WorkerId, force: bool) {
        self.retire(id, "it was removed on request");
        if force {
            self.take_back_all(id);
            self.depart(id, true);
        }
    }

    /// Gives a worker no more tasks, and lets it go when it has none.
    pub(super) fn retire(&mut self, id: &WorkerId, why: &str) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.removal.get_or_insert_with(|| why.to_owned());
        }
        self.freed.insert(id.clone());
        self.thinned = true;
        self.rerank(id);
    }

    /// Does what may help against the blocks that a worker has told of. Of one that has told of
    /// none, takes the tasks back and queues them anew; restarts it if it is local.
    pub(super) fn recover_worker(&mut self, id: &WorkerId) {
        if self.recover_blocked(id) {
            return;
        }
        self.take_back_all(id);
        self.process_restart(id);
        self.arm_worker(id);
    }

    fn take_back_all(&mut self, id: &WorkerId) {
        let held: Vec<TaskNumber> = (self.workers.get(id).into_iter())
            .flat_map(|worker| worker.held.keys().copied())
            .collect();
        for number in held {
            let why = format!("taken back from worker `{id}` on request");
            self.take_away(number, AttemptEnd::TakenBack, why);
        }
    }

    /// Gives up what a worker has, because it will not come back.
    pub(super) fn lose_all(&mut self, id: &WorkerId, how: &str) {
        let held: Vec<TaskNumber> = (self.workers.get(id).into_iter())
            .flat_map(|worker| worker.held.keys().copied())
            .collect();
        for number in held {
            let why = format!("worker `{id}` ended: {how}");
            let how = Unanswered::new(AttemptEnd::Lost, why);
            self.unanswered(number, RoomAfter::Free, &how);
        }
    }

    /// Lets a worker go that is to go and has no task.
    pub(super) fn depart_if_done(&mut self, id: &WorkerId) {
        let done =
            |worker: &Worker| worker.removal.is_some() && worker.held.is_empty() && !stops(worker);
        if self.workers.get(id).is_some_and(done) {
            self.depart(id, false);
        }
    }

    fn depart(&mut self, id: &WorkerId, force: bool) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        match worker.phase() {
            Some(Phase::Starting { .. } | Phase::Up | Phase::Stopping { .. }) => {
                self.process_stop(id, force);
            }
            Some(Phase::Inherited) => {
                self.process_stop(id, force);
                self.part_from(id);
            }
            Some(Phase::Restarting { .. } | Phase::GivenUp) | None => self.part_from(id),
        }
    }

    /// Says goodbye to a worker over its connection, if there is one, and forgets it.
    fn part_from(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let why = worker.removal.clone().unwrap_or_default();
        if let Some(connection) = worker.connection() {
            self.output.send(connection, ToWorker::Drain {});
            let close = Effect::Close(connection, why.clone());
            self.output.effects.push(close);
        }
        self.remove_worker(id, &why);
    }

    /// Forgets a worker. Tasks that it holds must have been taken back; those that wait for it
    /// alone fail.
    pub(super) fn remove_worker(&mut self, id: &WorkerId, why: &str) {
        let Some(mut worker) = self.workers.remove(id) else {
            return;
        };
        debug_assert!(worker.held.is_empty(), "a lease of nobody would never end");
        if let Some(place) = worker.rank.take() {
            self.no_longer_ready(&place);
        }
        if let Some(connection) = worker.connection() {
            self.connections.remove(&connection);
        }
        self.timers
            .set(&mut worker.timer, None, || Subject::Worker(id.clone()));
        self.output.changes.push(Change::WorkerDelete(id.clone()));
        self.announce(&ManagerEvent::WorkerRemoved {
            worker_id: id.clone(),
            reason: why.to_owned(),
        });
        for number in self.queue.pinned_to(id) {
            let ending = Ending {
                error: Some(format!("worker `{id}`, which it was for, was removed")),
                ..Ending::default()
            };
            self.finish(number, TaskState::Failed, ending);
        }
        self.thinned = true;
    }
}

fn stops(worker: &Worker) -> bool {
    match worker.phase() {
        Some(Phase::Stopping { .. }) => true,
        Some(
            Phase::Starting { .. }
            | Phase::Up
            | Phase::Inherited
            | Phase::Restarting { .. }
            | Phase::GivenUp,
        )
        | None => false,
    }
}
