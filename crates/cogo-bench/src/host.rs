//! What cogo is run with: a state directory, a workspace, ids, and the spec of a small command.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use cogo_sandbox::cgroup::Cgroups;
use cogo_sandbox::exec_dir::{ExecDir, StateDir};
use cogo_sandbox::spec::{ExecSpec, Isolation, Limits, Network, Stdin, Workspace, WorkspaceMode};
use cogo_sandbox::start::{Start, StartError, Started};
use cogo_sandbox::verdict::Outcome;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

/// A folder in which execs have their state and their workspace. Gone when dropped.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) state: StateDir,
    count: Cell<u32>,
}

impl Place {
    /// A place on the disk that holds temporary files.
    pub(crate) fn on_disk() -> anyhow::Result<Self> {
        Self::below(&std::env::temp_dir())
    }

    /// A place in memory, where a sync costs nothing.
    pub(crate) fn in_memory() -> anyhow::Result<Self> {
        Self::below(Path::new("/dev/shm"))
    }

    fn below(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(parent)?;
        let state = StateDir::open(&folder.path().join("state"))?;
        std::fs::create_dir(folder.path().join("workspace"))?;
        Ok(Self {
            folder,
            state,
            count: Cell::new(0),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A name that no exec here had before.
    pub(crate) fn id(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("bench-{}", self.count.get())
    }

    /// A command in a strict sandbox, without limits.
    pub(crate) fn spec(&self, argv: &[&str]) -> ExecSpec {
        ExecSpec {
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            cwd: None,
            env: Vec::new(),
            stdin: Stdin::Closed,
            pty: None,
            workspace: Workspace {
                path: self.folder.path().join("workspace"),
                mode: WorkspaceMode::Direct,
            },
            network: Network::None,
            limits: Limits::default(),
            isolation: Isolation::Strict,
            rootfs: None,
            home: PathBuf::from("/home/bench"),
            read_only_paths: Vec::new(),
            grace_period: Duration::from_secs(2),
        }
    }

    /// The same with bounds on memory and processes, as an untrusted command would have them.
    pub(crate) fn limited_spec(&self, argv: &[&str]) -> ExecSpec {
        let mut spec = self.spec(argv);
        spec.limits.memory = Some(1 << 30);
        spec.limits.pids = Some(100);
        spec
    }
}

/// What a start must have led to.
pub(crate) fn running(start: Result<Start, StartError>) -> anyhow::Result<Started> {
    match start? {
        Start::Running(started) => Ok(started),
        Start::Ended(exec) => bail!("did not start: {:?}", exec.wait()?),
    }
}

/// Time from just before the start to the durable verdict. What comes after it, the end of the
/// supervisor, is waited for and not counted. The exec's folder stays, as those of real execs do
/// for a while: ext4 steps over inodes that were freed in the last minutes one by one, so that a
/// benchmark which removes what it made measures that.
pub(crate) fn time_to_verdict(
    start: impl FnOnce() -> Result<Start, StartError>,
) -> anyhow::Result<Duration> {
    let before = Instant::now();
    let mut started = running(start())?;
    let verdict = started.exec.wait()?;
    let time = before.elapsed();
    ensure!(
        verdict.outcome == Outcome::Exited { code: 0 },
        "{verdict:?}"
    );
    await_supervisor(&mut started)?;
    Ok(time)
}

/// Waits until the supervisor is gone, and removes the exec.
pub(crate) fn clear_away(started: &mut Started) -> anyhow::Result<()> {
    await_supervisor(started)?;
    ExecDir::at(started.exec.path()).remove()?;
    Ok(())
}

/// Waits until the supervisor is gone.
fn await_supervisor(started: &mut Started) -> anyhow::Result<()> {
    // One that is gone already cannot be opened.
    let supervisor = Pid::from_raw(started.running.supervisor_pid)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(supervisor) = supervisor {
        poll(&mut [PollFd::new(&supervisor, PollFlags::IN)], None)?;
    }
    started.reap()?;
    Ok(())
}

/// The machine in one line.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = rustix::system::uname();
    let cgroups = Cgroups::discover(None).capabilities().version;
    let memory = {
        let info = rustix::system::sysinfo();
        (info.totalram * u64::from(info.mem_unit)) >> 30
    };
    format!(
        "Machine: {cores} cores, {memory} GiB, Linux {}, control groups {cgroups:?}, as {}",
        kernel.release().to_string_lossy(),
        if rustix::process::geteuid().is_root() {
            "root"
        } else {
            "an ordinary user"
        }
    )
}
