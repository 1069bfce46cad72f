//! `cogo fix`: repairs a command that fails, in a copy of the workspace.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cogo_plan::dispatch::Cancel;
use cogo_plan::document::StepNetwork;
use cogo_plan::fix::{
    Command, End, FixError, Fixer, Means, Report, Settings, Tree, TreeError, fix,
};
use cogo_protocol::units::TimeSpan;
use cogo_sandbox::exec_dir::StateDir;
use cogo_sandbox::spec::Network;
use cogo_worker::workspace;

use crate::command::plan::local::Local;
use crate::command::run::home;
use crate::exit_code;
use crate::failure::{Failure, note};
use crate::isolation::IsolationOption;

mod agent;
mod endpoint;
mod screen;

use agent::AgentOptions;
use screen::Screen;

const SIGINT: i32 = 2;
const SIGHUP: i32 = 1;
const SIGTERM: i32 = 15;

/// Where copies lie. `/tmp` is often memory.
const COPIES: &str = "/var/tmp";

const EXAMPLES: &str = "\
Examples:
  cogo fix -- cargo build                 repairs a copy and shows the diff
  cogo fix --write -- cargo build         and brings it into the workspace
  cogo fix --fixers suggestions -- make   only what the compiler itself proposes
  cogo fix --agent openai:http://localhost:8080/v1 --agent-model NAME -- npm test
  cogo fix --agent 'command:./my-agent' -- pytest
  cogo fix --json -- tsc -p . | jq .      one event a line

Fixers, in their order: suggestions (what the tool proposes), rules (ours), tools (its own --fix),
dependencies (a package that the error names; with --allow-dependencies), agent (with --agent).

Exit codes:
  0  the command succeeds, repaired or from the start
  1  fixing failed, or the workspace was changed meanwhile      2  wrong usage
  3  some errors are repaired, the command still fails          4  nothing helped
  129, 130, 143  stopped by SIGHUP, Ctrl-C, SIGTERM; the workspace is as it was";

/// Repair a command that fails, in a copy, and show the diff
#[derive(Args, Debug)]
#[command(override_usage = "cogo fix [OPTIONS] -- COMMAND...", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Directory that is repaired [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Bring the changes into the workspace, if nobody has worked on those files meanwhile
    #[arg(long)]
    write: bool,
    /// Print one JSON event a line
    #[arg(long)]
    json: bool,
    /// Runs of the command at most, beside the first
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    max_attempts: u32,
    /// Time for all of it
    #[arg(long, value_name = "TIME", default_value = "10m")]
    max_time: TimeSpan,
    /// Who is asked, in this order: suggestions, rules, tools, dependencies, agent [default: all
    /// that may be]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    fixers: Vec<Fixer>,
    /// Let files that name dependencies change; adding one needs a network, too
    #[arg(long)]
    allow_dependencies: bool,
    #[command(flatten)]
    agent: AgentOptions,

    /// What the command reaches: `none`, `host`, or `allow:DOMAIN,DOMAIN`
    #[arg(long, value_name = "NETWORK", default_value = "none",
          value_parser = crate::command::run::parse_network, help_heading = "Sandbox")]
    net: Network,
    /// How strong the sandbox has to be; what the host cannot enforce is refused
    #[arg(long, value_enum, default_value_t, help_heading = "Sandbox")]
    isolation: IsolationOption,
    /// Set a variable inside
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable, help_heading = "Sandbox")]
    env: Vec<(String, String)>,
    /// End a run of the command after this time [default: when --max-time is over]
    #[arg(long, value_name = "TIME", help_heading = "Sandbox")]
    timeout: Option<TimeSpan>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Repairs what fails.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let directory = match &options.workspace {
        Some(directory) => directory.clone(),
        None => std::env::current_dir()?,
    };
    let workspace = workspace::resolve(&directory, &home()?, state.path())?;
    let cancel = Arc::new(Cancel::default());
    let stopped_by = listen(&cancel)?;
    let place = tempfile::Builder::new()
        .prefix("cogo-fix-")
        .tempdir_in(copies())
        .map_err(|error| Failure::caused("failed to make a place for the copy", &error))?;
    let name = workspace.file_name().unwrap_or_default();
    let mut tree = Tree::copy(&workspace, &place.path().join(name))?;
    let mut screen = Screen::new(options.json);
    let outcome = repair(
        options,
        state,
        &mut tree,
        place.path(),
        &cancel,
        &mut screen,
    );
    let report = match outcome {
        Ok(report) => report,
        Err(FixError::Cancelled) => {
            note("stopped; the workspace is as it was");
            let signal = stopped_by.load(std::sync::atomic::Ordering::Acquire);
            return Ok(exit_code::SIGNAL_BASE + signal as u8);
        }
        Err(FixError::Dispatch(error)) => {
            let failure = Failure::new(error.message);
            return Err(match error.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            });
        }
        Err(FixError::Tree(error)) => return Err(Failure::from(error)),
    };
    let written = written(options, &tree, &report)?;
    screen.finish(&report, &written)?;
    Ok(match report.end {
        End::NothingToFix | End::Fixed => 0,
        End::Improved => exit_code::IMPROVED,
        End::NotFixed => exit_code::NOT_FIXED,
    })
}

fn repair(
    options: &Options,
    state: &StateDir,
    tree: &mut Tree,
    place: &Path,
    cancel: &Cancel,
    screen: &mut Screen,
) -> Result<Report, FixError> {
    let network = match &options.net {
        Network::None => StepNetwork::None,
        Network::Host => StepNetwork::Host,
        Network::Allow(domains) => StepNetwork::Allow(domains.clone()),
    };
    let command = Command {
        argv: options.command.clone(),
        cwd: PathBuf::new(),
        env: options.env.iter().cloned().collect(),
        network,
        timeout: options.timeout.map(Duration::from),
        ..Command::default()
    };
    let settings = Settings {
        attempts_max: options.max_attempts,
        time_max: options.max_time.into(),
        fixers: fixers(options),
        may_change_dependencies: options.allow_dependencies,
    };
    let local = Local::new(state.clone(), tree.root().to_owned(), options.isolation);
    let agent = options.agent.agent(state, place, options.isolation)?;
    let means = Means {
        dispatch: &local,
        cancel,
        agent: agent.as_deref(),
    };
    fix(tree, &command, &settings, &means, &mut |event| {
        screen.show(event);
    })
}

fn fixers(options: &Options) -> Vec<Fixer> {
    if options.fixers.is_empty() {
        Fixer::ALL.to_vec()
    } else {
        options.fixers.clone()
    }
}

/// The files of the workspace that were changed.
fn written(options: &Options, tree: &Tree, report: &Report) -> Result<Vec<PathBuf>, Failure> {
    if !options.write || report.diff.is_empty() {
        return Ok(Vec::new());
    }
    tree.write_back().map_err(|error| {
        let is_changed = matches!(error, TreeError::ChangedMeanwhile(_));
        let failure = Failure::from(error);
        if is_changed {
            failure.hint("nothing was written; run `cogo fix` again")
        } else {
            failure
        }
    })
}

fn copies() -> PathBuf {
    let named = crate::state::variable("TMPDIR").map(PathBuf::from);
    named
        .filter(|path| path.is_dir())
        .unwrap_or_else(|| PathBuf::from(COPIES))
}

/// Turns signals into requests to cancel, and tells the last one.
fn listen(cancel: &Arc<Cancel>) -> Result<Arc<std::sync::atomic::AtomicI32>, Failure> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::caused("failed to listen for signals", &error))?;
    let cancel = Arc::clone(cancel);
    let stopped_by = Arc::new(std::sync::atomic::AtomicI32::new(SIGINT));
    let last = Arc::clone(&stopped_by);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                last.store(signal, std::sync::atomic::Ordering::Release);
                cancel.ask();
            }
        })?;
    Ok(stopped_by)
}
