//! How workers connect and break off.

use std::sync::Arc;

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::{Joined, PROTOCOL_VERSION, ToWorker, Welcome};
use cogo_protocol::worker::{WorkerId, WorkerStatus};
use cogo_store::{Change, WorkerRecord};

use super::Coordinator;
use super::effect::Effect;
use super::input::ConnectionId;
use super::timers::Subject;
use super::worker::{Link, Phase, Worker};
use crate::rules::matching::Class;

impl Coordinator {
    pub(super) fn worker_connected(&mut self, connection: ConnectionId, welcome: &Welcome) {
        if welcome.protocol_version != PROTOCOL_VERSION {
            let why = format!(
                "this manager speaks version {PROTOCOL_VERSION} of the protocol, worker `{}` {}",
                welcome.worker_id, welcome.protocol_version
            );
            return self.output.effects.push(Effect::Close(connection, why));
        }
        let id = welcome.worker_id.clone();
        self.introduce(welcome);
        self.link(connection, &id);
        self.output.send(
            connection,
            ToWorker::Joined(Joined {
                heartbeat_ms: self.config.heartbeat.as_millis() as u64,
                lease_ms: self.config.lease.as_millis() as u64,
            }),
        );
        self.announce(&ManagerEvent::WorkerConnected {
            worker_id: id.clone(),
        });
        self.returned(connection, &id, &welcome.tasks);
        self.freed.insert(id.clone());
        self.rerank(&id);
        self.arm_worker(&id);
    }

    /// Takes in what a worker says it is.
    fn introduce(&mut self, welcome: &Welcome) {
        let id = &welcome.worker_id;
        let now = self.now;
        if !self.workers.contains_key(id) {
            self.announce(&ManagerEvent::WorkerCreated {
                worker_id: id.clone(),
                kind: welcome.worker_type.clone(),
                local: false,
            });
        }
        let new = || {
            let record = WorkerRecord {
                id: id.clone(),
                kind: String::new(),
                local: false,
                draining: false,
                capabilities: welcome.capabilities.clone(),
                isolation: Vec::new(),
                created_at_ms: now.unix_ms,
            };
            Worker::new(record, now.monotonic, None)
        };
        let worker = self.workers.entry(id.clone()).or_insert_with(new);
        let record = WorkerRecord {
            kind: welcome.worker_type.clone(),
            capabilities: welcome.capabilities.clone(),
            isolation: welcome.isolation.clone(),
            ..worker.record.clone()
        };
        if record != worker.record {
            self.output
                .changes
                .push(Change::WorkerPut(Box::new(record.clone())));
            worker.class = Arc::new(Class::of(&record));
            worker.record = record;
            // It may offer less than before.
            self.thinned = true;
        }
    }

    /// Makes a connection the one over which a worker is spoken to.
    fn link(&mut self, connection: ConnectionId, id: &WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if let Link::Connected(old) = worker.link {
            self.connections.remove(&old);
            let why = "the worker has connected anew".to_owned();
            self.output.effects.push(Effect::Close(old, why));
        }
        self.connections.insert(connection, id.clone());
        self.counters.workers_connected += 1;
        worker.link = Link::Connected(connection);
        worker.heard_at = self.now.monotonic;
        worker.heard_at_ms = self.now.unix_ms;
        worker.status = WorkerStatus::Idle;
        worker.refuses = false;
        worker.paused_until = None;
        worker.leaving.clear();
        worker.reconciled_at = self.now.monotonic;
        if let Some(process) = &mut worker.process
            && let Phase::Starting { .. } = process.phase
        {
            process.phase = Phase::Up;
        }
    }

    pub(super) fn worker_disconnected(&mut self, connection: ConnectionId) {
        let Some(id) = self.connections.remove(&connection) else {
            return;
        };
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.link = Link::Away;
            worker.leaving.clear();
        }
        self.announce(&ManagerEvent::WorkerDisconnected {
            worker_id: id.clone(),
        });
        self.freed.insert(id.clone());
        self.thinned = true;
        self.rerank(&id);
        self.arm_worker(&id);
    }

    /// Sets a worker's timer to when something is due. A timer that would fire too early is left:
    /// silence is put off with every message, and it is cheaper to look once in vain.
    pub(super) fn arm_worker(&mut self, id: &WorkerId) {
        let lease = self.config.lease;
        let forget = self.config.worker_forget;
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let forgotten_at = (worker.link == Link::Lost && worker.process.is_none())
            .then(|| worker.heard_at + forget);
        let silence = worker.lost_at(lease).or(forgotten_at);
        let process = match worker.phase() {
            Some(
                Phase::Starting { by: at }
                | Phase::Restarting { at }
                | Phase::Stopping { kill_at: at },
            ) => Some(at),
            Some(Phase::Up | Phase::Inherited | Phase::GivenUp) | None => None,
        };
        let due = [silence, process, worker.paused_until]
            .into_iter()
            .flatten()
            .min();
        if let (Some(kept), Some(due)) = (worker.timer, due)
            && kept <= due
        {
            return;
        }
        self.timers
            .set(&mut worker.timer, due, || Subject::Worker(id.clone()));
    }
}
