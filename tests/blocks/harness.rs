//! Runs the labelled programs and compares what the watcher says of them with their labels.
//!
//! Shared by the quick subset in `cogo-worker`'s tests and by `cogo-bench blocks`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use cogo_protocol::block::{BlockReason, ResourceUsage};
use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::evidence::Observer;
use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};
use cogo_sandbox::spec::{
    ExecSpec, Isolation, Limits, Network, PtySize, Stdin, Workspace, WorkspaceMode,
};
use cogo_sandbox::start::{Launcher, Start, Started, start};
use cogo_sandbox::verdict::{Outcome as ExecOutcome, Verdict};
use cogo_worker::block::{Block, Thresholds, Watch, WatchOptions, Watcher};
use serde::Deserialize;

/// The labelled programs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    blocked: BTreeMap<String, Entry>,
    honest: BTreeMap<String, Entry>,
}

/// One row of the corpus; the file itself explains the fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Entry {
    reason: Vec<BlockReason>,
    stdin: Input,
    input: Option<String>,
    expected: bool,
    memory: Option<u64>,
    disk: Option<u64>,
    pids: Option<u32>,
    arguments: Vec<String>,
    run_time: Option<u64>,
    watch: Option<u64>,
    quick: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Input {
    #[default]
    Closed,
    Open,
    Pty,
}

/// A labelled program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    source: PathBuf,
    entry: Entry,
    is_blocked: bool,
}

/// What became of a program.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) program: Program,
    pub(crate) found: Option<Found>,
    /// Why it could not be run at all.
    pub(crate) failure: Option<String>,
}

/// A block that was told.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) reason: BlockReason,
    pub(crate) after: Duration,
    pub(crate) evidence: Vec<String>,
}

impl Program {
    /// All programs, in the order of their names.
    pub(crate) fn all(corpus: &Path) -> Vec<Self> {
        let text = std::fs::read_to_string(corpus.join("corpus.toml")).expect("a corpus");
        let Corpus { blocked, honest } = toml::from_str(&text).expect("a corpus that parses");
        let program = |folder: &str, is_blocked: bool, (name, entry): (String, Entry)| Self {
            source: corpus.join(folder).join(&name),
            name: format!("{folder}/{name}"),
            entry,
            is_blocked,
        };
        let blocked = blocked.into_iter().map(|row| program("blocked", true, row));
        let honest = honest.into_iter().map(|row| program("honest", false, row));
        blocked.chain(honest).collect()
    }

    /// Whether it belongs to the subset that every change runs.
    #[allow(dead_code, reason = "the whole corpus has no use for it")]
    pub(crate) fn is_quick(&self) -> bool {
        self.entry.quick
    }

    /// What it was labelled with, in words.
    pub(crate) fn label(&self) -> String {
        self.entry
            .reason
            .first()
            .map_or_else(|| "honest".to_owned(), |reason| name(*reason))
    }

    fn suffix(&self) -> &str {
        self.source
            .extension()
            .and_then(|suffix| suffix.to_str())
            .unwrap_or_default()
    }

    fn stem(&self) -> String {
        self.source
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Puts what is to be run into a workspace, and tells how to run it.
    fn build(&self, workspace: &Path) -> Result<Vec<String>, String> {
        let source = self.source.to_string_lossy().into_owned();
        let built = workspace.join("program").to_string_lossy().into_owned();
        let folder = workspace.to_string_lossy().into_owned();
        let mut run = match self.suffix() {
            "c" => {
                tool(&["gcc", "-O1", "-pthread", "-w", "-o", &built, &source])?;
                vec!["./program".to_owned()]
            }
            "rs" => {
                tool(&["rustc", "-O", "--edition", "2024", "-o", &built, &source])?;
                vec!["./program".to_owned()]
            }
            "java" => {
                tool(&["javac", "-d", &folder, &source])?;
                vec![
                    "java".to_owned(),
                    "-cp".to_owned(),
                    ".".to_owned(),
                    self.stem(),
                ]
            }
            suffix => {
                let interpreter = match suffix {
                    "py" => "python3",
                    "js" => "node",
                    _ => "sh",
                };
                let file = format!("program.{suffix}");
                std::fs::copy(&self.source, workspace.join(&file)).map_err(|e| e.to_string())?;
                vec![interpreter.to_owned(), file]
            }
        };
        run.extend(self.entry.arguments.iter().cloned());
        Ok(run)
    }

    fn spec(&self, argv: Vec<String>, workspace: &Path, host: &Host) -> ExecSpec {
        let entry = &self.entry;
        ExecSpec {
            argv,
            cwd: None,
            env: vec![("PATH".to_owned(), host.path.clone())],
            stdin: match entry.stdin {
                Input::Closed => Stdin::Closed,
                Input::Open | Input::Pty => Stdin::Open,
            },
            pty: (entry.stdin == Input::Pty).then_some(PtySize {
                rows: 24,
                columns: 80,
            }),
            workspace: Workspace {
                path: workspace.to_owned(),
                mode: WorkspaceMode::Direct,
            },
            network: Network::None,
            limits: Limits {
                memory: Some(entry.memory.unwrap_or(2048) << 20),
                disk: entry.disk.map(|disk| disk << 20),
                pids: Some(entry.pids.unwrap_or(500)),
                ..Limits::default()
            },
            isolation: Isolation::Strict,
            rootfs: None,
            home: host.home.clone(),
            read_only_paths: host.shown.clone(),
            grace_period: Duration::ZERO,
        }
    }

    fn watch_options(&self, launcher: &Launcher) -> WatchOptions {
        let mut thresholds = Thresholds::default();
        if let Some(run_time) = self.entry.run_time {
            thresholds.run_time = Duration::from_secs(run_time);
            thresholds.spin = Duration::from_secs(run_time / 2);
        }
        WatchOptions {
            thresholds,
            input_expected: self.entry.expected,
            stack_reader: Some(launcher.program.clone()),
        }
    }
}

/// What execs are shown of the host's toolchains.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) home: PathBuf,
    pub(crate) path: String,
    pub(crate) shown: Vec<PathBuf>,
}

/// Runs programs, several at once.
pub(crate) fn run(
    programs: Vec<Program>,
    at_once: usize,
    launcher: &Launcher,
    host: &Host,
) -> Vec<Outcome> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = StateDir::open(&folder.path().join("state")).expect("a state directory");
    let watcher = Watcher::start().expect("a watcher");
    let bench = Bench {
        folder: folder.path(),
        state: &state,
        watcher: &watcher,
        launcher,
        host,
    };
    let queue = Mutex::new(programs.into_iter().enumerate());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("a queue").next();
                    let Some((index, program)) = next else { return };
                    let outcome = bench.outcome(program, index);
                    outcomes.lock().expect("a list").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("a list");
    outcomes.sort_by(|a, b| a.program.name.cmp(&b.program.name));
    outcomes
}

type Told = (Block, SystemTime);

struct Bench<'a> {
    folder: &'a Path,
    state: &'a StateDir,
    watcher: &'a Watcher,
    launcher: &'a Launcher,
    host: &'a Host,
}

impl Bench<'_> {
    fn outcome(&self, program: Program, index: usize) -> Outcome {
        let result = self.run(&program, index);
        let (found, failure) = match result {
            Ok(found) => (found, None),
            Err(failure) => (None, Some(failure)),
        };
        Outcome {
            program,
            found,
            failure,
        }
    }

    fn run(&self, program: &Program, index: usize) -> Result<Option<Found>, String> {
        let workspace = self.folder.join(format!("workspace-{index}"));
        std::fs::create_dir(&workspace).map_err(|e| e.to_string())?;
        let argv = program.build(&workspace)?;
        let spec = program.spec(argv, &workspace, self.host);
        let id = format!("block-{}-{index}", std::process::id());
        let begun = SystemTime::now();
        let start = start(self.launcher, self.state, &id, &spec, &[]).map_err(|e| e.to_string())?;
        let Start::Running(mut started) = start else {
            return Err("the command could not be executed".to_owned());
        };
        let found = self.watch(program, &id, &spec, &started);
        self.watcher.forget(&id);
        let onset = marked(&workspace).unwrap_or(begun);
        end(&mut started)?;
        Ok(found?.map(|(block, at, event)| Found {
            reason: block.reason,
            after: at
                .duration_since(event.unwrap_or(onset))
                .unwrap_or_default(),
            evidence: block.evidence,
        }))
    }

    fn watch(
        &self,
        program: &Program,
        id: &str,
        spec: &ExecSpec,
        started: &Started,
    ) -> Result<Option<(Block, SystemTime, Option<SystemTime>)>, String> {
        let options = program.watch_options(self.launcher);
        let now = Instant::now();
        let Ok(watch) = Watch::open(&started.exec, &started.running, spec, options, now) else {
            return Ok(None);
        };
        let observer = Observer::open(&started.exec, &started.running, spec);
        let (sender, told) = channel::<Told>();
        self.watcher.watch(id, watch, move |news| {
            if let Some(block) = news.block() {
                let _ = sender.send((block, SystemTime::now()));
            }
        });
        if let Some(input) = &program.entry.input {
            let client = ControlClient::connect(&started.exec).map_err(|e| e.to_string())?;
            client
                .send(&Request::Input(input.clone().into_bytes()))
                .map_err(|e| e.to_string())?;
            self.watcher.input_sent(id, Instant::now());
        }
        let time = Duration::from_secs(program.entry.watch.unwrap_or(30));
        let deadline = Instant::now() + time;
        let limited = program
            .entry
            .memory
            .or(program.entry.pids.map(u64::from))
            .is_some();
        let mut event = None;
        // Where a limit is the point, its counters are read all the time, to know when it was hit.
        let pace = Duration::from_millis(if limited && program.is_blocked {
            2
        } else {
            100
        });
        while Instant::now() < deadline {
            match told.recv_timeout(pace) {
                Ok((block, at)) => {
                    // Who reads the counters here may hear of it before seeing it.
                    let event = event.or_else(|| (limited && program.is_blocked).then_some(at));
                    return Ok(Some((block, at, event)));
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let glance = observer.as_ref().map(Observer::glance).unwrap_or_default();
            if event.is_none() && glance.oom_kills + glance.pids_refused > 0 {
                event = Some(SystemTime::now());
            }
            if let Some(end) = ended(&started.exec) {
                // What was found just before the end may still be on its way.
                let last = told.recv_timeout(Duration::from_millis(200)).ok();
                if last.is_none() && !program.is_blocked {
                    expect_success(&end)?;
                }
                let last = last.or_else(|| Some((verdict(&end)?, SystemTime::now())));
                return Ok(last.map(|(block, at)| (block, at, event)));
            }
        }
        Ok(None)
    }
}

fn ended(exec: &ExecDir) -> Option<Verdict> {
    match exec.state() {
        Ok(ExecState::Ended(verdict)) => Some(verdict),
        Ok(ExecState::Starting | ExecState::Running(_)) | Err(_) => None,
    }
}

/// An honest program that fails shows nothing.
fn expect_success(end: &Verdict) -> Result<(), String> {
    match &end.outcome {
        ExecOutcome::Exited { code: 0 } => Ok(()),
        other => Err(format!("it failed: {other:?}")),
    }
}

/// A program that dies of a limit is no hang: its verdict names the limit at once.
fn verdict(verdict: &Verdict) -> Option<Block> {
    let reason = match verdict.outcome {
        ExecOutcome::OutOfMemory { .. } => BlockReason::MemoryExhausted,
        ExecOutcome::PidsExhausted { .. } => BlockReason::PidsExhausted,
        ExecOutcome::DiskFull { .. } => BlockReason::DiskExhausted,
        _ => return None,
    };
    Some(Block {
        reason,
        duration: Duration::ZERO,
        usage: ResourceUsage::default(),
        recoverable: true,
        evidence: vec!["it ended, and its verdict says so".to_owned()],
    })
}

fn end(started: &mut Started) -> Result<(), String> {
    if let Ok(client) = ControlClient::connect(&started.exec) {
        let stop = Request::Stop {
            grace_period: Duration::ZERO,
        };
        // It may just have ended by itself.
        let _ = client.send(&stop);
    }
    started.exec.wait().map_err(|e| e.to_string())?;
    started.reap().map_err(|e| e.to_string())
}

/// When the program said that it is about to hang.
fn marked(workspace: &Path) -> Option<SystemTime> {
    workspace.join("blocking").metadata().ok()?.modified().ok()
}

fn tool(command: &[&str]) -> Result<(), String> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .map_err(|e| format!("{} is missing: {e}", command[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A reason's name on the wire.
pub(crate) fn name(reason: BlockReason) -> String {
    format!("{reason:?}")
}

impl Outcome {
    /// Whether the watcher said what the label says.
    pub(crate) fn is_right(&self) -> bool {
        match &self.found {
            Some(found) => self.program.entry.reason.contains(&found.reason),
            None => !self.program.is_blocked,
        }
    }

    /// Whether an honest program was accused.
    pub(crate) fn is_false_accusation(&self) -> bool {
        !self.program.is_blocked && self.found.is_some()
    }

    /// Whether a block was not seen.
    pub(crate) fn is_missed(&self) -> bool {
        self.program.is_blocked && self.found.is_none()
    }
}
