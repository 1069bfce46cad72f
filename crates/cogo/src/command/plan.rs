//! `cogo plan`: checks, runs and takes up plans.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cogo_plan::document;
use cogo_plan::graph::Graph;
use cogo_plan::init::Repository;
use cogo_plan::read::{PlanError, read};
use cogo_sandbox::exec_dir::StateDir;

use crate::exit_code;
use crate::failure::{Failure, note, print, tell};

mod execute;
pub(crate) mod local;
mod remote;
mod runs;
mod screen;

pub(crate) use execute::Routes;

/// The plan of a repository.
const FILE: &str = "cogo.yaml";

const EXAMPLES: &str = "\
Examples:
  cogo plan init                    writes cogo.yaml for the repository here
  cogo plan validate                says what is wrong with it, line by line
  cogo plan run                     runs it here, each step in its sandbox
  cogo plan run --server URL        sandbox steps go to the workers of a server
  cogo plan resume last             goes on where a run failed, or was killed
  cogo plan run --json | jq .       one event a line

Exit codes:
  0  all succeeded    1  a step failed    2  the plan is wrong    130  cancelled";

/// Run steps that need each other, in parallel and with their results kept
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a plan by looking at the repository
    Init(InitOptions),
    /// Say what is wrong with a plan
    Validate(ValidateOptions),
    /// Run a plan
    Run(execute::RunOptions),
    /// Go on with a run that failed or was killed
    Resume(execute::ResumeOptions),
    /// List runs
    List(runs::ListOptions),
    /// Print the JSON Schema of plans
    Schema,
}

#[derive(Args, Debug)]
struct InitOptions {
    /// The repository [default: the current directory]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the plan and write nothing
    #[arg(long)]
    print: bool,
}

#[derive(Args, Debug)]
struct ValidateOptions {
    /// The plan [default: cogo.yaml]
    #[arg(value_name = "FILE", default_value = FILE)]
    file: PathBuf,
    /// Print the errors as JSON
    #[arg(long)]
    json: bool,
}

/// Does what is asked of plans.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    match &options.command {
        Command::Init(options) => init(options),
        Command::Validate(options) => validate(options),
        Command::Run(options) => execute::run(options, state),
        Command::Resume(options) => execute::resume(options, state),
        Command::List(options) => runs::list(options, state),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&document::schema())?;
            print(&format!("{schema}\n"))?;
            Ok(0)
        }
    }
}

fn init(options: &InitOptions) -> Result<u8, Failure> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => std::env::current_dir()?,
    };
    let dir = dir
        .canonicalize()
        .map_err(|error| Failure::caused(format!("failed to open `{}`", dir.display()), &error))?;
    let text = Repository::new(&dir).plan().ok_or_else(|| {
        Failure::new(format!(
            "no build tool is recognised in `{}`",
            dir.display()
        ))
        .hint("write cogo.yaml by hand; `cogo plan schema` describes its fields")
    })?;
    if options.print {
        print(&text)?;
        return Ok(0);
    }
    let file = dir.join(FILE);
    let mut fresh = std::fs::File::create_new(&file).map_err(|error| {
        let failure = Failure::caused(format!("failed to write `{}`", file.display()), &error);
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => failure.hint("see what it would be with --print"),
            _ => failure,
        }
    })?;
    std::io::Write::write_all(&mut fresh, text.as_bytes())?;
    note(&format!(
        "wrote `{}`; run it with `cogo plan run`",
        file.display()
    ));
    Ok(0)
}

fn validate(options: &ValidateOptions) -> Result<u8, Failure> {
    let text = read_text(&options.file)?;
    let errors = match read(&text) {
        Ok(plan) => cogo_plan::check::check(&plan),
        Err(error) => vec![error],
    };
    if options.json {
        let errors: Vec<serde_json::Value> = errors
            .iter()
            .map(|error| {
                serde_json::json!({
                    "line": error.place.map(|place| place.line),
                    "column": error.place.map(|place| place.column),
                    "message": error.message,
                    "hint": error.hint,
                })
            })
            .collect();
        print(&format!("{}\n", serde_json::to_string(&errors)?))?;
    } else {
        for error in &errors {
            tell(&located(&options.file, &text, error));
        }
    }
    if !errors.is_empty() {
        return Ok(exit_code::USAGE);
    }
    let graph = graph_of(&options.file, &text)?;
    if !options.json {
        let count = graph.nodes.len();
        note(&format!("the plan is sound: {count} steps to run"));
    }
    Ok(0)
}

fn read_text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        let failure = Failure::caused(format!("failed to read plan `{}`", file.display()), &error);
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.hint("write one with `cogo plan init`"),
            _ => failure,
        }
        .code(exit_code::USAGE)
    })
}

/// A plan that is sound, or all that is wrong with it.
fn graph_of(file: &Path, text: &str) -> Result<Graph, Failure> {
    let graph = read(text).and_then(Graph::new);
    graph.map_err(|error| {
        tell(&located(file, text, &error));
        Failure::new(format!("`{}` is not a sound plan", file.display()))
            .hint("`cogo plan validate` lists all that is wrong with it")
            .code(exit_code::USAGE)
    })
}

/// An error as compilers print them: the place, the fact, the line, the hint.
fn located(file: &Path, text: &str, error: &PlanError) -> String {
    let mut lines = format!("{}:{error}\n", file.display());
    if let Some(place) = error.place
        && let Some(line) = text.lines().nth((place.line as usize).saturating_sub(1))
    {
        let before = " ".repeat((place.column as usize).saturating_sub(1));
        lines.push_str(&format!("    {line}\n    {before}^\n"));
    }
    if let Some(hint) = &error.hint {
        lines.push_str(&format!("  hint: {hint}\n"));
    }
    lines
}
