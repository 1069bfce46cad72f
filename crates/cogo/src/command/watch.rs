//! `cogo watch`: runs a command at each edit, what the edit affects first, and shows what it finds.
//!
//! ```text
//! inotify ──▶ Files ──edits──▶ debounce ──▶ cancel the stale run, begin the next ──▶ Screen
//! ```
//!
//! The main thread decides; one thread reads edits and one follows the command that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::Args;
use cogo_plan::affected;
use cogo_plan::dispatch::{Cancel, Dispatch, DispatchError, Progress, Work};
use cogo_protocol::record::Stream;
use cogo_protocol::task::Priority;
use cogo_protocol::verdict::Outcome;
use cogo_sandbox::exec_dir::StateDir;
use signal_hook::consts::SIGINT;

use crate::client::ServerOptions;
use crate::command::plan::Routes;
use crate::command::test::{SandboxOptions, workspace};
use crate::failure::{Failure, note};
use crate::{cancel, exit_code, instant, state};

mod files;
mod screen;

use screen::Screen;

/// Editors write a file in several steps: a run begins when nothing has changed for this long.
const QUIET: Duration = Duration::from_millis(30);

/// It begins at the latest so long after the first change.
const QUIET_MAX: Duration = Duration::from_millis(300);

/// A stale run that has not ended so long after it was asked to is killed.
const STALE_GRACE: Duration = Duration::from_millis(300);

/// How soon Ctrl-C and the end of output are noticed.
const PACE: Duration = Duration::from_millis(50);

/// Runs in a row in which a file changes until it is taken for one that the command writes.
const WRITTEN_RUNS: u32 = 5;

/// A change so soon after a run is one of the run's.
const AFTERMATH: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  cogo watch -- cargo test              the edited package first, then all
  cogo watch -- cargo clippy --workspace
  cogo watch --output -- npx tsc --noEmit
  cogo watch --json -- pytest | jq .    one event a line

What git ignores is not watched. Ctrl-C ends the command and the watch, with exit code 130.";

/// Run a command at each edit, and show what it finds
#[derive(Args, Debug)]
#[command(override_usage = "cogo watch [OPTIONS] -- COMMAND...", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Directory that is watched, and that the command works in [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Always run the whole command, and not first what an edit affects
    #[arg(long)]
    whole: bool,
    /// Show all the command writes, and not only what is found in it
    #[arg(long)]
    output: bool,
    /// Print one JSON event a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sandbox: SandboxOptions,
    #[command(flatten)]
    server: ServerOptions,
}

/// What of a run comes to the main thread.
enum Message {
    Edited(Vec<PathBuf>),
    Output(u64, Stream, Vec<u8>),
    Ended(u64, Result<Outcome, DispatchError>),
    /// Nothing can be watched any more.
    Blind(Failure),
}

/// The command that runs.
struct Running {
    number: u64,
    cancel: Arc<Cancel>,
    /// What runs when it has succeeded: the whole, after the part.
    next: Option<Vec<String>>,
    /// When it was found to be stale.
    stale_at: Option<Instant>,
}

/// A watch under way.
struct Watch<'a> {
    options: &'a Options,
    workspace: PathBuf,
    routes: Arc<Routes>,
    work: Work,
    sender: Sender<Message>,
    screen: Screen,
    running: Option<Running>,
    /// Changes that no run has seen, and when the first and the last of them came.
    edited: BTreeSet<PathBuf>,
    edited_at: Option<(Instant, Instant)>,
    /// In how many runs in a row a file has changed.
    written: BTreeMap<PathBuf, u32>,
    changed_now: BTreeSet<PathBuf>,
    ended_at: Option<Instant>,
    runs: u64,
}

/// Watches until Ctrl-C.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let workspace = workspace(options.workspace.as_deref())?;
    let routes = Routes::new(
        &options.server,
        &workspace,
        options.sandbox.isolation,
        state,
    )?;
    let key = format!("watch-{}", state::fresh_id(instant::now_ms())?);
    let mut work = options.sandbox.work(&options.command, &workspace, key)?;
    // Somebody sits in front of it.
    work.priority = Priority::MAX;
    let (sender, receiver) = channel();
    let stop = cancel::listen("the command")?;
    // Before the first run, so that no edit is missed.
    files::watch(&workspace, sender.clone())?;
    let mut watch = Watch {
        options,
        workspace,
        routes: Arc::new(routes),
        work,
        sender,
        screen: Screen::new(options.json, options.output),
        running: None,
        edited: BTreeSet::new(),
        edited_at: None,
        written: BTreeMap::new(),
        changed_now: BTreeSet::new(),
        ended_at: None,
        runs: 0,
    };
    watch.begin(options.command.clone(), None, &[], Duration::ZERO)?;
    watch.follow(&receiver, &stop)
}

impl Watch<'_> {
    fn follow(&mut self, receiver: &Receiver<Message>, stop: &Cancel) -> Result<u8, Failure> {
        loop {
            match receiver.recv_timeout(self.patience()) {
                Ok(Message::Edited(paths)) => self.edit(paths),
                Ok(Message::Output(number, stream, bytes)) => self.output(number, stream, &bytes),
                Ok(Message::Ended(number, result)) => self.ended(number, &result)?,
                Ok(Message::Blind(failure)) => return Err(failure),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    self.screen.pause();
                }
            }
            if stop.is_asked() {
                return Ok(self.stop(receiver, stop));
            }
            self.go_on()?;
        }
    }

    /// How long to wait for news: until a run may begin, if one is due.
    fn patience(&self) -> Duration {
        let due = self.edited_at.map(|(first, last)| {
            let at = (last + QUIET).min(first + QUIET_MAX);
            at.saturating_duration_since(Instant::now())
        });
        due.unwrap_or(PACE).clamp(Duration::from_millis(1), PACE)
    }

    /// Notes changes. A file that changes in each run, and never without one, is written
    /// by the command.
    fn edit(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            let is_of_run =
                self.running.is_some() || self.ended_at.is_some_and(|at| at.elapsed() < AFTERMATH);
            if !is_of_run {
                self.written.remove(&path);
            } else if self
                .written
                .get(&path)
                .is_some_and(|runs| *runs >= WRITTEN_RUNS)
            {
                continue;
            } else if self.changed_now.insert(path.clone()) {
                let runs = self.written.entry(path.clone()).or_default();
                *runs += 1;
                if *runs >= WRITTEN_RUNS {
                    note(&format!(
                        "`{}` changes with each run; it is taken for one that the command writes",
                        path.display()
                    ));
                    continue;
                }
            }
            let now = Instant::now();
            self.edited_at = Some((self.edited_at.map_or(now, |(first, _)| first), now));
            self.edited.insert(path);
        }
    }

    /// Ends what is stale, and begins what is due.
    fn go_on(&mut self) -> Result<(), Failure> {
        let Some((first, last)) = self.edited_at else {
            return Ok(());
        };
        let now = Instant::now();
        if now < (last + QUIET).min(first + QUIET_MAX) {
            return Ok(());
        }
        if let Some(running) = &mut self.running {
            match running.stale_at {
                None => {
                    running.stale_at = Some(now);
                    running.cancel.ask();
                }
                Some(at) if now >= at + STALE_GRACE && !running.cancel.is_insisted() => {
                    running.cancel.ask();
                }
                Some(_) => {}
            }
            return Ok(());
        }
        self.edited_at = None;
        let changed: Vec<PathBuf> = std::mem::take(&mut self.edited).into_iter().collect();
        let whole = self.options.command.clone();
        let part = (!self.options.whole)
            .then(|| affected::first(&whole, &self.workspace, &changed))
            .flatten();
        match part {
            Some(part) => self.begin(part, Some(whole), &changed, first.elapsed()),
            None => self.begin(whole, None, &changed, first.elapsed()),
        }
    }

    fn begin(
        &mut self,
        argv: Vec<String>,
        next: Option<Vec<String>>,
        changed: &[PathBuf],
        waited: Duration,
    ) -> Result<(), Failure> {
        self.runs += 1;
        let number = self.runs;
        // Only what changes in runs that follow each other is written by them.
        let changed_before = std::mem::take(&mut self.changed_now);
        self.written
            .retain(|path, runs| *runs >= WRITTEN_RUNS || changed_before.contains(path));
        self.screen
            .begin(number, &argv, next.is_some(), changed, waited);
        let mut work = self.work.clone();
        work.argv = argv;
        work.key = format!("{}-{number}", self.work.key);
        let cancel = Arc::new(Cancel::default());
        let (routes, asked, sender) = (
            Arc::clone(&self.routes),
            Arc::clone(&cancel),
            self.sender.clone(),
        );
        std::thread::Builder::new()
            .name(format!("run {number}"))
            .spawn(move || {
                let mut tell = |progress: Progress<'_>| {
                    if let Progress::Output(stream, bytes) = progress {
                        let _ = sender.send(Message::Output(number, stream, bytes.to_vec()));
                    }
                };
                let result = routes.run(&work, &mut tell, &asked);
                let _ = sender.send(Message::Ended(number, result));
            })?;
        self.running = Some(Running {
            number,
            cancel,
            next,
            stale_at: None,
        });
        Ok(())
    }

    /// What a stale run still says is of no use to anybody.
    fn output(&mut self, number: u64, stream: Stream, bytes: &[u8]) {
        let is_current = |running: &Running| running.number == number && running.stale_at.is_none();
        if self.running.as_ref().is_some_and(is_current) {
            self.screen.output(stream, bytes);
        }
    }

    fn ended(
        &mut self,
        number: u64,
        result: &Result<Outcome, DispatchError>,
    ) -> Result<(), Failure> {
        let Some(running) = self.running.take_if(|running| running.number == number) else {
            return Ok(());
        };
        let is_stale = running.stale_at.is_some();
        self.ended_at = Some(Instant::now());
        self.screen.end(result, is_stale);
        match running.next {
            Some(whole) if !is_stale && *result == Ok(Outcome::Exited { code: 0 }) => {
                self.begin(whole, None, &[], Duration::ZERO)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Ends what runs, and waits for its end.
    fn stop(&mut self, receiver: &Receiver<Message>, stop: &Cancel) -> u8 {
        if let Some(running) = self.running.take() {
            running.cancel.ask();
            let mut is_insisted = false;
            loop {
                match receiver.recv_timeout(PACE) {
                    Ok(Message::Ended(number, _)) if number == running.number => break,
                    Err(RecvTimeoutError::Disconnected) => break,
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                }
                if stop.is_insisted() && !is_insisted {
                    is_insisted = true;
                    running.cancel.ask();
                }
            }
        }
        exit_code::SIGNAL_BASE + SIGINT as u8
    }
}

/// A path as it is told, below the workspace where it can be.
fn below(workspace: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(workspace).unwrap_or(path).to_owned()
}
