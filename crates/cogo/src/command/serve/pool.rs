//! Local workers as child processes of this program.
//!
//! A worker outlives the manager that started it: it has a process group of its own, and its
//! process id is in a file. A manager that starts again finds it there and watches it on. So each
//! worker is watched through a pidfd, whether it is a child or not.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use cogo_manager::{LocalWorkers, Report};
use cogo_protocol::id::ExecId;
use cogo_protocol::worker::{CreateWorker, WorkerId};

use super::process::{WorkerProcess, directory_name};
use crate::failure::Failure;

/// How workers are started.
#[derive(Clone, Debug)]
pub(super) struct PoolSettings {
    /// Where they keep their state, one directory each.
    pub(super) directory: PathBuf,
    /// The manager they join.
    pub(super) join: String,
    /// The file with the token they bring.
    pub(super) token_file: PathBuf,
    /// Tasks at once.
    pub(super) slots: Option<u32>,
    /// What they do about hanging tasks that do not say, as arguments.
    pub(super) blocks: Vec<String>,
}

/// The processes of local workers. One thread follows orders, so that they keep their order and
/// hold up nobody; each process has a thread that waits for its end.
pub(super) struct LocalPool {
    orders: mpsc::Sender<Order>,
    running: Arc<Running>,
    directory: PathBuf,
}

type Running = Mutex<HashMap<WorkerId, Arc<WorkerProcess>>>;

enum Order {
    Start {
        worker_id: WorkerId,
        request: CreateWorker,
        report: Report,
    },
    Stop {
        worker_id: WorkerId,
        force: bool,
    },
}

impl LocalPool {
    pub(super) fn start(settings: PoolSettings) -> Result<Self, Failure> {
        std::fs::create_dir_all(&settings.directory).map_err(|error| {
            let path = settings.directory.display();
            Failure::caused(format!("failed to make `{path}`"), &error)
        })?;
        let (orders, inbox) = mpsc::channel();
        let running = Arc::new(Running::default());
        let follower = Arc::clone(&running);
        let directory = settings.directory.clone();
        thread::Builder::new()
            .name("cogo-pool".to_owned())
            .spawn(move || follow(&settings, &follower, &inbox))
            .map_err(|error| Failure::caused("failed to start a thread", &error))?;
        Ok(Self {
            orders,
            running,
            directory,
        })
    }

    /// Ends all workers, which have nothing to do any more, and waits for them.
    pub(super) fn stop_all(&self) {
        let running: Vec<_> = lock(&self.running).values().cloned().collect();
        for process in &running {
            process.terminate();
        }
        for process in &running {
            process.wait();
        }
    }

    /// Ends all workers at once, and leaves what they run to the next ones.
    pub(super) fn hand_over(&self) {
        let running: Vec<_> = lock(&self.running).values().cloned().collect();
        for process in &running {
            process.kill();
        }
        for process in &running {
            process.wait();
        }
    }
}

impl LocalWorkers for LocalPool {
    fn start(&self, worker_id: WorkerId, request: CreateWorker, report: Report) {
        // The thread lives as long as the pool.
        let _ = self.orders.send(Order::Start {
            worker_id,
            request,
            report,
        });
    }

    fn stop(&self, worker_id: &WorkerId, force: bool) {
        let _ = self.orders.send(Order::Stop {
            worker_id: worker_id.clone(),
            force,
        });
    }

    fn workspace(&self, worker_id: &WorkerId, exec_id: ExecId) -> Option<PathBuf> {
        let state = self.directory.join(directory_name(worker_id));
        Some(state.join("workspaces").join(exec_id.to_string()))
    }
}

fn lock(running: &Running) -> std::sync::MutexGuard<'_, HashMap<WorkerId, Arc<WorkerProcess>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn follow(settings: &PoolSettings, running: &Arc<Running>, inbox: &mpsc::Receiver<Order>) {
    for order in inbox {
        match order {
            Order::Start {
                worker_id,
                request,
                report,
            } => start(settings, running, worker_id, &request, report),
            Order::Stop { worker_id, force } => {
                let process = lock(running).get(&worker_id).cloned();
                match process {
                    Some(process) if force => process.kill(),
                    Some(process) => process.terminate(),
                    None => {}
                }
            }
        }
    }
}

fn start(
    settings: &PoolSettings,
    running: &Arc<Running>,
    worker_id: WorkerId,
    request: &CreateWorker,
    report: Report,
) {
    let process = match WorkerProcess::find_or_start(settings, &worker_id, request) {
        Ok(process) => Arc::new(process),
        Err(error) => {
            // Reporting may wait for the manager, which may wait for this thread.
            thread::spawn(move || report.failed(error.to_string()));
            return;
        }
    };
    lock(running).insert(worker_id.clone(), Arc::clone(&process));
    let running = Arc::clone(running);
    thread::spawn(move || {
        let how = process.wait();
        let mut running = lock(&running);
        if running
            .get(&worker_id)
            .is_some_and(|known| Arc::ptr_eq(known, &process))
        {
            running.remove(&worker_id);
        }
        drop(running);
        report.exited(how);
    });
}
