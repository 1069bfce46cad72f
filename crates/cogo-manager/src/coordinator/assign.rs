//! Who gets what: tasks that wait meet workers with free slots.
//!
//! At the end of each step no worker with a free slot is left that could take a waiting task. So
//! only what has changed in the step is looked at: workers that got room, and lines that were
//! empty before.

use std::sync::Arc;

use cogo_protocol::message::{ExecuteCommand, ToWorker};
use cogo_protocol::task::TaskState;
use cogo_protocol::worker::WorkerId;
use cogo_store::{AttemptEnd, AttemptRecord};

use super::Coordinator;
use super::effect::{Effect, RelayOrder};
use super::memory::Warm;
use super::task::{Lease, Listed, Stage};
use super::worker::Worker;
use crate::rules::demand::Demand;
use crate::rules::lease;
use crate::rules::matching::{Class, Rank};
use crate::rules::queue::TaskNumber;
use crate::rules::recovery;

impl Coordinator {
    /// Gives what waits to whoever can take it.
    pub(super) fn assign(&mut self) {
        if self.draining {
            return;
        }
        if std::mem::take(&mut self.thinned) {
            self.reconsider_shunned();
        }
        while let Some(worker_id) = self.freed.pop_first() {
            self.fill(&worker_id);
            self.depart_if_done(&worker_id);
        }
        while let Some(demand) = self.opened.pop_first() {
            self.serve(&demand);
        }
    }

    /// A worker that lost a task gets it again when no other is left: look at those anew.
    fn reconsider_shunned(&mut self) {
        let shunned = (self.queue.lines())
            .flat_map(|(demand, _)| &demand.shunned)
            .filter(|id| self.is_ready(id))
            .cloned()
            .collect::<Vec<_>>();
        self.freed.extend(shunned);
    }

    fn is_ready(&self, id: &WorkerId) -> bool {
        (self.workers.get(id)).is_some_and(|worker| worker.rank.is_some())
    }

    /// Gives one worker tasks until it has enough.
    fn fill(&mut self, worker_id: &WorkerId) {
        while let Some(worker) = self.workers.get(worker_id)
            && worker.rank.is_some()
            && let Some(number) = (self.queue).best(worker_id, self.now.monotonic, |demand| {
                self.may_take(worker, demand)
            })
        {
            self.lease(number, worker_id);
        }
    }

    /// Gives one line's tasks to workers until there are none of either.
    fn serve(&mut self, demand: &Arc<Demand>) {
        while let Some(number) = self.queue.first_of(demand, self.now.monotonic)
            && let Some(worker_id) = self.choose(demand, number)
        {
            self.lease(number, &worker_id);
        }
    }

    /// The best worker for a task: the one that has its workspace warm, or the first by rank.
    fn choose(&self, demand: &Demand, number: TaskNumber) -> Option<WorkerId> {
        let able = |id: &&WorkerId| {
            (self.workers.get(*id))
                .is_some_and(|worker| worker.rank.is_some() && self.may_take(worker, demand))
        };
        if let Some(pinned) = &demand.pinned_to {
            return Some(pinned).filter(able).cloned();
        }
        let warm = Warm::key(&self.tasks[&number].record)
            .and_then(|key| self.warm.worker(&key))
            .filter(able);
        if let Some(warm) = warm {
            return Some(warm.clone());
        }
        (self.ready.iter())
            .filter(|(class, _)| class.suits(demand))
            .filter_map(|(_, ranks)| ranks.iter().find(|rank| able(&rank.worker())))
            .min()
            .map(|rank| rank.worker().clone())
    }

    /// Whether a ready worker may have a task now.
    fn may_take(&self, worker: &Worker, demand: &Demand) -> bool {
        let id = &worker.record.id;
        worker.offer().meets(demand)
            && !demand.excluded.contains(id)
            && (!demand.shunned.contains(id) || !self.other_could_take(demand))
    }

    /// Whether a worker takes part that could run a task some time and has not lost it before.
    fn other_could_take(&self, demand: &Demand) -> bool {
        (self.workers.values())
            .any(|worker| !demand.shunned.contains(&worker.record.id) && could_take(worker, demand))
    }

    /// Whether any worker that takes part could run a task.
    pub(super) fn anyone_could_take(&self, demand: &Demand) -> bool {
        (self.workers.values()).any(|worker| could_take(worker, demand))
    }

    /// Gives a waiting task to a ready worker.
    fn lease(&mut self, number: TaskNumber, worker_id: &WorkerId) {
        let now = self.now;
        let (Some(task), Some(worker)) =
            (self.tasks.get_mut(&number), self.workers.get_mut(worker_id))
        else {
            return;
        };
        let Stage::Waiting { place, .. } = &task.stage else {
            return;
        };
        self.queue.leave(place);
        self.queue.share_mut().starts(&task.submitter);
        let room = place.demand.room;
        worker.held.insert(number, room);
        worker.idle_since = None;
        self.running += 1;
        self.counters.leased += 1;

        let attempts = &mut task.record.attempts;
        let fence = lease::next(attempts.last().map(|attempt| attempt.fence));
        // An attempt that was refused gives its number to the next one.
        attempts.pop_if(|attempt| attempt.end == Some(AttemptEnd::Refused));
        attempts.push(AttemptRecord {
            number: attempts.last().map_or(0, |attempt| attempt.number) + 1,
            fence,
            worker_id: worker_id.clone(),
            exec_id: None,
            leased_at_ms: now.unix_ms,
            started_at_ms: None,
            ended_at_ms: None,
            end: None,
            result: None,
            log_end: None,
            output_missing: Vec::new(),
        });
        task.record.state = TaskState::Leased;
        task.stage = Stage::Held(Lease {
            worker_id: worker_id.clone(),
            room,
            check_at: None,
            ending: None,
            block: None,
            listed: Listed::Running,
        });
        if let Some(key) = Warm::key(&task.record) {
            self.warm.note(key, worker_id);
        }
        self.output.changed.insert(number);
        self.send_command(number);
        self.rerank(worker_id);
    }

    /// Tells the holder of a lease to run the task.
    pub(super) fn send_command(&mut self, number: TaskNumber) {
        let start_by = self.now.monotonic + self.config.start_timeout;
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let Some(lease) = task.lease_mut() else {
            return;
        };
        lease.check_at = Some(start_by);
        let connection = (self.workers.get(&lease.worker_id)).and_then(Worker::connection);
        if let (Some(connection), Some(attempt)) = (connection, task.record.attempts.last()) {
            let order = RelayOrder::Begin {
                task_id: task.record.id.clone(),
                fence: attempt.fence,
                attempt: attempt.number,
            };
            self.output.effects.push(Effect::Relay(connection, order));
            let command = ExecuteCommand {
                task_id: task.record.id.clone(),
                timestamp: self.now.unix_ms,
                command: recovery::command(&task.record.request, &task.record.recoveries),
                attempt: Some(attempt.number),
                fence: Some(attempt.fence),
            };
            self.output
                .send(connection, ToWorker::ExecuteCommand(Box::new(command)));
        }
        self.arm_task(number);
    }

    /// Puts a worker where its state says: among the ready ones, or not.
    pub(super) fn rerank(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if !worker.takes_part() {
            self.thinned = true;
        }
        let rank = worker.ready_rank();
        if rank == worker.rank {
            return;
        }
        let old = std::mem::replace(&mut worker.rank, rank.clone());
        if let Some(old) = &old {
            self.no_longer_ready(old);
        }
        if let Some((class, rank)) = rank {
            self.ready.entry(class).or_default().insert(rank);
            if old.is_none() {
                self.freed.insert(id.clone());
            }
        }
    }

    /// Takes a place among the ready workers away.
    pub(super) fn no_longer_ready(&mut self, (class, rank): &(Arc<Class>, Rank)) {
        if let Some(ranks) = self.ready.get_mut(class) {
            ranks.remove(rank);
            if ranks.is_empty() {
                self.ready.remove(class);
            }
        }
    }
}

/// Whether a worker could run a task when it has nothing else to do.
fn could_take(worker: &Worker, demand: &Demand) -> bool {
    worker.takes_part()
        && !demand.excluded.contains(&worker.record.id)
        && worker.whole_offer().meets(demand)
}
