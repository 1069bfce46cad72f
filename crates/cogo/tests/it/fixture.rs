//! One user's world: a state directory, a workspace, a home, and `cogo` in it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No condition takes longer on a machine that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// A user's world. Dropping it kills what it left running.
pub(crate) struct Fixture {
    place: TempDir,
}

/// What a command of ours did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for name in ["state", "workspace", "home"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        Self { place }
    }

    /// Where the workspace is; paths in messages are free of links.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("workspace")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("home")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.place.path().canonicalize().unwrap().join("state")
    }

    /// `cogo` with these arguments, in the workspace and with little else.
    pub(crate) fn cogo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.workspace())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("COGO_STATE_DIR", self.state())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `cogo run` with these options before the command, at the strongest tier this host has.
    pub(crate) fn run(&self, options: &[&str], command: &[&str]) -> Command {
        let tier = ["run", "--isolation", strongest_tier()];
        let all = tier
            .iter()
            .chain(options)
            .chain(&["--"])
            .chain(command)
            .copied();
        self.cogo(all)
    }

    /// `cogo run` of a shell script.
    pub(crate) fn script(&self, options: &[&str], script: &str) -> Command {
        self.run(options, &["sh", "-c", script])
    }

    /// Starts a script in the background and returns its id.
    pub(crate) fn detached(&self, script: &str) -> String {
        let ran = finish(&mut self.script(&["--detach"], script));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout.trim().to_owned()
    }

    /// The folder of the only exec there is.
    pub(crate) fn only_exec(&self) -> PathBuf {
        let mut execs: Vec<_> = std::fs::read_dir(self.state().join("execs"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(execs.len(), 1, "{execs:?}");
        execs.remove(0)
    }

    /// Waits for a file of the workspace, by which a command tells how far it is.
    pub(crate) fn await_file(&self, name: &str) {
        let path = self.workspace().join(name);
        await_condition(&format!("file `{name}`"), || path.exists());
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.cogo(["kill", "--all", "--now"]).status();
    }
}

/// The program under test, which may have been moved since it was built.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_cogo")
        .map_or_else(|| env!("CARGO_BIN_EXE_cogo").into(), PathBuf::from)
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    command.output().unwrap().into()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Waits until something is so.
pub(crate) fn await_condition(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A `cogo` that runs beside the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: Option<BufReader<std::process::ChildStdout>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// The next line of its output. Blocks until there is one.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Closes the pipe that it writes to.
    pub(crate) fn stop_reading(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end and reads the rest of what it says.
    pub(crate) fn finish(mut self) -> Ran {
        let mut stdout = String::new();
        self.stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr).unwrap();
        }
        Ran {
            code: self.status().code(),
            stdout,
            stderr,
        }
    }

    pub(crate) fn status(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

/// The strongest tier that this host offers to this user.
pub(crate) fn strongest_tier() -> &'static str {
    static TIER: OnceLock<&str> = OnceLock::new();
    TIER.get_or_init(|| {
        let doctor = finish(&mut Fixture::new().cogo(["doctor", "--json"]));
        let report: serde_json::Value = serde_json::from_str(&doctor.stdout).unwrap();
        let available = |tier: &&&str| {
            let tiers = report["tiers"].as_array().unwrap();
            tiers
                .iter()
                .any(|found| found["isolation"] == **tier && found["available"] == true)
        };
        ["strict", "standard", "none"]
            .iter()
            .find(available)
            .expect("there is always `none`")
    })
}

/// The verdict that an exec's folder holds.
pub(crate) fn verdict(exec: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(exec.join("verdict.json")).unwrap()).unwrap()
}
