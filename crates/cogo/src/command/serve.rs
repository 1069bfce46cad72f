//! `cogo serve`: a manager with local workers.

mod fix_jobs;
mod job_cancel;
mod log;
mod own_token;
mod plan_runner;
mod pool;
mod process;
mod stopping;
mod workers_listener;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cogo_manager::coordinator::Config;
use cogo_manager::jobs::JobRunner;
use cogo_manager::rules::pool::PoolConfig;
use cogo_manager::{Manager, ManagerConfig, Parts, Rate, tls_config};
use cogo_protocol::job::JobKind;
use cogo_protocol::units::TimeSpan;
use cogo_sandbox::exec_dir::StateDir;
use cogo_store::task_log::TaskLogs;
use cogo_store::{Durability, SqliteStore};
use tokio::net::TcpListener;

use crate::blocks::BlockOptions;
use crate::client::{Client, ServerFile};
use crate::failure::{Failure, note};

use pool::{LocalPool, PoolSettings};

const LONG: &str = "\
Take tasks from anyone and get them done by a pool of workers

A server keeps what it was told: it may be killed and started again at any moment, and no task \
is lost or done twice. Workers run beside it on this host, and others may join from elsewhere.

Without a token it answers this host alone. `cogo token create` makes tokens.";

const EXAMPLES: &str = "\
Examples:
  cogo serve                                 for this host, on http://127.0.0.1:7171
  cogo submit -- cargo test                  from another terminal
  cogo serve --workers 2..8 --slots 4        more at once
  cogo token create ci --scope submit        before listening for others:
  cogo serve --listen 0.0.0.0:7171 --tls-cert cert.pem --tls-key key.pem

Signals:
  Ctrl-C, SIGTERM   take nothing new, let running tasks finish, and end
  once more         end at once; tasks that run go on, and the next `cogo serve` picks them up";

/// Take tasks and get them done by a pool of workers
#[derive(Args, Debug)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7171",
        help_heading = "Server"
    )]
    listen: SocketAddr,
    /// Certificate chain, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Server"
    )]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Server"
    )]
    tls_key: Option<PathBuf>,
    /// Let web pages of this origin use the API, such as <https://console.example.org>; may be
    /// repeated
    #[arg(long, value_name = "ORIGIN", help_heading = "Server")]
    allow_origin: Vec<String>,
    /// Requests that one client may send in a second; more are refused
    #[arg(long, value_name = "COUNT", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Server")]
    rate: u32,
    /// Time between two heartbeats to a client of a WebSocket
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Server"
    )]
    heartbeat: TimeSpan,
    /// Time for which a client of a WebSocket may neither say nor take anything
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Server"
    )]
    silence: TimeSpan,

    /// Local workers: at least and at most, or exactly
    #[arg(
        long,
        value_name = "MIN..MAX",
        default_value = "1..10",
        help_heading = "Workers"
    )]
    workers: Range,
    /// Tasks at once in each of them [default: the number of cores, at least 2]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000),
          help_heading = "Workers")]
    slots: Option<u32>,
    /// Silence of a worker after which its tasks are taken back
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        help_heading = "Workers"
    )]
    lease: TimeSpan,

    /// What a task's state survives: loss of power, or only `kill -9`, which is faster
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "EVENT",
        help_heading = "Queue"
    )]
    durability: DurabilityOption,
    /// Tasks that may wait; more are refused
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 100_000,
        help_heading = "Queue"
    )]
    queue_max: usize,
    /// How long running tasks may take to finish when the server ends [default: for ever]
    #[arg(long, value_name = "TIME", help_heading = "Ending")]
    drain_timeout: Option<TimeSpan>,

    #[command(flatten)]
    blocks: BlockOptions,
}

/// More often than this a heartbeat says nothing new.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// What a task's state survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DurabilityOption {
    /// Loss of power
    #[default]
    Full,
    /// `kill -9`
    Normal,
}

impl From<DurabilityOption> for Durability {
    fn from(option: DurabilityOption) -> Self {
        match option {
            DurabilityOption::Full => Self::Full,
            DurabilityOption::Normal => Self::Normal,
        }
    }
}

/// How many workers: `MIN..MAX`, or one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    min: usize,
    max: usize,
}

/// A text that is no range.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{0}` is not a range such as `1..10`, or a number")]
struct InvalidRange(String);

impl std::str::FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let invalid = || InvalidRange(text.to_owned());
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let min = min.parse().map_err(|_| invalid())?;
        let max = max.parse().map_err(|_| invalid())?;
        if min > max {
            return Err(invalid());
        }
        Ok(Self { min, max })
    }
}

/// Serves until it is told to end.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    log::to_stderr();
    // What waits for requests costs memory for each thread; two are enough for the sockets, and
    // the store and the processes have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("cogo-serve")
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("failed to start a runtime", &error))?;
    let result = runtime.block_on(serve(options, state));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn serve(options: &Options, state_dir: &StateDir) -> Result<u8, Failure> {
    let state = state_dir.path();
    let mut signals = stopping::Signals::listen()?;
    // What is wrong is told here, and not in the log of each worker.
    options.blocks.settings()?;
    let home = state.join("manager");
    std::fs::create_dir_all(&home)
        .map_err(|error| Failure::caused(format!("failed to make `{}`", home.display()), &error))?;
    let store = SqliteStore::open(&home.join("store.sqlite"), options.durability.into())?;
    let logs = TaskLogs::open(&home.join("logs"))?;
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        Failure::caused(format!("failed to listen on {}", options.listen), &error)
            .hint("another address is chosen with --listen")
    })?;
    let address = listener.local_addr()?;
    let own = own_token::OwnToken::load(&home)?;
    let tls = tls(options)?;
    // Local workers do not speak TLS, and what stays on this host does not need it.
    let workers_listener = match tls {
        Some(_) => Some(workers_listener::bind(&home).await?),
        None => None,
    };
    let join = match &workers_listener {
        Some(listener) => listener.local_addr()?,
        None => dialable(address),
    };
    let pool = Arc::new(LocalPool::start(PoolSettings {
        directory: state.join("workers"),
        join: format!("ws://{join}"),
        token_file: own.path().to_owned(),
        slots: options.slots,
        blocks: options.blocks.arguments(),
    })?);
    // What is on a loopback address here and has no TLS can be asked by our own token.
    let client = match tls {
        Some(_) => None,
        None => Some(own.client(dialable(address))?),
    };
    let parts = Parts {
        store: Arc::new(store),
        logs,
        jobs_directory: home.join("jobs"),
        job_runners: job_runners(state_dir, client),
        local_workers: pool.clone(),
        own_token: Some(own.record()),
        listener,
        tls,
        workers_listener,
    };
    let mut manager = Manager::start(config(options), parts).map_err(explain)?;
    let url = url(options, address);
    ServerFile::write(state, &url)
        .map_err(|error| Failure::caused("failed to write server.json", &error))?;
    greet(&url);
    let result = stopping::until_told(&mut manager, &mut signals).await;
    let result = match result {
        Ok(()) => stopping::drain(&manager, &mut signals, options.drain_timeout).await,
        Err(failure) => Err(failure),
    };
    ServerFile::remove(state);
    finish(manager, &pool, result).await
}

/// Who does which jobs.
fn job_runners(state: &StateDir, client: Option<Client>) -> BTreeMap<JobKind, Arc<dyn JobRunner>> {
    let fixes: Arc<dyn JobRunner> = Arc::new(fix_jobs::FixJobs::new(state.clone()));
    let plans: Arc<dyn JobRunner> = Arc::new(plan_runner::PlanRunner {
        state: state.clone(),
        client,
    });
    BTreeMap::from([(JobKind::Fix, fixes), (JobKind::Plan, plans)])
}

/// Stops the manager, and the workers where everything is done.
async fn finish(
    manager: Manager,
    pool: &LocalPool,
    result: Result<stopping::Drained, Failure>,
) -> Result<u8, Failure> {
    match result {
        Ok(drained) => {
            manager.stop().await?;
            match drained {
                stopping::Drained::Empty => pool.stop_all(),
                stopping::Drained::Left => {
                    pool.hand_over();
                    note("tasks that run go on; the next `cogo serve` picks them up");
                }
            }
            Ok(0)
        }
        // Workers stay: they have the tasks, and wait for the next manager.
        Err(failure) => Err(failure),
    }
}

fn config(options: &Options) -> ManagerConfig {
    let lease = options.lease.into();
    let mut config = ManagerConfig {
        durability: options.durability.into(),
        ..ManagerConfig::default()
    };
    config.doors.origins.clone_from(&options.allow_origin);
    config.doors.heartbeat = Duration::from(options.heartbeat).max(HEARTBEAT_MIN);
    config.doors.silence_max = Duration::from(options.silence).max(HEARTBEAT_MIN);
    config.doors.rate = Rate {
        per_second: options.rate,
        burst: options.rate,
    };
    config.coordinator = Config {
        lease,
        heartbeat: lease / 5,
        queue_bound: options.queue_max,
        pool: PoolConfig {
            min: options.workers.min,
            max: options.workers.max,
            ..PoolConfig::default()
        },
        ..config.coordinator
    };
    config
}

fn tls(options: &Options) -> Result<Option<Arc<tokio_rustls::rustls::ServerConfig>>, Failure> {
    let (Some(certificate), Some(key)) = (&options.tls_cert, &options.tls_key) else {
        return Ok(None);
    };
    Ok(Some(tls_config(certificate, key)?))
}

/// Where local workers find a listener.
fn dialable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let loopback: std::net::IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, address.port())
}

fn url(options: &Options, address: SocketAddr) -> String {
    let scheme = if options.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}", dialable(address))
}

fn greet(url: &str) {
    note(&format!("serving on {url}"));
    note(&format!(
        "submit a task: cogo submit --server {url} -- COMMAND"
    ));
}

fn explain(error: cogo_manager::StartError) -> Failure {
    let open = matches!(error, cogo_manager::StartError::Open(_));
    let failure = Failure::from(error);
    if open {
        failure.hint(
            "make a token with `cogo token create NAME --scope submit`, or listen on 127.0.0.1",
        )
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!("1..10".parse::<Range>().unwrap(), Range { min: 1, max: 10 });
        assert_eq!("3".parse::<Range>().unwrap(), Range { min: 3, max: 3 });
        for bad in ["", "..", "5..2", "a", "1..b"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }
}
