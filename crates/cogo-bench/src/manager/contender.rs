//! The processes that are measured.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Form, http};

/// Where everything lies that contenders share.
pub(super) struct Setup {
    pub(super) cogo: PathBuf,
    folder: TempDir,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `cogo serve`, durable, with local workers and strict sandboxes.
    Serve,
    /// `cogo worker` by itself.
    Worker,
    /// The seed design.
    Seed,
}

/// A running contender. Dropping it ends it and all it runs.
pub(super) struct Contender {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    process: Child,
    state: TempDir,
    workspace: PathBuf,
    cogo: PathBuf,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Serve => "cogo serve",
            Self::Worker => "cogo worker",
            Self::Seed => "seed (Python + Node, no sandbox)",
        }
    }
}

impl Setup {
    pub(super) fn new(cogo: PathBuf) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let workspace = folder.path().join("workspace");
        std::fs::create_dir(&workspace)?;
        // Sandboxes show the workspace and the system, not where this program was built.
        std::fs::copy(std::env::current_exe()?, workspace.join("bench"))?;
        Ok(Self { cogo, folder })
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// The command line that writes so many lines with the time in them, with a pause after each.
    pub(super) fn lines(&self, count: u32, pause: Duration) -> String {
        let bench = self.workspace().join("bench");
        format!("{} lines {count} {}", bench.display(), pause.as_micros())
    }
}

impl Contender {
    /// Starts it with so many workers, and waits until it takes tasks.
    pub(super) fn start(setup: &Setup, kind: Kind, workers: u32) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let address = free_address(workers)?;
        let mut command = match kind {
            Kind::Serve => serve(setup, state.path(), address, workers),
            Kind::Worker => worker(setup, state.path(), address),
            Kind::Seed => seed(address, workers)?,
        };
        let log = File::create(state.path().join("log"))?;
        let process = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("it is not installed")?;
        let mut contender = Self {
            kind,
            address,
            process,
            state,
            workspace: setup.workspace(),
            cogo: setup.cogo.clone(),
        };
        contender.await_ready(workers)?;
        Ok(contender)
    }

    fn await_ready(&mut self, workers: u32) -> anyhow::Result<()> {
        if self.kind == Kind::Seed {
            let out = self.process.stdout.take().context("it was asked for")?;
            let first = BufReader::new(out).lines().next();
            let said = std::fs::read_to_string(self.state.path().join("log"))?;
            ensure!(
                first.is_some(),
                "{}",
                said.trim().lines().last().unwrap_or("it ended")
            );
            return Ok(());
        }
        self.await_so("it to be ready", || {
            if self.kind == Kind::Worker {
                return TcpStream::connect(self.address).is_ok();
            }
            let health = self.get("/health").unwrap_or_default();
            health["workersConnected"] == workers
        })
    }

    /// Waits for something, for a minute at most.
    pub(super) fn await_so(&self, what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_mins(1);
        while !is_so() {
            if Instant::now() > until {
                let log = std::fs::read_to_string(self.state.path().join("log"))?;
                bail!("waited for {what} in vain: {log}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        http(self.address, "GET", path, &Value::Null)
    }

    /// Where its protocol is spoken.
    pub(super) const fn path(&self) -> &'static str {
        match self.kind {
            Kind::Serve => "/api/sandbox/connect",
            Kind::Worker | Kind::Seed => "/",
        }
    }

    pub(super) const fn form(&self) -> Form {
        match self.kind {
            Kind::Serve | Kind::Worker => Form::Binary,
            Kind::Seed => Form::Json,
        }
    }

    /// What a request for a task says besides its command.
    pub(super) fn request(&self) -> Value {
        match self.kind {
            Kind::Serve | Kind::Worker => {
                json!({"workspace": self.workspace, "isolation": "strict"})
            }
            Kind::Seed => Value::Null,
        }
    }

    pub(super) fn process(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    pub(super) fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// The processes of its local workers.
    pub(super) fn workers(&self) -> anyhow::Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for folder in std::fs::read_dir(self.state.path().join("workers"))? {
            let text = std::fs::read_to_string(folder?.path().join("pid"))?;
            let pid = text.split(' ').next().and_then(|pid| pid.parse().ok());
            pids.push(pid.and_then(Pid::from_raw).context("no process id")?);
        }
        Ok(pids)
    }

    /// A worker of its own that dials it. It is for the caller to end.
    pub(super) fn join(&self, name: &str) -> anyhow::Result<Child> {
        let state = self.state.path().join("workers").join(name);
        std::fs::create_dir_all(&state)?;
        let child = Command::new(&self.cogo)
            .arg("--state-dir")
            .arg(&state)
            .args(["worker", "--handover", "--id", name, "--slots", "4"])
            .args(["--join", &format!("ws://{}", self.address)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::fs::write(state.join("pid"), format!("{} 0", child.id()))?;
        Ok(child)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if self.kind == Kind::Seed {
            // Its pool ends with its standard input.
            drop(self.process.stdin.take());
            let _ = self.process.wait();
            return;
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        for worker in self.workers().unwrap_or_default() {
            let _ = kill_process(worker, Signal::KILL);
        }
        let mut states = vec![self.state.path().join("state")];
        if let Ok(folders) = std::fs::read_dir(self.state.path().join("workers")) {
            states.extend(folders.flatten().map(|folder| folder.path()));
        }
        // A worker has its tasks in a state directory inside its own.
        for state in states.iter().map(|state| state.join("worker")) {
            let mut kill = Command::new(&self.cogo);
            let kill = kill
                .arg("--state-dir")
                .arg(state)
                .args(["kill", "--all", "--now"]);
            let _ = kill.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

fn serve(setup: &Setup, state: &Path, address: SocketAddr, workers: u32) -> Command {
    let mut command = Command::new(&setup.cogo);
    command
        .arg("--state-dir")
        .arg(state)
        .args(["serve", "--listen", &address.to_string()])
        .args(["--workers", &workers.to_string(), "--slots", "4"]);
    command
}

fn worker(setup: &Setup, state: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(&setup.cogo);
    command.arg("--state-dir").arg(state.join("state")).args([
        "worker",
        "--listen",
        &address.to_string(),
        "--slots",
        "4",
    ]);
    command
}

fn seed(address: SocketAddr, workers: u32) -> anyhow::Result<Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/seed");
    ensure!(
        folder.join("node_modules").is_dir(),
        "`npm install --prefix crates/cogo-bench/peers/seed` was not run"
    );
    let mut command = Command::new("python3");
    command
        .arg(folder.join("manager.py"))
        .args([address.port().to_string(), workers.to_string()])
        .stdin(Stdio::piped());
    Ok(command)
}

/// An address with so many free ports behind it.
fn free_address(more: u32) -> anyhow::Result<SocketAddr> {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let port = u32::from(address.port());
        let free = |port: u32| {
            u16::try_from(port).is_ok_and(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        };
        if (port + 1..=port + more).all(free) {
            return Ok(address);
        }
    }
    bail!("there are no free ports")
}
