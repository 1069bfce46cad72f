//! Everything around the coordinator: time, store, connections, workers and clients.

mod clients;
mod faults;
mod manager;
mod network;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cogo_manager::coordinator::{Config, Coordinator, Effect, Input};
use cogo_protocol::worker::WorkerId;
use cogo_store::Change;

use self::clients::{Client, Reply};
use self::network::Connection;
use super::checks::{Broken, Checks};
use super::random::Random;
use super::sabotage::Sabotage;
use super::store::Records;
use super::worker::Worker;

/// What happens next.
#[derive(Debug)]
pub(super) enum Event {
    /// The manager's timer.
    Tick { epoch: u64 },
    /// The oldest commit becomes durable.
    Durable { epoch: u64 },
    /// The oldest message to the manager on a connection arrives.
    ToManager(u64),
    /// The oldest message to the worker on a connection arrives.
    ToWorker(u64),
    /// The manager notices that a connection is closed.
    ManagerSeesClose(u64),
    /// The worker notices.
    WorkerSeesClose(u64),
    /// A worker has something to do by itself.
    WorkerActs(WorkerId),
    /// A local worker's process is there, or not.
    LocalStart { epoch: u64, worker: WorkerId },
    /// A local worker's process ends.
    LocalStop { worker: WorkerId },
    /// An input comes that is not from a worker.
    Arrives { epoch: u64, input: Box<Input> },
    /// A client does something.
    ClientActs(usize),
    /// Something goes wrong.
    Fault,
    /// A new manager starts.
    ManagerStarts,
    /// Everything is well from now on.
    Calm,
    /// Operators undo what they did.
    Amends,
}

/// Where a crash of the manager is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrashPoint {
    /// The step is decided and not stored.
    BeforeCommit,
    /// It is stored and nothing of it has happened.
    AfterCommit,
    /// One thing of it has happened.
    AmidEffects,
}

/// How a run is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) sabotage: Option<Sabotage>,
    /// Crashes the manager at this step, and makes no other faults.
    pub(super) crash: Option<(u64, CrashPoint)>,
}

/// What a run has seen, to know that it has seen enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) steps: u64,
    pub(super) crashes: u64,
    pub(super) adopted: u64,
    pub(super) stale: u64,
    pub(super) lost: u64,
    pub(super) refused: u64,
    pub(super) succeeded: u64,
    pub(super) given_up: u64,
    pub(super) repeated: u64,
    pub(super) recoveries: u64,
}

pub(super) struct World {
    setup: Setup,
    random: Random,
    pub(super) now: Duration,
    unix_offset_ms: u64,
    agenda: BTreeMap<(Duration, u64), Event>,
    agenda_last: u64,
    calm: bool,

    config: Config,
    manager: Option<Coordinator>,
    /// Counts managers.
    epoch: u64,
    manager_started_at: Duration,
    stalled_until: Duration,
    tick_at: Option<Duration>,
    pending: VecDeque<(Vec<Change>, Vec<Effect>)>,
    durable: Records,
    durable_at: Duration,

    connections: BTreeMap<u64, Connection>,
    connection_last: u64,
    workers: BTreeMap<WorkerId, Worker>,
    /// Local workers with the manager that started them.
    children: BTreeMap<WorkerId, u64>,

    clients: Vec<Client>,
    replies: BTreeMap<u64, Reply>,
    reply_last: u64,

    checks: Checks,
    pub(super) seen: Seen,
}

/// When faults end.
const CALM_AT: Duration = Duration::from_mins(1);
/// When everything has to be over, with nobody's help.
const END_AT: Duration = Duration::from_mins(6);

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let config = manager::config(&mut random, setup.sabotage);
        let mut world = Self {
            setup,
            now: Duration::ZERO,
            unix_offset_ms: 1_700_000_000_000,
            agenda: BTreeMap::new(),
            agenda_last: 0,
            calm: false,
            config,
            manager: None,
            epoch: 0,
            manager_started_at: Duration::ZERO,
            stalled_until: Duration::ZERO,
            tick_at: None,
            pending: VecDeque::new(),
            durable: Records::default(),
            durable_at: Duration::ZERO,
            connections: BTreeMap::new(),
            connection_last: 0,
            workers: BTreeMap::new(),
            children: BTreeMap::new(),
            clients: Vec::new(),
            replies: BTreeMap::new(),
            reply_last: 0,
            checks: Checks::default(),
            seen: Seen::default(),
            random,
        };
        world.at(Duration::ZERO, Event::ManagerStarts);
        world.populate();
        world.at(CALM_AT, Event::Calm);
        if setup.crash.is_none() {
            let first = world.random.millis(5000);
            world.at(first, Event::Fault);
        }
        world
    }

    /// Runs until all is over.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        while let Some(((at, _), event)) = self.agenda.pop_first() {
            self.now = at;
            self.happen(event)?;
            if self.calm && self.is_over() {
                return self.agreement();
            }
            if at > END_AT {
                return Err(self.stuck());
            }
        }
        Err("nothing is left to happen".to_owned())
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.agenda_last += 1;
        self.agenda.insert((at, self.agenda_last), event);
    }

    fn soon(&mut self, within_ms: u64, event: Event) {
        let at = self.now + self.random.millis(within_ms.max(1));
        self.at(at, event);
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        // A manager that is stalled sees nothing until it goes on, and then all of it in order.
        let for_manager = matches!(
            event,
            Event::Tick { .. }
                | Event::Durable { .. }
                | Event::ToManager(_)
                | Event::ManagerSeesClose(_)
                | Event::Arrives { .. }
        );
        if for_manager && self.now < self.stalled_until {
            self.at(self.stalled_until, event);
            return Ok(());
        }
        match event {
            Event::Tick { epoch } => self.tick(epoch),
            Event::Durable { epoch } => self.becomes_durable(epoch),
            Event::ToManager(id) => self.arrives_at_manager(id),
            Event::ToWorker(id) => self.arrives_at_worker(id),
            Event::ManagerSeesClose(id) => self.manager_sees_close(id),
            Event::WorkerSeesClose(id) => {
                self.worker_sees_close(id);
                Ok(())
            }
            Event::WorkerActs(id) => {
                self.worker_acts(&id);
                Ok(())
            }
            Event::LocalStart { epoch, worker } => self.local_starts(epoch, &worker),
            Event::LocalStop { worker } => {
                self.local_stops(&worker);
                Ok(())
            }
            Event::Arrives { epoch, input } if epoch == self.epoch => self.tell(*input),
            Event::Arrives { .. } => Ok(()),
            Event::ClientActs(index) => {
                self.client_acts(index);
                Ok(())
            }
            Event::Fault => {
                self.fault();
                Ok(())
            }
            Event::ManagerStarts => self.manager_starts(),
            Event::Calm => {
                self.becomes_calm();
                Ok(())
            }
            Event::Amends => {
                self.make_amends();
                Ok(())
            }
        }
    }

    fn is_over(&self) -> bool {
        let final_in_store = |task: &cogo_store::TaskRecord| task.state.is_final();
        self.manager.is_some()
            && self.pending.is_empty()
            && self.clients.iter().all(Client::is_settled)
            && self.durable.tasks.values().all(final_in_store)
    }

    /// Store and memory agree when nothing is under way.
    fn agreement(&mut self) -> Result<(), Broken> {
        let Some(manager) = &self.manager else {
            return Ok(());
        };
        let health = manager.health();
        if health.queued + health.running > 0 {
            return Err(format!("the store is done, the manager has {health:?}"));
        }
        let counters = *manager.counters();
        self.seen.note(&counters);
        for client in &self.clients {
            let stored = self.durable.tasks.contains_key(client.task_id());
            if client.is_accepted() && !stored {
                return Err(format!(
                    "task `{}` was accepted and is gone",
                    client.task_id()
                ));
            }
        }
        Ok(())
    }

    fn stuck(&self) -> Broken {
        let open: Vec<_> = (self.checks.ordered.tasks.values())
            .filter(|task| !task.state.is_final())
            .map(|task| {
                (
                    &task.id,
                    task.state,
                    &task.attempts,
                    &task.request.requirements,
                )
            })
            .collect();
        let waiting: Vec<_> = (self.clients.iter())
            .filter(|client| !client.is_settled())
            .collect();
        format!(
            "not over: open {open:#?}, clients {waiting:#?}, workers {:#?}, {} commits pending",
            self.workers,
            self.pending.len()
        )
    }
}

impl Seen {
    fn note(&mut self, counters: &cogo_manager::coordinator::Counters) {
        self.adopted += counters.adopted;
        self.stale += counters.stale;
        self.lost += counters.attempts_lost;
        self.refused += counters.attempts_refused;
        self.succeeded += counters.succeeded;
        self.given_up += counters.lost;
        self.repeated += counters.repeated;
        self.recoveries += counters.recoveries;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.adopted += other.adopted;
        self.stale += other.stale;
        self.lost += other.lost;
        self.refused += other.refused;
        self.succeeded += other.succeeded;
        self.given_up += other.given_up;
        self.repeated += other.repeated;
        self.recoveries += other.recoveries;
    }
}
