//! The manager's side: what the runtime around the coordinator does, and how it dies.

use std::time::Duration;

use cogo_manager::clock::Now;
use cogo_manager::coordinator::{Config, Coordinator, Effect, Input, RelayOrder, Step};
use cogo_manager::rules::pool::PoolConfig;
use cogo_protocol::message::{Attach, ToWorker};

use super::super::checks::{Bounds, Broken};
use super::super::random::Random;
use super::super::sabotage::Sabotage;
use super::{CrashPoint, Event, World};

/// Settings that make much happen in little time.
pub(super) fn config(random: &mut Random, sabotage: Option<Sabotage>) -> Config {
    let aging_step = match sabotage {
        Some(Sabotage::NoPriorities) => Duration::from_millis(1),
        Some(_) | None => AGING_STEP,
    };
    Config {
        queue_bound: 10 + random.below(40) as usize,
        aging_step,
        start_timeout: Duration::from_secs(15),
        deadline_slack: Duration::from_secs(2),
        grace_period: Duration::from_secs(1),
        kill_timeout: Duration::from_secs(3),
        remember_ended: Duration::from_secs(2),
        events_kept: 50,
        pool: PoolConfig {
            min: random.below(3) as usize,
            max: random.below(4) as usize,
            shrink_after: Duration::from_secs(20),
            ..PoolConfig::default()
        },
        ..Config::default()
    }
}

/// What the checks take for the aging step.
pub(super) const AGING_STEP: Duration = Duration::from_secs(4);

impl World {
    pub(super) fn clock(&self) -> Now {
        Now {
            monotonic: self.now.saturating_sub(self.manager_started_at),
            unix_ms: self.unix_offset_ms + self.now.as_millis() as u64,
        }
    }

    pub(super) fn manager_starts(&mut self) -> Result<(), Broken> {
        self.epoch += 1;
        self.manager_started_at = self.now;
        self.stalled_until = self.now;
        self.durable_at = self.now;
        self.checks.restart(&self.durable);
        let mut restored = self.durable.restored();
        if let Some(sabotage) = self.setup.sabotage {
            sabotage.restored(&mut restored);
        }
        let (manager, step) = Coordinator::new(self.config.clone(), restored, self.clock());
        self.manager = Some(manager);
        self.take(step)
    }

    /// Tells the manager something.
    pub(super) fn tell(&mut self, mut input: Input) -> Result<(), Broken> {
        let now = self.clock();
        if let Some(sabotage) = self.setup.sabotage {
            sabotage.input(&mut input, &self.checks.ordered);
        }
        let Some(manager) = &mut self.manager else {
            return Ok(());
        };
        let step = manager.handle(input, now);
        self.take(step)
    }

    pub(super) fn tick(&mut self, epoch: u64) -> Result<(), Broken> {
        let due = self.tick_at.is_some_and(|at| at <= self.now);
        if epoch != self.epoch || !due || self.setup.sabotage == Some(Sabotage::NoTicks) {
            return Ok(());
        }
        self.tick_at = None;
        self.tell(Input::Tick)
    }

    fn take(&mut self, step: Step) -> Result<(), Broken> {
        self.seen.steps += 1;
        let bounds = Bounds {
            lease: self.config.lease,
            aging_step: AGING_STEP,
        };
        let now = self.clock().monotonic;
        self.checks.step(&step.changes, now, bounds)?;
        self.tick_at = step.wake_in.map(|wait| self.now + wait);
        if let Some(at) = self.tick_at {
            let late = self.random.millis(5);
            self.at(at + late, Event::Tick { epoch: self.epoch });
        }
        if let Some((at, point)) = self.setup.crash
            && at == self.seen.steps
        {
            return self.crash_at(step, point);
        }
        if self.setup.sabotage == Some(Sabotage::ActBeforeStored) {
            self.pending.push_back((step.changes, Vec::new()));
            self.act(step.effects)?;
        } else {
            self.pending.push_back((step.changes, step.effects));
        }
        // Most commits are quick, and some wait for the disk.
        let within = if self.random.percent(3) { 500 } else { 4 };
        self.durable_at = self.durable_at.max(self.now + self.random.millis(within));
        let event = Event::Durable { epoch: self.epoch };
        self.at(self.durable_at, event);
        Ok(())
    }

    pub(super) fn becomes_durable(&mut self, epoch: u64) -> Result<(), Broken> {
        if epoch != self.epoch {
            return Ok(());
        }
        let Some((changes, effects)) = self.pending.pop_front() else {
            return Ok(());
        };
        for change in &changes {
            self.durable.apply(change)?;
        }
        self.act(effects)
    }

    fn act(&mut self, effects: Vec<Effect>) -> Result<(), Broken> {
        for mut effect in effects {
            if let Some(sabotage) = self.setup.sabotage {
                sabotage.effect(&mut effect);
            }
            self.do_effect(effect)?;
        }
        Ok(())
    }

    fn do_effect(&mut self, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Reply(reply, answer) => return self.answered(reply.0, answer),
            Effect::Send(connection, message) => self.send_to_worker(connection.0, *message),
            Effect::Relay(connection, RelayOrder::Resume { task_id, .. }) => {
                let attach = Attach {
                    task_id,
                    from_seq: 0,
                };
                self.send_to_worker(connection.0, ToWorker::Attach(attach));
            }
            Effect::Relay(_, RelayOrder::Begin { .. }) | Effect::Publish(_) => (),
            Effect::Close(connection, _) => {
                // What was sent before still arrives.
                self.close_after_delivery(connection.0);
            }
            Effect::WorkerStart { worker_id, .. } => {
                let epoch = self.epoch;
                let worker = worker_id;
                self.soon(500, Event::LocalStart { epoch, worker });
            }
            Effect::WorkerStop { worker_id, force } => {
                let within = if force { 50 } else { 1000 };
                self.soon(within, Event::LocalStop { worker: worker_id });
            }
        }
        Ok(())
    }

    /// The manager dies; a new one starts after a while.
    pub(super) fn crash(&mut self) {
        let Some(manager) = self.manager.take() else {
            return;
        };
        self.seen.note(manager.counters());
        self.seen.crashes += 1;
        // Some of what was handed over has reached the disk.
        while !self.pending.is_empty() && self.random.percent(50) {
            if let Some((changes, _)) = self.pending.pop_front() {
                for change in &changes {
                    self.durable.apply(change).expect("it was checked before");
                }
            }
        }
        self.pending.clear();
        self.tick_at = None;
        self.epoch += 1;
        let open: Vec<u64> = self.connections.keys().copied().collect();
        for id in open {
            self.cut(id);
        }
        self.forget_replies();
        self.soon(4000, Event::ManagerStarts);
    }

    fn crash_at(&mut self, step: Step, point: CrashPoint) -> Result<(), Broken> {
        let Step {
            changes, effects, ..
        } = step;
        while let Some((changes, effects)) = self.pending.pop_front() {
            for change in &changes {
                self.durable.apply(change)?;
            }
            self.act(effects)?;
        }
        if point != CrashPoint::BeforeCommit {
            for change in &changes {
                self.durable.apply(change)?;
            }
        }
        if point == CrashPoint::AmidEffects {
            self.act(effects.into_iter().take(1).collect())?;
        }
        self.crash();
        Ok(())
    }
}
