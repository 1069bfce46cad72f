//! Local workers: how many there are, and that they stay alive.

use std::time::Duration;

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::worker::{Capabilities, CreateWorker, WorkerId};
use cogo_store::{Change, WorkerRecord};

use super::Coordinator;
use super::effect::Effect;
use super::timers::Subject;
use super::worker::{Phase, Process, Worker};
use crate::rules::backoff::Failures;
use crate::rules::demand::Demand;
use crate::rules::pool::{PoolChange, PoolView, change};

/// The type of a local worker that is to have none.
const DEFAULT_KIND: &str = "basic";

/// How often the pool's size is looked at.
const REVIEW_EVERY: Duration = Duration::from_millis(500);

/// What is known of the pool as a whole.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Since when tasks wait that a new local worker could take.
    waiting_since: Option<Duration>,
    /// When its timer fires.
    timer: Option<Duration>,
}

impl Coordinator {
    pub(super) fn pool_due(&mut self) {
        self.pool.timer = None;
        self.pool_review();
    }

    /// Looks at the pool's size and changes it if need be.
    pub(super) fn pool_review(&mut self) {
        if self.config.pool.max == 0 || self.draining {
            return;
        }
        let view = self.pool_view();
        match change(&self.config.pool, &view) {
            PoolChange::Start(more) => {
                for _ in 0..more {
                    let request = self.config.pool_worker.clone();
                    self.pool_start(request);
                }
            }
            PoolChange::StopIdle => {
                if let Some(id) = self.pool_idle().map(|worker| worker.record.id.clone()) {
                    self.retire(&id, "it was idle");
                }
            }
            PoolChange::Keep => (),
        }
        let next = Some(self.now.monotonic + REVIEW_EVERY);
        self.timers
            .set(&mut self.pool.timer, next, || Subject::Pool);
    }

    /// Local workers, but for those that are about to go.
    pub(super) fn pool_size(&self) -> usize {
        self.pool_members().count()
    }

    fn pool_members(&self) -> impl Iterator<Item = &Worker> {
        (self.workers.values())
            .filter(|worker| worker.process.is_some() && worker.removal.is_none())
    }

    /// The local worker that has been idle for the longest time.
    fn pool_idle(&self) -> Option<&Worker> {
        (self.pool_members())
            .filter(|worker| worker.connection().is_some() && worker.idle_since.is_some())
            .min_by_key(|worker| worker.idle_since)
    }

    fn pool_view(&mut self) -> PoolView {
        let now = self.now.monotonic;
        let request = &self.config.pool_worker;
        let kind = request.kind.as_deref().unwrap_or(DEFAULT_KIND);
        let suits = |demand: &Demand| {
            demand.pinned_to.is_none()
                && (demand.kind.as_deref()).is_none_or(|wanted| wanted == kind)
                && (demand.labels.iter()).all(|it| request.labels.get(it.0) == Some(it.1))
        };
        let waiting = (self.queue.lines())
            .filter(|(demand, _)| suits(demand))
            .map(|(_, len)| len)
            .sum();
        if waiting == 0 {
            self.pool.waiting_since = None;
        } else {
            self.pool.waiting_since.get_or_insert(now);
        }
        let since = |at: Option<Duration>| at.map(|at| now.saturating_sub(at));
        let known_slots = (self.pool_members())
            .map(|worker| worker.record.capabilities.slots as usize)
            .find(|slots| *slots > 0);
        PoolView {
            workers: self.pool_size(),
            starting: (self.pool_members())
                .filter(|worker| {
                    worker.connection().is_none() && worker.phase() != Some(Phase::GivenUp)
                })
                .count(),
            waiting,
            waiting_for: since(self.pool.waiting_since).unwrap_or_default(),
            idle_for: since(self.pool_idle().and_then(|worker| worker.idle_since)),
            slots: known_slots.unwrap_or(self.config.pool.slots),
        }
    }

    /// Adds a local worker and starts it.
    pub(super) fn pool_start(&mut self, request: CreateWorker) -> WorkerId {
        let id = self.free_name();
        let kind = request.kind.clone();
        let record = WorkerRecord {
            id: id.clone(),
            kind: kind.unwrap_or_else(|| DEFAULT_KIND.to_owned()),
            local: true,
            draining: false,
            capabilities: Capabilities {
                labels: request.labels.clone(),
                ..Capabilities::default()
            },
            isolation: Vec::new(),
            created_at_ms: self.now.unix_ms,
        };
        self.output
            .changes
            .push(Change::WorkerPut(Box::new(record.clone())));
        self.announce(&ManagerEvent::WorkerCreated {
            worker_id: id.clone(),
            kind: record.kind.clone(),
            local: true,
        });
        let process = Process {
            request,
            phase: Phase::GivenUp,
            failures: Failures::default(),
        };
        let worker = Worker::new(record, self.now.monotonic, Some(process));
        self.workers.insert(id.clone(), worker);
        self.process_start(&id);
        self.arm_worker(&id);
        id
    }

    /// `local-1`, or the first of these names that is free.
    fn free_name(&self) -> WorkerId {
        // One of these is free, as there is one more of them than there are workers.
        let names = (0..=self.workers.len()).map(|number| {
            let name = format!("local-{}", number + 1);
            name.parse().expect("it is a short name")
        });
        let mut free = names.filter(|id| !self.workers.contains_key(id));
        free.next().expect("there are more names than workers")
    }

    /// Starts a local worker's process, or finds the one that an earlier manager started.
    pub(super) fn process_start(&mut self, id: &WorkerId) {
        let by = self.now.monotonic + self.config.connect_timeout;
        if let Some(worker) = self.workers.get_mut(id)
            && let Some(process) = &mut worker.process
        {
            process.phase = Phase::Starting { by };
            self.counters.workers_started += 1;
            self.output.effects.push(Effect::WorkerStart {
                worker_id: id.clone(),
                request: process.request.clone(),
            });
        }
    }

    /// Asks a local worker's process to end, or ends it.
    pub(super) fn process_stop(&mut self, id: &WorkerId, force: bool) {
        let kill_at = self.now.monotonic + self.config.kill_timeout;
        self.set_phase(id, Phase::Stopping { kill_at });
        self.output.effects.push(Effect::WorkerStop {
            worker_id: id.clone(),
            force,
        });
        self.arm_worker(id);
    }

    /// A process that was asked to end has not done so.
    pub(super) fn process_kill(&mut self, id: &WorkerId) {
        self.process_stop(id, true);
    }

    /// Starts a local worker's process anew.
    pub(super) fn process_restart(&mut self, id: &WorkerId) {
        let Some(process) = (self.workers.get_mut(id)).and_then(|it| it.process.as_mut()) else {
            return;
        };
        process.failures.clear();
        match process.phase {
            Phase::GivenUp | Phase::Restarting { .. } => self.process_start(id),
            Phase::Starting { .. } | Phase::Up | Phase::Inherited | Phase::Stopping { .. } => {
                // Its end is reported, and then it is started again.
                self.output.effects.push(Effect::WorkerStop {
                    worker_id: id.clone(),
                    force: true,
                });
            }
        }
    }

    /// A local worker's process did not connect in time.
    pub(super) fn process_never_connected(&mut self, id: &WorkerId) {
        self.output.effects.push(Effect::WorkerStop {
            worker_id: id.clone(),
            force: true,
        });
        self.process_ended(id, "it did not connect in time");
    }

    /// A local worker's process has ended, or could not be started. What it ran goes on, so that
    /// its leases run on too: it is started again and takes up what it finds.
    pub(super) fn process_ended(&mut self, id: &WorkerId, how: &str) {
        let now = self.now.monotonic;
        let rule = self.config.crash_loop;
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let Some(process) = &mut worker.process else {
            return;
        };
        match process.phase {
            Phase::Stopping { .. } => {
                let why = worker.removal.clone().unwrap_or_else(|| how.to_owned());
                self.lose_all(id, how);
                return self.remove_worker(id, &why);
            }
            Phase::Restarting { .. } | Phase::GivenUp => return,
            Phase::Starting { .. } | Phase::Up | Phase::Inherited => (),
        }
        let failures = process.failures.note(now, rule);
        let restarts = failures < rule.failures;
        process.phase = if restarts {
            let wait = self.config.restart.after(failures as u32);
            Phase::Restarting { at: now + wait }
        } else {
            Phase::GivenUp
        };
        self.announce(&ManagerEvent::WorkerFailed {
            worker_id: id.clone(),
            reason: how.to_owned(),
            restarts,
        });
        self.arm_worker(id);
    }

    /// A worker was silent for a lease: a process that hangs is killed, one of an earlier manager
    /// is gone.
    pub(super) fn process_of_lost(&mut self, id: &WorkerId) {
        let phase = self.workers.get(id).and_then(Worker::phase);
        match phase {
            Some(Phase::Up) => self.output.effects.push(Effect::WorkerStop {
                worker_id: id.clone(),
                force: true,
            }),
            Some(Phase::Inherited) => {
                self.output.effects.push(Effect::WorkerStop {
                    worker_id: id.clone(),
                    force: true,
                });
                self.remove_worker(id, "it did not come back");
            }
            Some(
                Phase::Starting { .. }
                | Phase::Restarting { .. }
                | Phase::Stopping { .. }
                | Phase::GivenUp,
            )
            | None => (),
        }
    }

    fn set_phase(&mut self, id: &WorkerId, phase: Phase) {
        if let Some(process) = (self.workers.get_mut(id)).and_then(|it| it.process.as_mut()) {
            process.phase = phase;
        }
    }
}
