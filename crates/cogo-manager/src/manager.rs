//! A manager, put together: runtime, doors and listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::job::JobKind;
use cogo_store::task_log::TaskLogs;
use cogo_store::{Durability, Store, StoreError, TaskFilter, TokenRecord};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::coordinator::{Answer, ClientRequest, Config, Coordinator, PoolHealth, Restored};
use crate::follow::Follows;
use crate::http::{self, Api, DoorsConfig};
use crate::jobs::{JobRunner, Jobs};
use crate::runtime::{
    self, Connections, Events, Handle, LocalWorkers, Owner, Stopped, TaskWatches, World,
};
use crate::server::Server;
use crate::tasks::{Tasks, unexpected};
use crate::tokens::Tokens;

/// Settings of a manager.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// Queue, leases and pool.
    pub coordinator: Config,
    /// The doors for clients.
    pub doors: DoorsConfig,
    /// Whether ends of tasks wait for the disk.
    pub durability: Durability,
    /// Connections open at once. More wait to be accepted. Default: 10,000.
    pub connections_max: usize,
}

impl Default for ManagerConfig {
    fn default() -> Self {
        Self {
            coordinator: Config::default(),
            doors: DoorsConfig::default(),
            durability: Durability::Full,
            connections_max: 10_000,
        }
    }
}

/// What a manager works with.
pub struct Parts {
    /// Where it keeps what it must not forget.
    pub store: Arc<dyn Store>,
    /// Where it keeps output.
    pub logs: TaskLogs,
    /// Where jobs keep what they report and what they need to go on.
    pub jobs_directory: PathBuf,
    /// Who does jobs, by their kind. Jobs of other kinds are refused.
    pub job_runners: BTreeMap<JobKind, Arc<dyn JobRunner>>,
    /// Processes of local workers.
    pub local_workers: Arc<dyn LocalWorkers>,
    /// What local workers join with.
    pub own_token: Option<TokenRecord>,
    /// Where it listens.
    pub listener: TcpListener,
    /// Speaks TLS, if there is a certificate.
    pub tls: Option<Arc<ServerConfig>>,
    /// Where local workers come in without TLS, if they do not use `listener`.
    pub workers_listener: Option<TcpListener>,
}

/// How often local workers are to send heartbeats, and how long they are believed without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerClocks {
    pub(crate) heartbeat: Duration,
    pub(crate) lease: Duration,
}

/// Why a manager does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error("failed to read what is stored")]
    Store(#[from] StoreError),
    /// The listener has no address.
    #[error("failed to learn where the server listens")]
    Listener(#[source] std::io::Error),
    /// Everyone could use it.
    #[error("without a token a server listens on this host alone, not on {0}")]
    Open(SocketAddr),
}

/// Why a manager stopped without being told to.
#[derive(Debug, thiserror::Error)]
#[error("the manager stopped, because its store failed")]
pub struct Failed(#[from] StoreError);

/// A running manager.
pub struct Manager {
    handle: Handle,
    address: SocketAddr,
    stop: CancellationToken,
    jobs: Arc<Jobs>,
    owner: JoinHandle<Result<(), StoreError>>,
    servers: JoinSet<()>,
}

impl Manager {
    /// Goes on from what is stored, and opens the doors. Must be called on a runtime.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read, or if the doors would be open to everyone.
    pub fn start(config: ManagerConfig, parts: Parts) -> Result<Self, StartError> {
        let address = parts.listener.local_addr().map_err(StartError::Listener)?;
        let clock = Clock::start();
        let tokens = Tokens::load(Arc::clone(&parts.store), parts.own_token)?;
        if tokens.is_empty() && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::Open(address));
        }
        let clocks = WorkerClocks {
            heartbeat: config.coordinator.heartbeat,
            lease: config.coordinator.lease,
        };
        let restored = restore(parts.store.as_ref())?;
        let (coordinator, first) = Coordinator::new(config.coordinator, restored, clock.now());
        let (handle, inbox) = runtime::inbox();
        let world = World {
            handle: handle.clone(),
            store: Arc::clone(&parts.store),
            connections: Arc::new(Connections::default()),
            events: Arc::new(Events::new()),
            watches: Arc::new(TaskWatches::default()),
            local_workers: parts.local_workers,
        };
        let stop = CancellationToken::new();
        let jobs = Jobs::start(
            Arc::clone(&parts.store),
            parts.jobs_directory,
            parts.job_runners,
            stop.clone(),
        )?;
        let api = Api::new(
            config.doors,
            &world,
            Arc::clone(&jobs),
            Arc::new(parts.logs),
            tokens,
            clock,
            clocks,
            config.durability,
            stop.clone(),
        );
        let owner = tokio::spawn(Owner::run(
            coordinator,
            first,
            inbox,
            world,
            clock,
            stop.clone(),
        ));
        let mut servers = JoinSet::new();
        if let Some(listener) = parts.workers_listener {
            let server = Server {
                listener,
                tls: None,
                router: http::workers_router(Arc::clone(&api)),
                connections_max: config.connections_max,
            };
            servers.spawn(server.run(stop.clone()));
        }
        let server = Server {
            listener: parts.listener,
            tls: parts.tls,
            router: http::router(api),
            connections_max: config.connections_max,
        };
        servers.spawn(server.run(stop.clone()));
        Ok(Self {
            handle,
            address,
            stop,
            jobs,
            owner,
            servers,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is doing.
    ///
    /// # Errors
    ///
    /// Fails when it has stopped.
    pub async fn health(&self) -> Result<PoolHealth, Stopped> {
        match self.handle.ask(ClientRequest::Health).await? {
            Answer::Health(health) => Ok(health),
            answer => unexpected(&answer),
        }
    }

    /// Gives out no more tasks. What waits stays stored.
    ///
    /// # Errors
    ///
    /// Fails when it has stopped.
    pub async fn drain(&self) -> Result<(), Stopped> {
        match self.handle.ask(ClientRequest::Drain).await? {
            Answer::Done => Ok(()),
            answer => unexpected(&answer),
        }
    }

    /// The way to its coordinator.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until it stops by itself, which it only does when it failed.
    ///
    /// # Errors
    ///
    /// Says why.
    pub async fn failed(&mut self) -> Result<(), Failed> {
        let result = (&mut self.owner).await;
        self.stop.cancel();
        Ok(result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
    }

    /// Stops: closes the doors, puts jobs off until the next start, and waits until everything that
    /// was decided is stored and done.
    ///
    /// # Errors
    ///
    /// Fails if something could not be stored.
    pub async fn stop(mut self) -> Result<(), Failed> {
        self.stop.cancel();
        self.jobs.stopped().await;
        let result = self.owner.await;
        // A server that panicked has said so already.
        while self.servers.join_next().await.is_some() {}
        Ok(result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
    }
}

fn restore(store: &dyn Store) -> Result<Restored, StoreError> {
    let newest = TaskFilter {
        limit: Some(1),
        ..TaskFilter::default()
    };
    Ok(Restored {
        tasks: store.tasks_open()?,
        workers: store.workers()?,
        number_last: store.tasks(&newest)?.first().map_or(0, |task| task.number),
        event_last: store.event_last()?,
    })
}

impl Api {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, where everything is put together"
    )]
    fn new(
        config: DoorsConfig,
        world: &World,
        jobs: Arc<Jobs>,
        logs: Arc<TaskLogs>,
        tokens: Tokens,
        clock: Clock,
        worker_clocks: WorkerClocks,
        durability: Durability,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let tasks = Tasks::new(world.handle.clone(), Arc::clone(&world.store), clock);
        Arc::new(Self {
            rates: http::Rates::new(config.rate),
            refusals: http::Refusals::new(),
            config,
            handle: world.handle.clone(),
            follows: Follows {
                tasks: tasks.clone(),
                logs: Arc::clone(&logs),
                watches: Arc::clone(&world.watches),
            },
            tasks,
            jobs,
            store: Arc::clone(&world.store),
            logs,
            events: Arc::clone(&world.events),
            watches: Arc::clone(&world.watches),
            connections: Arc::clone(&world.connections),
            local_workers: Arc::clone(&world.local_workers),
            tokens,
            worker_clocks,
            durability,
            stop,
            started_at_ms: clock::unix_ms(),
        })
    }
}
