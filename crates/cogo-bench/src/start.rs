//! How long it takes to run `/bin/true`.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use cogo_sandbox::exec_dir::StateDir;
use cogo_sandbox::spec::{ExecSpec, Isolation, Limits, Network, Stdin, Workspace, WorkspaceMode};
use cogo_sandbox::start::{Launcher, Start, StartError, start};
use cogo_sandbox::verdict::Outcome;
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::measure::{self, Contender};

const BWRAP: [&str; 20] = [
    "bwrap",
    "--unshare-all",
    "--die-with-parent",
    "--ro-bind",
    "/usr",
    "/usr",
    "--symlink",
    "usr/bin",
    "/bin",
    "--symlink",
    "usr/lib",
    "/lib",
    "--symlink",
    "usr/lib64",
    "/lib64",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "/bin/true",
];

/// Times all ways to run `/bin/true`.
pub(crate) fn run(rounds: u32) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let state = StateDir::open(&folder.path().join("state"))?;
    let workspace = folder.path().join("workspace");
    std::fs::create_dir(&workspace)?;
    let spec = spec(workspace);
    let launcher = Launcher::default();
    let cold = Zygote::start(&launcher, ZygoteOptions::default())?;
    let warm = Zygote::start(&launcher, ZygoteOptions::default())?;
    warm.keep_warm(&spec, 2)?;
    let count = Cell::new(0);
    let id = || {
        count.set(count.get() + 1);
        format!("bench-{}", count.get())
    };
    let mut contenders = vec![
        Contender::new("spawn and wait, no sandbox", || command(&["/bin/true"])),
        Contender::new("cogo session-less, warm", || {
            finish(&state, warm.start_exec(&state, &id(), &spec, &[]))
        }),
        Contender::new("cogo cold, from a zygote", || {
            finish(&state, cold.start_exec(&state, &id(), &spec, &[]))
        }),
        Contender::new("cogo cold, launcher executed anew", || {
            finish(&state, start(&launcher, &state, &id(), &spec, &[]))
        }),
    ];
    if command(&BWRAP).is_ok() {
        contenders.push(Contender::new("bwrap", || command(&BWRAP)));
    }
    measure::run(rounds, &mut contenders)
}

/// A command in a strict sandbox with limits.
pub(crate) fn spec(workspace: PathBuf) -> ExecSpec {
    ExecSpec {
        argv: vec!["/bin/true".to_owned()],
        cwd: None,
        env: Vec::new(),
        stdin: Stdin::Closed,
        pty: None,
        workspace: Workspace {
            path: workspace,
            mode: WorkspaceMode::Direct,
        },
        network: Network::None,
        limits: Limits {
            memory: Some(1 << 30),
            pids: Some(100),
            ..Limits::default()
        },
        isolation: Isolation::Strict,
        rootfs: None,
        home: PathBuf::from("/home/bench"),
        read_only_paths: Vec::new(),
        grace_period: Duration::from_secs(2),
    }
}

fn command(argv: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", argv[0]))?;
    ensure!(status.success(), "{} failed", argv[0]);
    Ok(())
}

/// Waits for the durable verdict and removes the exec, whose removal is not a part of the run.
fn finish(_state: &StateDir, started: Result<Start, StartError>) -> anyhow::Result<()> {
    let exec = match started? {
        Start::Running(mut started) => {
            let verdict = started.exec.wait()?;
            ensure!(
                verdict.outcome == Outcome::Exited { code: 0 },
                "{verdict:?}"
            );
            started.reap()?;
            started.exec
        }
        Start::Ended(exec) => anyhow::bail!("did not start: {:?}", exec.wait()?),
    };
    exec.remove()?;
    Ok(())
}
