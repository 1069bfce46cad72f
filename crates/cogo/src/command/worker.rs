//! `cogo worker`: serves clients and managers until it is asked to end.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use cogo_protocol::exec::Isolation;
use cogo_protocol::units::{Bytes, TimeSpan};
use cogo_protocol::worker::WorkerId;
use cogo_sandbox::cgroup::Cgroups;
use cogo_sandbox::exec_dir::StateDir;
use cogo_sandbox::probe::HostReport;
use cogo_worker::config::{AtEnd, HostEnvironment, ManagerUrl, Retention, Token};
use cogo_worker::convert;
use cogo_worker::wire::Trust;
use cogo_worker::{Wish, Worker, WorkerConfig, WorkerError};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::mpsc;
use tracing_subscriber::filter::LevelFilter;

use crate::blocks::BlockOptions;
use crate::command::doctor;
use crate::failure::{Failure, note};

const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070);
/// Threads for what blocks: reading logs and making sandboxes.
const BLOCKING_THREADS_MAX: usize = 8;

const LONG: &str = "\
Serve clients and managers: run their commands in sandboxes

A worker speaks WebSocket, and the same messages both ways: it listens for clients, or dials a \
manager. Tasks outlive it: a worker that is started on the state directory of one that died \
finds the tasks that run and those that ended.";

const EXAMPLES: &str = "\
Examples:
  cogo worker                                      for this host, on 127.0.0.1:7070
  cogo worker --listen 127.0.0.1:0 --slots 8       on a free port, which is printed
  cogo worker --listen 0.0.0.0:7070 --token-file /etc/cogo/token
  cogo worker --join wss://manager:7171 --token-file /etc/cogo/token --label arch=arm64

Signals:
  SIGTERM, Ctrl-C   take nothing new, let running tasks finish for --drain-timeout, then stop
                    what is left with its grace period; with --handover, leave tasks running
  once more         kill what still runs, and end

Try it:
  npx wscat -c ws://127.0.0.1:7070
  > {\"type\":\"execute_command\",\"taskId\":\"t1\",\"command\":\"echo hello\"}";

/// Serve clients and managers: run their commands in sandboxes
#[derive(Args, Debug)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7070, or nowhere with --join]
    ///
    /// Other addresses than loopback need --token-file.
    #[arg(long, value_name = "ADDRESS", help_heading = "Connections")]
    listen: Option<SocketAddr>,
    /// Dial this manager; several are tried in order until one takes the worker in
    ///
    /// `ws://`, or `wss://` where the network is not to be trusted. Without a path the manager's
    /// own is used.
    #[arg(long, value_name = "URL", help_heading = "Connections")]
    join: Vec<ManagerUrl>,
    /// Trust managers by the certificates in this file besides those that the system trusts
    #[arg(
        long,
        value_name = "FILE",
        requires = "join",
        help_heading = "Connections"
    )]
    ca_cert: Option<PathBuf>,
    /// File with the token that clients must bring, and that is brought to a manager
    #[arg(long, value_name = "FILE", help_heading = "Connections")]
    token_file: Option<PathBuf>,
    /// Let web pages of this origin connect, such as `https://console.example.org`; may be
    /// repeated
    ///
    /// Pages of this host may always. Programs other than browsers have no origin.
    #[arg(long, value_name = "ORIGIN", help_heading = "Connections")]
    allow_origin: Vec<String>,
    /// Time between heartbeats; a manager may want another
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time,
          help_heading = "Connections")]
    heartbeat: TimeSpan,
    /// Longest message that is taken
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        help_heading = "Connections"
    )]
    message_max: Bytes,

    /// Its name [default: made at the first start and kept in the state directory]
    #[arg(long, value_name = "NAME", help_heading = "Worker")]
    id: Option<WorkerId>,
    /// Its type, which tasks may require
    #[arg(
        long = "type",
        value_name = "TYPE",
        default_value = "basic",
        help_heading = "Worker"
    )]
    kind: String,
    /// A label that tasks may require; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label, help_heading = "Worker")]
    label: Vec<(String, String)>,
    /// Tasks at once [default: the number of cores, at least 2]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000),
          help_heading = "Worker")]
    slots: Option<u32>,
    /// Sandboxes to keep ready for tasks that ask for nothing special
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 2,
        help_heading = "Worker"
    )]
    warm: usize,

    #[command(flatten)]
    blocks: BlockOptions,

    /// Ended tasks to keep for replay, until a manager acknowledges them
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 256,
        help_heading = "Ended tasks"
    )]
    keep: usize,
    /// How long to keep them
    #[arg(
        long,
        value_name = "TIME",
        default_value = "24h",
        help_heading = "Ended tasks"
    )]
    keep_for: TimeSpan,

    /// How long running tasks may take to finish when the worker ends; then they are stopped
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Ending"
    )]
    drain_timeout: TimeSpan,
    /// Leave running tasks to the next worker on this state directory
    #[arg(long, help_heading = "Ending", conflicts_with = "drain_timeout")]
    handover: bool,

    /// What to log on stderr [default: `COGO_LOG`, else info]
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "Logging")]
    log_level: Option<LogLevel>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Serves until it is asked to end.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    log_to_stderr(options.log_level)?;
    let config = config(options, state)?;
    let told = Told::of(&config);
    // Everything that forks comes before the first thread.
    let worker = Worker::open(config).map_err(|error| explain(error, state.path()))?;
    let wishes = listen_for_signals()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .map_err(|error| Failure::caused("failed to start the runtime", &error))?;
    let id = worker.id().clone();
    runtime
        .block_on(worker.run(wishes, |address| told.print(&id, address)))
        .map_err(|error| explain(error, state.path()))?;
    Ok(0)
}

fn config(options: &Options, state: &StateDir) -> Result<WorkerConfig, Failure> {
    let isolation = isolation();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    Ok(WorkerConfig {
        block: options.blocks.settings()?,
        state_dir: state.path().join("worker"),
        rootfs_dir: state.path().join("rootfs"),
        id: options.id.clone(),
        kind: options.kind.clone(),
        labels: options.label.iter().cloned().collect(),
        slots: options.slots.unwrap_or_else(|| cores.max(2)),
        warm: options.warm,
        isolation,
        listen: match options.listen {
            Some(address) => Some(address),
            None => options.join.is_empty().then_some(LISTEN_DEFAULT),
        },
        join: options.join.clone(),
        trust: options
            .join
            .iter()
            .any(ManagerUrl::is_secure)
            .then(|| Trust::load(options.ca_cert.as_deref()))
            .transpose()?,
        token: options.token_file.as_deref().map(token).transpose()?,
        allowed_origins: options.allow_origin.clone(),
        heartbeat: options.heartbeat.into(),
        message_max: usize::try_from(options.message_max.get()).unwrap_or(usize::MAX),
        retention: Retention {
            count: options.keep,
            age: options.keep_for.into(),
        },
        at_end: if options.handover {
            AtEnd::Handover
        } else {
            AtEnd::Drain(options.drain_timeout.into())
        },
        host: HostEnvironment {
            home: super::run::home()?,
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        },
    })
}

/// The tiers that this host can enforce, strongest first.
fn isolation() -> Vec<Isolation> {
    let cgroups = Cgroups::discover(None);
    let report = HostReport::probe(doctor::cgroup_checks(cgroups.capabilities()));
    report
        .tiers
        .iter()
        .filter(|tier| tier.missing.is_empty())
        .map(|tier| convert::isolation(tier.isolation))
        .collect()
}

fn token(path: &Path) -> Result<Token, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::caused(
            format!("failed to read the token from `{}`", path.display()),
            &error,
        )
    })?;
    Token::parse(&text).map_err(|error| {
        Failure::caused(format!("`{}` holds no token", path.display()), &error)
            .hint("make one: head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d = > FILE")
    })
}

fn explain(error: WorkerError, state: &Path) -> Failure {
    let hint = match &error {
        WorkerError::InUse { .. } => {
            "stop that worker, or give this one a --state-dir of its own".to_owned()
        }
        WorkerError::Exposed(_) => {
            "make a token and give it with --token-file, or listen on 127.0.0.1".to_owned()
        }
        WorkerError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            "another program has that port; choose one with --listen 127.0.0.1:PORT, or 0 for any"
                .to_owned()
        }
        WorkerError::Listen { .. } => "choose another address with --listen".to_owned(),
        WorkerError::Zygote(_) => "`cogo doctor` tells what this host can do".to_owned(),
        WorkerError::BadId(_) => "remove the file, or give a name with --id".to_owned(),
        WorkerError::Io { .. } | WorkerError::State(_) => format!(
            "check the rights on `{}`, or name another with --state-dir",
            state.display()
        ),
        WorkerError::Watcher(_) => "let it have more threads and descriptors".to_owned(),
        WorkerError::Unreachable => "give --listen or --join".to_owned(),
    };
    Failure::from(error).hint(hint)
}

/// Logs go to stderr, one line an event.
fn log_to_stderr(option: Option<LogLevel>) -> Result<(), Failure> {
    let level = match (option, std::env::var("COGO_LOG")) {
        (Some(level), _) => level,
        (None, Ok(text)) if !text.is_empty() => LogLevel::from_str(&text, true).map_err(|_| {
            Failure::new(format!("COGO_LOG is `{text}`, which is no level"))
                .hint("use off, error, warn, info, debug or trace")
        })?,
        (None, Ok(_) | Err(_)) => LogLevel::Info,
    };
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(level))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Turns signals into wishes. The first means the end in order, the next ones more haste.
fn listen_for_signals() -> Result<mpsc::Receiver<Wish>, Failure> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])
        .map_err(|error| Failure::caused("failed to listen for signals", &error))?;
    let (sender, wishes) = mpsc::channel(4);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(64 << 10)
        .spawn(move || {
            for _ in signals.forever() {
                // A full queue has been told often enough.
                let _ = sender.try_send(Wish::End);
            }
        })
        .map_err(|error| Failure::caused("failed to listen for signals", &error))?;
    Ok(wishes)
}

/// What is said at the start.
struct Told {
    kind: String,
    slots: u32,
    isolation: Vec<Isolation>,
    managers: Vec<String>,
}

impl Told {
    fn of(config: &WorkerConfig) -> Self {
        Self {
            kind: config.kind.clone(),
            slots: config.slots,
            isolation: config.isolation.clone(),
            managers: config.join.iter().map(ToString::to_string).collect(),
        }
    }

    /// One line on stdout. A closed stdout is no reason to fail.
    fn print(&self, id: &WorkerId, address: Option<SocketAddr>) {
        let mut line = String::from("cogo worker");
        if let Some(address) = address {
            let _ = write!(line, " on ws://{address}");
        }
        for manager in &self.managers {
            let _ = write!(line, " for {manager}");
        }
        let strongest = match self.isolation.first() {
            Some(Isolation::Strict) => "strict",
            Some(Isolation::Standard) => "standard",
            Some(Isolation::None) | None => "none",
        };
        let (kind, slots) = (&self.kind, self.slots);
        let _ = writeln!(
            std::io::stdout(),
            "{line} · id {id} · type {kind} · slots {slots} · isolation {strongest}"
        );
        if strongest != "strict" {
            note(
                "tasks that ask for strict isolation, the default, are refused here; see `cogo doctor`",
            );
        }
    }
}

fn parse_time(text: &str) -> Result<TimeSpan, String> {
    let time: TimeSpan = text
        .parse()
        .map_err(|error: cogo_protocol::units::UnitError| error.to_string())?;
    if time.as_millis() < 100 {
        return Err("must be at least 100ms".to_owned());
    }
    Ok(time)
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}
