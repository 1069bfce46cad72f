//! The worker as a whole: opens its state, serves, and ends in order.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::id::ExecId;
use cogo_protocol::worker::{Capabilities, WorkerId};
use cogo_sandbox::exec_dir::{StateDir, StateError};
use cogo_sandbox::start::StartError;
use rustix::fs::{FlockOperation, flock};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::block::Watcher;
use crate::config::{AtEnd, WorkerConfig};
use crate::connection::{Identity, Shared};
use crate::handshake::Gate;
use crate::health::HealthSampler;
use crate::plan::Planner;
use crate::starter::{self, Starter};
use crate::table::{self, Table, TableConfig, TableHandle};
use crate::task_record::{TaskRecords, private_dirs, remove_workspace};
use crate::{instant, join, limits, listen};

/// How long killed tasks may take to be gone.
const KILL_MAX: Duration = Duration::from_secs(20);

/// Folders of tasks that are over, kept for tasks to come. An empty one takes a few blocks.
const SPARES_MAX: usize = 32;

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Another worker uses the state directory.
    #[error("state directory `{path}` is in use by another worker{}", pid_text(*.pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other worker's process, if it is known.
        pid: Option<u32>,
    },
    /// A file operation failed.
    #[error("failed to {action} `{path}`")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The state directory failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file with the worker's id holds none.
    #[error("`{0}` does not hold a worker id")]
    BadId(PathBuf),
    /// There is no process to start sandboxes from.
    #[error("failed to start the zygote")]
    Zygote(#[source] StartError),
    /// There is no thread to watch execs with.
    #[error("failed to start watching for blocks")]
    Watcher(#[source] io::Error),
    /// It would listen where everyone can come.
    #[error("without a token a worker listens on loopback only, not on {0}")]
    Exposed(SocketAddr),
    /// It can be reached by nobody.
    #[error("the worker neither listens nor joins a manager")]
    Unreachable,
    /// The port cannot be opened.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

/// What is wanted of a running worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// End, as the settings say; when it comes again, kill what still runs.
    End,
    /// End at once: tasks are killed, or left if they are to be handed over.
    EndNow,
}

/// A worker that holds its state directory and is ready to serve.
pub struct Worker {
    config: WorkerConfig,
    identity: Identity,
    starter: Arc<Starter>,
    watcher: Arc<Watcher>,
    table: Table,
    /// Held for as long as the worker lives.
    _lock: File,
}

impl Worker {
    /// Takes the state directory, finds the tasks of an earlier worker and starts the zygote.
    /// Call it before threads are started, while the process is small.
    ///
    /// # Errors
    ///
    /// On every error nothing was started and no task was touched.
    pub fn open(config: WorkerConfig) -> Result<Self, WorkerError> {
        check_reach(&config)?;
        private_dirs()
            .create(&config.state_dir)
            .map_err(|e| io_error("create", &config.state_dir, e))?;
        let lock = lock(&config.state_dir)?;
        let state = StateDir::open(&config.state_dir)?.with_spares(SPARES_MAX)?;
        // As it is seen from everywhere.
        let config = WorkerConfig {
            state_dir: state.path().to_owned(),
            ..config
        };
        let identity = identity(&config)?;
        let records = TaskRecords::open(&config.state_dir)
            .map_err(|e| io_error("open", &config.state_dir, e))?;
        let zygote = starter::start_zygote(config.slots).map_err(WorkerError::Zygote)?;
        // The zygote first, while the process has no thread.
        let watcher = Watcher::start().map_err(WorkerError::Watcher)?;
        let starter = Starter::new(state, records, Planner::new(&config), zygote, config.slots);
        let table = recovered_table(&config, &starter)?;
        Ok(Self {
            config,
            identity,
            starter: Arc::new(starter),
            watcher: Arc::new(watcher),
            table,
            _lock: lock,
        })
    }

    /// The worker's name.
    pub fn id(&self) -> &WorkerId {
        &self.identity.worker_id
    }

    /// Opens the port, says where with `ready`, and serves until it is asked to end.
    ///
    /// # Errors
    ///
    /// Fails when the port cannot be opened.
    pub async fn run(
        self,
        wishes: mpsc::Receiver<Wish>,
        ready: impl FnOnce(Option<SocketAddr>),
    ) -> Result<(), WorkerError> {
        let listener = match self.config.listen {
            Some(address) => Some(open_port(address).await?),
            None => None,
        };
        let (handle, owner) = table::open(
            self.table,
            Arc::clone(&self.starter),
            Arc::clone(&self.watcher),
        );
        let (closing, closing_receiver) = watch::channel(false);
        let shared = Shared {
            identity: Arc::new(self.identity),
            table: handle.clone(),
            watcher: self.watcher,
            health: Arc::new(HealthSampler::new(self.config.state_dir.clone())),
            heartbeat: self.config.heartbeat,
            message_max: self.config.message_max,
            closing: closing_receiver,
        };
        let mut doors = JoinSet::new();
        let address = listener.as_ref().and_then(|port| port.local_addr().ok());
        if let Some(listener) = listener {
            let gate = Gate {
                token: self.config.token.clone(),
                allowed_origins: self.config.allowed_origins.clone(),
            };
            doors.spawn(listen::run(listener, gate, shared.clone()));
        }
        if !self.config.join.is_empty() {
            let managers = self.config.join.clone();
            let token = self.config.token.clone();
            let trust = self.config.trust.clone();
            doors.spawn(join::run(managers, token, trust, shared.clone()));
        }
        drop(shared);
        ready(address);
        let warm = self.config.warm;
        let starter = self.starter;
        let warming = tokio::task::spawn_blocking(move || starter.keep_warm(warm));
        let owner = tokio::spawn(owner.run());
        end_in_order(wishes, &handle, self.config.at_end).await;
        // Connections tell the ends that there are, then close.
        let _ = closing.send(true);
        while doors.join_next().await.is_some() {}
        drop(handle);
        let _ = owner.await;
        let _ = warming.await;
        info!("worker ended");
        Ok(())
    }
}

/// Waits for the wish to end, then sees to the tasks.
async fn end_in_order(mut wishes: mpsc::Receiver<Wish>, table: &TableHandle, at_end: AtEnd) {
    let first = wishes.recv().await.unwrap_or(Wish::End);
    table.drain().await;
    let AtEnd::Drain(drain_max) = at_end else {
        info!("ending; running tasks go on for a successor");
        return;
    };
    if first == Wish::End {
        info!(?drain_max, "ending; running tasks may finish");
        let finished = async {
            if timeout(drain_max, table.idle()).await.is_err() {
                warn!("stopping the tasks that did not finish in time");
                table.stop_all(None).await;
                // Each has its own grace period.
                table.idle().await;
            }
        };
        tokio::select! {
            () = finished => return,
            _ = wishes.recv() => {}
        }
    }
    warn!("killing the tasks that run");
    table.stop_all(Some(Duration::ZERO)).await;
    if timeout(KILL_MAX, table.idle()).await.is_err() {
        warn!("some tasks are not gone; their supervisors go on with it");
    }
}

fn check_reach(config: &WorkerConfig) -> Result<(), WorkerError> {
    match config.listen {
        Some(address) if config.token.is_none() && !address.ip().is_loopback() => {
            Err(WorkerError::Exposed(address))
        }
        None if config.join.is_empty() => Err(WorkerError::Unreachable),
        Some(_) | None => Ok(()),
    }
}

async fn open_port(address: SocketAddr) -> Result<TcpListener, WorkerError> {
    listen::bind(address)
        .await
        .map_err(|source| WorkerError::Listen { address, source })
}

/// Keeps other workers away, for as long as the file is open.
fn lock(state_dir: &Path) -> Result<File, WorkerError> {
    let path = state_dir.join("lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| io_error("open", &path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Err(WorkerError::InUse {
                path: state_dir.to_owned(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(error) => return Err(io_error("lock", &path, error.into())),
    }
    // For the message above only.
    let _ = file.set_len(0);
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}

fn identity(config: &WorkerConfig) -> Result<Identity, WorkerError> {
    let worker_id = match &config.id {
        Some(id) => id.clone(),
        None => kept_id(&config.state_dir)?,
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Identity {
        worker_id,
        kind: config.kind.clone(),
        capabilities: Capabilities {
            slots: config.slots,
            cpus: cpus as f64,
            memory_bytes: limits::memory().unwrap_or_default(),
            labels: config.labels.clone(),
        },
        isolation: config.isolation.clone(),
    })
}

/// The id in the state directory, made at the first start.
fn kept_id(state_dir: &Path) -> Result<WorkerId, WorkerError> {
    let path = state_dir.join("id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| WorkerError::BadId(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!("worker-{}", new_exec_id().short());
            fs::write(&path, format!("{text}\n")).map_err(|e| io_error("write", &path, e))?;
            text.parse().map_err(|_| WorkerError::BadId(path))
        }
        Err(error) => Err(io_error("read", &path, error)),
    }
}

/// Finds out what became of the tasks that were written down.
fn recovered_table(config: &WorkerConfig, starter: &Starter) -> Result<Table, WorkerError> {
    let table_config = TableConfig {
        slots: config.slots as usize,
        retention: config.retention,
        block: config.block.clone(),
        state_dir: config.state_dir.clone(),
    };
    let mut table = Table::new(table_config, new_exec_id);
    let (records, broken) = starter
        .records()
        .read_all()
        .map_err(|e| io_error("read the tasks in", &config.state_dir, e))?;
    for path in broken {
        warn!(path = %path.display(), "passing over a file that is no task");
    }
    starter.sweep(&records);
    for record in records {
        let over = starter.recover(&record);
        if over.is_some() {
            remove_workspace(&record);
        }
        table.recover(record, over);
    }
    Ok(table)
}

fn new_exec_id() -> ExecId {
    let mut randomness = [0; 10];
    getrandom(&mut randomness, GetRandomFlags::empty())
        .expect("the kernel gives randomness once it has started");
    ExecId::from_parts(instant::now_ms(), &randomness)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> WorkerError {
    WorkerError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
