//! Connections: ordered both ways while they last, and anything can be lost when they break.

use std::collections::VecDeque;
use std::time::Duration;

use cogo_manager::coordinator::{ConnectionId, Input};
use cogo_protocol::message::{FromWorker, ToWorker, Welcome};
use cogo_protocol::worker::WorkerId;

use super::super::checks::Broken;
use super::super::worker::{Key, Process, Worker};
use super::{Event, World};

/// What goes to the manager.
#[derive(Debug)]
pub(super) enum Upward {
    Welcome(Box<Welcome>),
    Message(Box<FromWorker>),
}

#[derive(Debug)]
pub(super) struct Connection {
    worker: WorkerId,
    to_manager: VecDeque<Upward>,
    to_worker: VecDeque<ToWorker>,
    to_manager_at: Duration,
    to_worker_at: Duration,
    /// Whether the manager has taken it for open.
    open_at_manager: bool,
    epoch: u64,
}

impl World {
    pub(super) fn worker_acts(&mut self, id: &WorkerId) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let mut woke = false;
        match worker.process {
            Process::Wedged(until) | Process::Down(until) if until <= now => {
                woke = true;
                worker.process = Process::Up;
                worker.connect_at = now;
                worker.heartbeat_at = now;
            }
            Process::Wedged(_) | Process::Down(_) | Process::Up | Process::Gone => (),
        }
        let ended = worker.end_due(now);
        for key in &ended {
            let end = (worker.id.clone(), worker.runs[key].outcome.clone());
            self.checks.ends.insert(key.clone(), end);
        }
        if worker.is_up() {
            // What has ended while it hung is told now.
            let untold = |key: &&Key| worker.fed.contains(*key) && (woke || ended.contains(key));
            let ends = worker.runs.iter().filter(|(_, run)| !run.running);
            let mut says: Vec<_> = (ends.map(|(key, _)| key).filter(untold))
                .map(|key| worker.end_of(key))
                .collect();
            if let Some(connection) = worker.connection {
                if worker.heartbeat_at <= now {
                    worker.heartbeat_at = now + Duration::from_secs(2);
                    says.push(worker.heartbeat());
                }
                for message in says {
                    self.send_to_manager(connection.0, Upward::Message(Box::new(message)));
                }
            } else if worker.connect_at <= now {
                self.connect(id);
            }
            self.leave_when_drained(id);
        }
        self.wake_worker(id);
    }

    /// A worker that was told to drain ends when it has nothing to do.
    fn leave_when_drained(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if worker.draining && worker.running() == 0 && worker.connection.is_none() {
            worker.process = Process::Gone;
        }
    }

    /// Sets the time at which a worker acts next.
    pub(super) fn wake_worker(&mut self, id: &WorkerId) {
        let Some(at) = self.workers.get(id).and_then(Worker::wakes_at) else {
            return;
        };
        let at = at.max(self.now + Duration::from_micros(1));
        self.at(at, Event::WorkerActs(id.clone()));
    }

    fn connect(&mut self, id: &WorkerId) {
        let retry = self.now + Duration::from_millis(100) + self.random.millis(900);
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.connect_at = retry;
        if self.manager.is_none() {
            return;
        }
        self.connection_last += 1;
        let connection = self.connection_last;
        worker.connection = Some(ConnectionId(connection));
        worker.fed.clear();
        worker.heartbeat_at = self.now + Duration::from_secs(2);
        let welcome = Box::new(worker.welcome());
        self.connections.insert(
            connection,
            Connection {
                worker: id.clone(),
                to_manager: VecDeque::new(),
                to_worker: VecDeque::new(),
                to_manager_at: self.now,
                to_worker_at: self.now,
                open_at_manager: false,
                epoch: self.epoch,
            },
        );
        self.send_to_manager(connection, Upward::Welcome(welcome));
    }

    fn latency(&mut self) -> Duration {
        let within = if self.random.percent(2) { 3000 } else { 10 };
        self.random.millis(within)
    }

    fn send_to_manager(&mut self, id: u64, message: Upward) {
        let latency = self.latency();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.to_manager.push_back(message);
            connection.to_manager_at = connection.to_manager_at.max(self.now + latency);
            let at = connection.to_manager_at;
            self.at(at, Event::ToManager(id));
        }
    }

    pub(super) fn send_to_worker(&mut self, id: u64, message: ToWorker) {
        let latency = self.latency();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.to_worker.push_back(message);
            connection.to_worker_at = connection.to_worker_at.max(self.now + latency);
            let at = connection.to_worker_at;
            self.at(at, Event::ToWorker(id));
        }
    }

    pub(super) fn arrives_at_manager(&mut self, id: u64) -> Result<(), Broken> {
        let connection_id = ConnectionId(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        if connection.epoch != self.epoch {
            return Ok(());
        }
        let Some(message) = connection.to_manager.pop_front() else {
            return Ok(());
        };
        let worker = connection.worker.clone();
        let heard_at = self.now.saturating_sub(self.manager_started_at);
        match message {
            Upward::Welcome(welcome) => {
                connection.open_at_manager = true;
                self.checks.heard_at.insert(worker, heard_at);
                self.tell(Input::WorkerConnected {
                    connection: connection_id,
                    welcome,
                })
            }
            Upward::Message(message) => {
                self.checks.heard_at.insert(worker, heard_at);
                self.tell(Input::WorkerSaid(connection_id, message))
            }
        }
    }

    pub(super) fn arrives_at_worker(&mut self, id: u64) -> Result<(), Broken> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        let Some(worker) = self.workers.get_mut(&connection.worker) else {
            return Ok(());
        };
        if worker.connection != Some(ConnectionId(id)) {
            return Ok(());
        }
        match worker.process {
            Process::Up => (),
            // It reads on when it goes on.
            Process::Wedged(until) => {
                self.at(until, Event::ToWorker(id));
                return Ok(());
            }
            Process::Down(_) | Process::Gone => return Ok(()),
        }
        let Some(message) = connection.to_worker.pop_front() else {
            return Ok(());
        };
        let (answers, started) = worker.hear(&message, self.now, &mut self.random);
        let (worker_id, amnesia) = (worker.id.clone(), worker.amnesia);
        if let Some(key) = started {
            self.checks.started(&key, &worker_id, amnesia)?;
        }
        for answer in answers {
            self.send_to_manager(id, Upward::Message(Box::new(answer)));
        }
        self.wake_worker(&worker_id);
        Ok(())
    }

    /// Breaks a connection: what is under way is lost, and both sides notice some time.
    pub(super) fn cut(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.to_manager.clear();
        connection.to_worker.clear();
        let within = if self.random.percent(20) { 15_000 } else { 50 };
        self.soon(within, Event::ManagerSeesClose(id));
        self.soon(within, Event::WorkerSeesClose(id));
    }

    /// The manager closes a connection: the worker notices after what was sent before.
    pub(super) fn close_after_delivery(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.to_manager.clear();
        let at = connection.to_worker_at.max(self.now) + Duration::from_millis(1);
        self.at(at, Event::WorkerSeesClose(id));
    }

    pub(super) fn manager_sees_close(&mut self, id: u64) -> Result<(), Broken> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        let was_open = std::mem::take(&mut connection.open_at_manager);
        connection.to_manager.clear();
        if was_open && connection.epoch == self.epoch {
            return self.tell(Input::WorkerDisconnected(ConnectionId(id)));
        }
        Ok(())
    }

    pub(super) fn worker_sees_close(&mut self, id: u64) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let worker_id = connection.worker.clone();
        let now = self.now;
        if let Some(worker) = self.workers.get_mut(&worker_id)
            && worker.connection == Some(ConnectionId(id))
        {
            if let Process::Wedged(until) = worker.process {
                self.at(until, Event::WorkerSeesClose(id));
                return;
            }
            worker.connection = None;
            worker.connect_at = now + Duration::from_millis(1);
            self.wake_worker(&worker_id);
        }
    }

    pub(super) fn local_starts(&mut self, epoch: u64, id: &WorkerId) -> Result<(), Broken> {
        if epoch != self.epoch {
            return Ok(());
        }
        if !self.calm && self.random.percent(10) {
            return self.tell(Input::LocalWorkerFailed {
                worker_id: id.clone(),
                why: "no more processes".to_owned(),
            });
        }
        self.children.insert(id.clone(), epoch);
        let now = self.now;
        let slots = 1 + self.random.below(2) as u32;
        let worker = (self.workers.entry(id.clone()))
            .or_insert_with(|| Worker::new(id.clone(), slots, true, now));
        worker.process = Process::Up;
        worker.draining = false;
        worker.calm = self.calm;
        worker.connection = None;
        worker.connect_at = now;
        self.checks.slots.insert(id.clone(), worker.slots);
        self.wake_worker(id);
        Ok(())
    }

    /// A local worker's process is gone; its manager gets to know if it still lives.
    pub(super) fn local_stops(&mut self, id: &WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if worker.process == Process::Gone && !self.children.contains_key(id) {
            return;
        }
        worker.process = Process::Gone;
        if let Some(connection) = worker.connection.take() {
            self.cut(connection.0);
        }
        if self.children.remove(id) == Some(self.epoch) {
            let input = Box::new(Input::LocalWorkerExited {
                worker_id: id.clone(),
                how: "it ended".to_owned(),
            });
            let epoch = self.epoch;
            self.soon(100, Event::Arrives { epoch, input });
        }
    }
}
