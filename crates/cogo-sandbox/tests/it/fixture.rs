//! One state directory and workspace per test, and short ways to run commands in them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cogo_sandbox::cgroup::{CgroupVersion, Cgroups};
use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::exec_dir::{ExecDir, StateDir};
use cogo_sandbox::log::{Entry, LogReader, Stream};
use cogo_sandbox::spec::{ExecSpec, Isolation, Limits, Network, Stdin, Workspace, WorkspaceMode};
use cogo_sandbox::start::{Launcher, Secret, Start, StartError, Started, start};
use cogo_sandbox::verdict::{Outcome, Verdict};

use crate::host::{self, until};

/// A place for the execs of one test.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) state: StateDir,
    pub(crate) workspace: PathBuf,
    launcher: Launcher,
    count: AtomicU32,
}

/// What became of an exec.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Ended {
    /// Standard output as text, without the final newline.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Fails unless the command exited with that code, showing what it printed.
    #[track_caller]
    pub(crate) fn expect_exit(&self, code: i32) -> &Self {
        let errors = String::from_utf8_lossy(&self.stderr);
        let expected = Outcome::Exited { code };
        assert_eq!(
            self.verdict.outcome,
            expected,
            "output: {}\nerrors: {errors}",
            self.text()
        );
        self
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        host::note_stale_groups();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = folder.path().join("workspace");
        std::fs::create_dir(&workspace).expect("a workspace");
        let state = StateDir::open(&folder.path().join("state")).expect("a state directory");
        let program = std::env::var_os("CARGO_BIN_EXE_cogo-launcher")
            .map_or_else(launcher_beside, Into::into);
        let launcher = Launcher {
            program,
            ..Launcher::default()
        };
        Self {
            folder,
            state,
            workspace,
            launcher,
            count: AtomicU32::new(0),
        }
    }

    /// Command lines of live processes that work in this place's workspace.
    pub(crate) fn processes_inside(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(Result::ok)
        {
            let cwd = std::fs::read_link(entry.path().join("cwd"));
            if cwd.is_ok_and(|cwd| cwd.ends_with(&self.workspace)) {
                let command = std::fs::read_to_string(entry.path().join("cmdline"));
                found.push(command.unwrap_or_default().replace('\0', " "));
            }
        }
        found
    }

    /// A folder that no sandbox is shown.
    pub(crate) fn outside(&self) -> &Path {
        self.folder.path()
    }

    /// A spec with the strongest isolation this user gets here, and no limits.
    pub(crate) fn spec(&self, argv: &[&str]) -> ExecSpec {
        ExecSpec {
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            cwd: None,
            env: Vec::new(),
            stdin: Stdin::Closed,
            pty: None,
            workspace: Workspace {
                path: self.workspace.clone(),
                mode: WorkspaceMode::Direct,
            },
            network: Network::None,
            limits: Limits::default(),
            isolation: strongest(),
            rootfs: None,
            home: PathBuf::from("/home/somebody"),
            read_only_paths: Vec::new(),
            grace_period: Duration::from_secs(2),
        }
    }

    /// A spec that runs a shell script.
    pub(crate) fn script(&self, script: &str) -> ExecSpec {
        self.spec(&["sh", "-c", script])
    }

    pub(crate) fn next_id(&self) -> String {
        format!(
            "test-{}-{}",
            std::process::id(),
            self.count.fetch_add(1, Ordering::Relaxed)
        )
    }

    pub(crate) fn try_start(
        &self,
        spec: &ExecSpec,
        secrets: &[Secret],
    ) -> Result<Start, StartError> {
        start(&self.launcher, &self.state, &self.next_id(), spec, secrets)
    }

    /// As [`Self::try_start`] with an id of the test's choosing, to find its traces by.
    pub(crate) fn try_start_as(
        &self,
        id: &str,
        spec: &ExecSpec,
        secrets: &[Secret],
    ) -> Result<Start, StartError> {
        start(&self.launcher, &self.state, id, spec, secrets)
    }

    /// What this place's execs are started with.
    pub(crate) fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// Starts a command that is expected to run.
    #[track_caller]
    pub(crate) fn start(&self, spec: &ExecSpec) -> Started {
        match self.try_start(spec, &[]).expect("a start") {
            Start::Running(started) => started,
            Start::Ended(exec) => panic!("not started: {:?}", exec.wait()),
        }
    }

    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn run(&self, spec: &ExecSpec) -> Ended {
        let exec = match self.try_start(spec, &[]).expect("a start") {
            Start::Running(mut started) => {
                started.reap().expect("a supervisor to reap");
                started.exec
            }
            Start::Ended(exec) => exec,
        };
        ended(&exec)
    }

    /// Runs a shell script to its end.
    #[track_caller]
    pub(crate) fn run_script(&self, script: &str) -> Ended {
        self.run(&self.script(script))
    }
}

/// What a failed test left running would disturb other tests.
impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for exec in self.state.execs().unwrap_or_default() {
            if let Ok(client) = ControlClient::connect(&exec) {
                let grace_period = Duration::ZERO;
                let _ = client.send(&Request::Stop { grace_period });
            }
        }
    }
}

/// Waits for the end and collects what was printed.
pub(crate) fn ended(exec: &ExecDir) -> Ended {
    let verdict = exec.wait().expect("a verdict");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut reader = LogReader::open(&exec.log_dir(), 0).expect("a log");
    while let Some(entry) = reader.next().expect("a readable log") {
        if let Entry::Record(record) = entry {
            match record.stream {
                Stream::Stdout => stdout.extend_from_slice(record.bytes),
                Stream::Stderr => stderr.extend_from_slice(record.bytes),
            }
        }
    }
    Ended {
        verdict,
        stdout,
        stderr,
    }
}

/// Waits until the exec has printed exactly this on its standard output.
#[track_caller]
pub(crate) fn wait_for_output(exec: &ExecDir, expected: &str) {
    let mut seen = Vec::new();
    let mut reader = LogReader::open(&exec.log_dir(), 0).expect("a log");
    until(&format!("the output is {expected:?}"), || {
        while let Some(entry) = reader.next().expect("a readable log") {
            if let Entry::Record(record) = entry
                && record.stream == Stream::Stdout
            {
                seen.extend_from_slice(record.bytes);
            }
        }
        seen == expected.as_bytes()
    });
}

/// Asks the exec's supervisor to end it.
pub(crate) fn stop(exec: &ExecDir, grace_period: Duration) {
    let client = ControlClient::connect(exec).expect("a supervisor");
    client
        .send(&Request::Stop { grace_period })
        .expect("a stop");
}

/// Whether this user gets limits of process trees here.
pub(crate) fn has_cgroups() -> bool {
    strongest() == Isolation::Strict
}

/// `strict` where control groups can be had, `standard` elsewhere.
pub(crate) fn strongest() -> Isolation {
    let cgroups = Cgroups::discover(None);
    let found = cgroups.capabilities();
    if found.version != CgroupVersion::None && found.memory && found.pids {
        Isolation::Strict
    } else {
        Isolation::Standard
    }
}

/// The launcher lies beside the test program when tests were copied elsewhere.
fn launcher_beside() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    test.with_file_name("cogo-launcher")
}
