//! Gives the tasks of the corpus to a real server with two workers, and looks at what becomes of
//! them.
//!
//! Shared by the quick subset in `cogo`'s tests and by `cogo-bench recovery`. It knows the command
//! line alone: what it sees is what a user sees.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cogo_protocol::recovery::Strategy;
use cogo_protocol::task::{TaskState, TaskStatus};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// The tasks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    recovers: BTreeMap<String, Entry>,
    answers: BTreeMap<String, Entry>,
    bounded: BTreeMap<String, Entry>,
}

/// One task of the corpus; the file itself explains the fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    run: String,
    submit: Vec<String>,
    setup: Option<String>,
    place: Option<PathBuf>,
    #[serde(default)]
    by: Vec<Strategy>,
    wedge: Option<Wedge>,
    #[serde(default)]
    quick: bool,
    status: Option<TaskState>,
    attempts: Option<usize>,
}

/// What is done to the worker of a running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wedge {
    Stop,
    Kill,
}

/// What is expected of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It fails, and succeeds by recovery.
    Recovers,
    /// It has its answer after one attempt.
    Answers,
    /// It cannot succeed, and is given up.
    Bounded,
}

/// A task of the corpus.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    entry: Entry,
}

/// What became of a task.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) task: Task,
    /// As it ended, or why that is not known.
    pub(crate) ended: Result<TaskStatus, String>,
    pub(crate) took: Duration,
}

impl Task {
    /// All tasks, by kind and name.
    pub(crate) fn all(corpus: &Path) -> Vec<Self> {
        let text = std::fs::read_to_string(corpus.join("corpus.toml")).expect("a corpus");
        let Corpus {
            recovers,
            answers,
            bounded,
        } = toml::from_str(&text).expect("a corpus that parses");
        let of = |kind: Kind, entries: BTreeMap<String, Entry>| {
            let task = move |(name, entry)| Self { name, kind, entry };
            entries.into_iter().map(task)
        };
        of(Kind::Recovers, recovers)
            .chain(of(Kind::Answers, answers))
            .chain(of(Kind::Bounded, bounded))
            .collect()
    }

    /// Whether it belongs to the subset that every change runs.
    #[allow(dead_code, reason = "the whole corpus has no use for it")]
    pub(crate) fn is_quick(&self) -> bool {
        self.entry.quick
    }

    /// Copies the programs, and prepares what the task is to find.
    fn prepare(&self, programs: &Path, workspace: &Path) -> Result<PathBuf, String> {
        std::fs::create_dir_all(workspace).map_err(|error| error.to_string())?;
        for entry in std::fs::read_dir(programs).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            std::fs::copy(entry.path(), workspace.join(entry.file_name()))
                .map_err(|error| error.to_string())?;
        }
        if let Some(setup) = &self.entry.setup {
            let mut command = Command::new("sh");
            let output = command.arg(setup).current_dir(workspace).output();
            let output = output.map_err(|error| error.to_string())?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("`{setup}` failed: {said}"));
            }
        }
        let place = self.entry.place.as_deref().unwrap_or(Path::new("."));
        workspace
            .join(place)
            .canonicalize()
            .map_err(|error| error.to_string())
    }
}

impl Outcome {
    /// Whether it is what was expected.
    pub(crate) fn is_right(&self) -> bool {
        let Ok(task) = &self.ended else { return false };
        let entry = &self.task.entry;
        match self.task.kind {
            Kind::Recovers => {
                task.state == TaskState::Succeeded
                    && self
                        .strategies()
                        .last()
                        .is_some_and(|it| entry.by.contains(it))
            }
            Kind::Answers => Some(task.state) == entry.status && self.strategies().is_empty(),
            Kind::Bounded => {
                Some(task.state) == entry.status
                    && task.attempts.len() <= entry.attempts.unwrap_or(usize::MAX)
            }
        }
    }

    /// Attempts that were made.
    pub(crate) fn attempts(&self) -> usize {
        self.ended.as_ref().map_or(0, |task| task.attempts.len())
    }

    /// What was tried, in order.
    pub(crate) fn strategies(&self) -> Vec<Strategy> {
        let recoveries = self.ended.as_ref().map(|task| task.recoveries.as_slice());
        (recoveries.unwrap_or_default().iter())
            .map(|record| record.strategy)
            .filter(|strategy| *strategy != Strategy::Quarantine)
            .collect()
    }

    /// The same in a line.
    pub(crate) fn line(&self) -> String {
        let names: Vec<&str> = self.strategies().iter().map(|it| it.name()).collect();
        let end = match &self.ended {
            Ok(task) => format!("{:?}", task.state),
            Err(error) => error.clone(),
        };
        format!(
            "{} {}: {end} after {} attempts [{}] in {:.1} s",
            if self.is_right() { "right" } else { "WRONG" },
            self.task.name,
            self.attempts(),
            names.join(", "),
            self.took.as_secs_f64()
        )
    }

    /// Everything that is known, for one that is wrong.
    pub(crate) fn details(&self) -> String {
        match &self.ended {
            Ok(task) => serde_json::to_string_pretty(task).expect("tasks have string keys only"),
            Err(error) => error.clone(),
        }
    }
}

/// A server with two workers, until it is dropped.
pub(crate) struct Server {
    cogo: PathBuf,
    url: String,
    state: PathBuf,
    corpus: PathBuf,
    process: Child,
    /// Held as long as anything lies in it.
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts one.
    pub(crate) fn start(cogo: &Path, corpus: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = folder.path().join("state");
        std::fs::create_dir_all(&state).expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let log = File::create(folder.path().join("serve.log")).expect("a log");
        let process = Command::new(cogo)
            .args(["serve", "--listen", &address, "--workers", "2..2"])
            .args(["--slots", "4", "--lease", "3s"])
            .env("COGO_STATE_DIR", &state)
            .env_remove("COGO_SERVER")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a server");
        let server = Self {
            cogo: cogo.to_owned(),
            url: format!("http://{address}"),
            state,
            corpus: corpus.to_owned(),
            process,
            folder,
        };
        server.wait_for("two workers", || {
            let health = server.ask(&["health", "--json"]);
            health.is_ok_and(|it| it.contains(r#""workersConnected":2"#))
        });
        server
    }

    /// Runs tasks, several at once; those that harm a worker are last, and alone.
    pub(crate) fn run(&self, tasks: Vec<Task>, at_once: usize) -> Vec<Outcome> {
        let (harmful, harmless): (Vec<_>, Vec<_>) =
            (tasks.into_iter()).partition(|task| task.entry.wedge.is_some());
        let mut outcomes = self.run_together(harmless, at_once);
        outcomes.extend(self.run_together(harmful, 1));
        outcomes
    }

    fn run_together(&self, tasks: Vec<Task>, at_once: usize) -> Vec<Outcome> {
        let queue = Mutex::new(tasks.into_iter());
        let outcomes = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect("a queue").next();
                        let Some(task) = next else { return };
                        let begun = Instant::now();
                        let ended = self.run_one(&task);
                        let outcome = Outcome {
                            task,
                            ended,
                            took: begun.elapsed(),
                        };
                        eprintln!("{}", outcome.line());
                        outcomes.lock().expect("a list").push(outcome);
                    }
                });
            }
        });
        outcomes.into_inner().expect("a list")
    }

    fn run_one(&self, task: &Task) -> Result<TaskStatus, String> {
        let workspace = self.folder.path().join("workspaces").join(&task.name);
        let place = task.prepare(&self.corpus.join("programs"), &workspace)?;
        let shown = place.to_string_lossy().into_owned();
        let options = task.entry.submit.iter();
        let options = options.map(|option| option.replace("{workspace}", &shown));
        let mut submit = self.cogo();
        submit.args(["submit", "--json", "--id", &task.name, "-w", &shown]);
        submit
            .args(options)
            .args(["--", "sh", "-c", &task.entry.run]);
        let child = submit
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        if let Some(wedge) = task.entry.wedge {
            self.harm(&task.name, wedge);
        }
        let output = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Stops or kills the worker that runs a task.
    fn harm(&self, name: &str, wedge: Wedge) {
        let mut worker = None;
        self.wait_for("the task to run", || {
            let listed = self.ask(&["ps", "--json"]).unwrap_or_default();
            let running = listed
                .lines()
                .filter_map(|line| serde_json::from_str::<TaskStatus>(line).ok())
                .find(|task| task.task_id.as_str() == name && task.state == TaskState::Running);
            worker = running.and_then(|task| task.worker_id);
            worker.is_some()
        });
        let worker = worker.expect("it was waited for").to_string();
        let path = self.state.join("workers").join(&worker).join("pid");
        let text = std::fs::read_to_string(path).expect("the worker's process id");
        let pid = text.split(' ').next().and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process id");
        let signal = match wedge {
            Wedge::Stop => Signal::STOP,
            Wedge::Kill => Signal::KILL,
        };
        let _ = kill_process(pid, signal);
    }

    fn cogo(&self) -> Command {
        let mut command = Command::new(&self.cogo);
        command
            .env("COGO_STATE_DIR", &self.state)
            .env("COGO_SERVER", &self.url);
        command
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.cogo().args(arguments).output();
        let output = output.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What `cogo why` says of a task.
    pub(crate) fn why(&self, task: &Task) -> String {
        self.ask(&["why", &task.name]).unwrap_or_else(|error| error)
    }

    fn wait_for(&self, what: &str, mut is_there: impl FnMut() -> bool) {
        let patience = Instant::now() + Duration::from_mins(1);
        while !is_there() {
            if Instant::now() > patience {
                let log = std::fs::read_to_string(self.folder.path().join("serve.log"));
                panic!("waited in vain for {what}: {}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
        // What a stopped worker has left behind.
        let Ok(workers) = std::fs::read_dir(self.state.join("workers")) else {
            return;
        };
        for worker in workers.flatten() {
            let mut kill = self.cogo();
            kill.args(["kill", "--all", "--now"]);
            let _ = kill
                .env("COGO_STATE_DIR", worker.path())
                .env_remove("COGO_SERVER")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
