//! `cogo plan run` and `cogo plan resume`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use cogo_plan::cache::Cache;
use cogo_plan::dispatch::{Cancel, Dispatch, DispatchError, Progress, Work};
use cogo_plan::execute::{ExecuteError, Settings, execute};
use cogo_plan::graph::Graph;
use cogo_plan::journal::Journal;
use cogo_plan::progress::PlanOutcome;
use cogo_plan::route::Route;
use cogo_protocol::verdict::Outcome;
use cogo_sandbox::exec_dir::StateDir;
use signal_hook::consts::SIGINT;

use super::local::Local;
use super::remote::Remote;
use super::runs::{About, RunDir, cache_dir};
use super::screen::Screen;
use super::{FILE, graph_of, read_text};
use crate::client::{Client, ServerOptions};
use crate::command::test;
use crate::failure::{Failure, note};
use crate::isolation::IsolationOption;
use crate::{cancel, exit_code, instant};

#[derive(Args, Debug)]
pub(super) struct RunOptions {
    /// The plan [default: cogo.yaml]
    #[arg(value_name = "FILE", default_value = FILE)]
    file: PathBuf,
    /// Directory the steps work in [default: that of the plan]
    #[arg(short, long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(super) struct ResumeOptions {
    /// The run: its id, an unambiguous start or end of it, or `last`
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,
    #[command(flatten)]
    how: How,
}

/// How to run, whatever is run.
#[derive(Args, Debug)]
pub(super) struct How {
    /// Steps at the same time at most [default: the plan's, else the number of cores]
    #[arg(short, long, value_name = "COUNT")]
    parallel: Option<NonZeroUsize>,
    /// Run steps that succeeded before with the same inputs, too
    #[arg(long)]
    no_cache: bool,
    /// Print one JSON event a line
    #[arg(long)]
    pub(super) json: bool,
    /// Show no output of steps that succeed
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Write what compilers, linters and tests found to this file, as SARIF
    #[arg(long, value_name = "FILE")]
    pub(super) sarif: Option<PathBuf>,
    /// How strong the sandboxes have to be; what a host cannot enforce is refused
    #[arg(long, value_enum, default_value_t)]
    isolation: IsolationOption,
    #[command(flatten)]
    server: ServerOptions,
}

/// Runs a plan from its file.
pub(super) fn run(options: &RunOptions, state: &StateDir) -> Result<u8, Failure> {
    let text = read_text(&options.file)?;
    let graph = graph_of(&options.file, &text)?;
    let file = std::path::absolute(&options.file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let workspace = options.workspace.as_deref().unwrap_or(folder);
    let workspace = workspace.canonicalize().map_err(|error| {
        Failure::caused(
            format!("failed to open workspace `{}`", workspace.display()),
            &error,
        )
    })?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let about = About {
        name: graph.plan.name.clone().unwrap_or_else(|| stem.into_owned()),
        file,
        workspace,
        started_at_ms: instant::now_ms(),
    };
    let run = RunDir::create(state, &text, &about)?;
    go(&run, &about, &graph, &text, &options.how, state)
}

/// Takes up a run.
pub(super) fn resume(options: &ResumeOptions, state: &StateDir) -> Result<u8, Failure> {
    let run = RunDir::find(state, &options.run)?;
    let about = run.about()?;
    let file = run.path.join("plan.yaml");
    let text = read_text(&file)?;
    let graph = graph_of(&file, &text)?;
    go(&run, &about, &graph, &text, &options.how, state)
}

fn go(
    run: &RunDir,
    about: &About,
    graph: &Graph,
    text: &str,
    how: &How,
    state: &StateDir,
) -> Result<u8, Failure> {
    let settings = Settings {
        run: run.id.clone(),
        workspace: about.workspace.clone(),
        artifacts: run.path.join("artifacts"),
        cache: (!how.no_cache).then(|| Cache::new(cache_dir(state))),
        test_history: Some(test::history_file(state, &about.workspace)),
        parallel: how.parallel,
    };
    let journal = Journal::open(&run.path.join("journal"), text)?;
    let routes = Routes::new(&how.server, &about.workspace, how.isolation, state)?;
    let cancel = cancel::listen("all steps")?;
    let mut screen = Screen::new(how, &graph.nodes);
    screen.begin(&run.id)?;
    let outcome = execute(graph, &settings, journal, &routes, &cancel, &mut |event| {
        screen.show(event);
    });
    screen.finish()?;
    match outcome {
        Ok(PlanOutcome::Succeeded) => Ok(0),
        Ok(PlanOutcome::Failed) => {
            if !how.json {
                note(&format!("`cogo plan resume {}` goes on from here", run.id));
            }
            Ok(exit_code::FAILURE)
        }
        Ok(PlanOutcome::Cancelled) => Ok(exit_code::SIGNAL_BASE + SIGINT as u8),
        Err(error @ ExecuteError::Journal(_)) => Err(Failure::from(error)),
    }
}

/// Sandbox steps go to the server, if one was named; all others run here.
pub(crate) struct Routes {
    local: Local,
    remote: Option<Remote>,
}

impl Routes {
    /// The ways to the sandboxes of this machine, and to those of a server that was named.
    pub(crate) fn new(
        server: &ServerOptions,
        workspace: &Path,
        isolation: IsolationOption,
        state: &StateDir,
    ) -> Result<Self, Failure> {
        let remote = if server.is_given() {
            let client = Client::find(server, Some(state.path()))?;
            Some(Remote::new(client, workspace.to_owned(), isolation))
        } else {
            None
        };
        Ok(Self {
            local: Local::new(state.clone(), workspace.to_owned(), isolation),
            remote,
        })
    }
}

impl Dispatch for Routes {
    fn run(
        &self,
        work: &Work,
        tell: &mut dyn FnMut(Progress<'_>),
        cancel: &Cancel,
    ) -> Result<Outcome, DispatchError> {
        match (&self.remote, work.route) {
            (Some(remote), Route::Sandbox) => remote.run(work, tell, cancel),
            (Some(_), Route::Executor) | (None, _) => self.local.run(work, tell, cancel),
        }
    }
}
