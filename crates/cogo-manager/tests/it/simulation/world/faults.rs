//! What goes wrong, and what operators do.

use std::time::Duration;

use cogo_manager::coordinator::{ClientRequest, Input, ReplyId};
use cogo_protocol::worker::{CreateWorker, WorkerId};

use super::super::worker::{Process, Worker};
use super::{Event, World};

impl World {
    /// Remote workers and clients.
    pub(super) fn populate(&mut self) {
        for number in 0..=self.random.below(4) {
            let id: WorkerId = format!("remote-{number}").parse().expect("a short name");
            let slots = 1 + self.random.below(3) as u32;
            let now = self.random.millis(1000);
            self.checks.slots.insert(id.clone(), slots);
            let worker = Worker::new(id.clone(), slots, false, now);
            self.workers.insert(id.clone(), worker);
            self.wake_worker(&id);
        }
        let clients = 3 + self.random.below(25) as usize;
        // Some come in a crowd, so that there is a queue.
        let within = [1000, 10_000, 45_000][self.random.below(3) as usize];
        for index in 0..clients {
            let client = self.new_client(index);
            self.clients.push(client);
            self.soon(within, Event::ClientActs(index));
        }
    }

    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        match self.random.below(24) {
            0..=2 => self.crash(),
            3..=8 => {
                let open: Vec<u64> = self.connections.keys().copied().collect();
                if let Some(id) = self.random.pick(&open).copied() {
                    self.cut(id);
                }
            }
            9..=13 => self.worker_fault(),
            14 => self.stalled_until = self.now + self.random.millis(15_000),
            15 | 16 => {
                let jump = self.random.below(200_000_000);
                self.unix_offset_ms = 1_600_000_000_000 + jump * 1000;
            }
            17..=19 => self.cancel_one(),
            20..=23 => self.operate(),
            _ => (),
        }
        if self.stalled_until > self.now {
            // Nobody can be heard meanwhile, and the manager knows that afterwards.
            let until = self.stalled_until.saturating_sub(self.manager_started_at);
            let pardon = (until + Duration::from_millis(500)).saturating_sub(self.config.lease);
            for worker in self.workers.keys() {
                let heard_at = self.checks.heard_at.entry(worker.clone()).or_default();
                *heard_at = (*heard_at).max(pardon);
            }
        }
        self.soon(6000, Event::Fault);
    }

    fn some_worker(&mut self) -> Option<WorkerId> {
        let ids: Vec<WorkerId> = self.workers.keys().cloned().collect();
        self.random.pick(&ids).cloned()
    }

    fn worker_fault(&mut self) {
        let Some(id) = self.some_worker() else {
            return;
        };
        let wedged = self.random.percent(40);
        let forgets = self.random.percent(20);
        let until = self.now + self.random.millis(20_000);
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.process != Process::Up {
            return;
        }
        if wedged {
            worker.process = Process::Wedged(until);
            return self.wake_worker(&id);
        }
        if forgets {
            worker.runs.clear();
            worker.amnesia += 1;
        }
        if worker.local {
            return self.local_stops(&id);
        }
        worker.process = Process::Down(until);
        if let Some(connection) = worker.connection.take() {
            self.cut(connection.0);
        }
        self.wake_worker(&id);
    }

    fn cancel_one(&mut self) {
        let ids: Vec<_> = self.checks.ordered.tasks.keys().cloned().collect();
        if let Some(task_id) = self.random.pick(&ids).cloned() {
            self.ask(ClientRequest::Cancel {
                task_id,
                grace_period: None,
            });
        }
    }

    fn operate(&mut self) {
        let Some(worker_id) = self.some_worker() else {
            return;
        };
        let request = match self.random.below(7) {
            0 => ClientRequest::WorkerRemove {
                worker_id,
                force: false,
            },
            1 => ClientRequest::WorkerRemove {
                worker_id,
                force: true,
            },
            2 => ClientRequest::WorkerRecover(worker_id),
            3 => ClientRequest::WorkerCreate(CreateWorker::default()),
            4 => ClientRequest::Queue { limit: 10 },
            _ => ClientRequest::WorkerDrain {
                worker_id,
                draining: self.random.percent(50),
            },
        };
        self.ask(request);
    }

    /// Something is asked whose answer nobody waits for.
    fn ask(&mut self, request: ClientRequest) {
        self.reply_last += 1;
        let input = Box::new(Input::Request(ReplyId(self.reply_last), request));
        let epoch = self.epoch;
        self.soon(20, Event::Arrives { epoch, input });
    }

    /// From now on everything works, and every program that runs comes to its end.
    pub(super) fn becomes_calm(&mut self) {
        self.calm = true;
        self.stalled_until = self.now;
        let ids: Vec<WorkerId> = self.workers.keys().cloned().collect();
        for id in ids {
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            worker.calm = true;
            for run in worker.runs.values_mut().filter(|run| run.running) {
                run.ends_at = run.ends_at.min(self.now + Duration::from_secs(30));
            }
            if !worker.local || worker.process != Process::Gone {
                worker.process = Process::Wedged(self.now);
            }
            self.wake_worker(&id);
        }
        self.make_amends();
    }

    /// Operators undo what they did: workers take part again, and what was given up is started.
    pub(super) fn make_amends(&mut self) {
        let known: Vec<WorkerId> = self.checks.ordered.workers.keys().cloned().collect();
        for worker_id in known {
            self.ask(ClientRequest::WorkerDrain {
                worker_id: worker_id.clone(),
                draining: false,
            });
            let gone = (self.workers.get(&worker_id))
                .is_some_and(|worker| worker.local && worker.process == Process::Gone);
            if gone {
                self.ask(ClientRequest::WorkerRecover(worker_id));
            }
        }
        self.restart_drained();
        let again = self.now + Duration::from_secs(30);
        self.at(again, Event::Amends);
    }

    /// Whoever was drained takes tasks again when it is restarted.
    fn restart_drained(&mut self) {
        let drained = |worker: &&mut Worker| !worker.local && worker.draining;
        let mut restarted = Vec::new();
        for worker in self.workers.values_mut().filter(drained) {
            worker.draining = false;
            worker.process = Process::Up;
            worker.connect_at = self.now;
            restarted.push((worker.id.clone(), worker.connection.take()));
        }
        for (id, connection) in restarted {
            if let Some(connection) = connection {
                self.cut(connection.0);
            }
            self.wake_worker(&id);
        }
    }
}
