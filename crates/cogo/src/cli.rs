//! The command line: its options, its dispatch, and the exit code of what went wrong.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::command::analysis::{analyze, impact, map, query};
use crate::command::{
    attach, doctor, fix, health, kill, logs, plan, prune, ps, queue, rootfs, run, search, serve,
    submit, test, token, top, wait, watch, why, worker, workers,
};
use crate::exit_code;
use crate::failure::Failure;

/// Run commands you did not write: sandboxed, watched, with an honest verdict.
#[derive(Debug, Parser)]
#[command(
    name = "cogo",
    version,
    arg_required_else_help = true,
    propagate_version = false
)]
struct Cli {
    /// Where execs are kept [default: `COGO_STATE_DIR`, else /var/lib/cogo for root, else
    /// ~/.local/state/cogo]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Options>),
    Ps(ps::Options),
    Logs(logs::Options),
    Attach(attach::Options),
    Wait(wait::Options),
    Why(why::Options),
    Kill(kill::Options),
    Prune(prune::Options),
    Doctor(doctor::Options),
    Rootfs(rootfs::Options),
    Test(Box<test::Options>),
    Watch(Box<watch::Options>),
    Plan(Box<plan::Options>),
    Fix(Box<fix::Options>),
    Analyze(analyze::Options),
    Query(query::Options),
    Impact(impact::Options),
    Map(map::Options),
    Worker(Box<worker::Options>),
    Serve(Box<serve::Options>),
    Submit(Box<submit::Options>),
    Workers(workers::Options),
    Queue(queue::Options),
    Health(health::Options),
    Search(Box<search::Options>),
    Token(token::Options),
    Top(top::Options),
}

/// Reads the command line, does what it asks and tells the exit code.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let code = match Cli::try_parse_from(&arguments) {
        Ok(cli) => dispatch(&cli).unwrap_or_else(|failure| failure.report()),
        Err(error) => report_usage(&error, &arguments),
    };
    ExitCode::from(code)
}

fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    let state = || crate::state::open(cli.state_dir.as_deref());
    match &cli.command {
        Command::Run(options) => {
            let run = state().and_then(|state| run::run(options, &state));
            run.map_err(|failure| failure.code(exit_code::NOT_STARTED))
        }
        Command::Attach(options) => {
            let attach = state().and_then(|state| attach::run(options, &state));
            attach.map_err(|failure| failure.code(exit_code::NOT_STARTED))
        }
        Command::Wait(options) => {
            let wait = state().and_then(|state| wait::run(options, &state));
            wait.map_err(|failure| failure.code(exit_code::NOT_STARTED))
        }
        Command::Ps(options) => ps::run(options, &state()?),
        Command::Logs(options) => logs::run(options, &state()?),
        Command::Why(options) => why::run(options, &state()?),
        Command::Kill(options) => kill::run(options, &state()?),
        Command::Prune(options) => prune::run(options, &state()?),
        Command::Doctor(options) => doctor::run(options),
        Command::Rootfs(options) => rootfs::run(options, &state()?),
        Command::Test(options) => {
            let test = state().and_then(|state| test::run(options, &state));
            test.map_err(|failure| failure.code(exit_code::NOT_STARTED))
        }
        Command::Watch(options) => watch::run(options, &state()?),
        Command::Analyze(options) => analyze::run(options, &state()?),
        Command::Query(options) => query::run(options, &state()?),
        Command::Impact(options) => impact::run(options, &state()?),
        Command::Map(options) => map::run(options, &state()?),
        Command::Plan(options) => plan::run(options, &state()?),
        Command::Fix(options) => fix::run(options, &state()?),
        Command::Worker(options) => worker::run(options, &state()?),
        Command::Serve(options) => serve::run(options, &state()?),
        Command::Submit(options) => submit::run(options, cli.state_dir.as_deref())
            .map_err(|failure| failure.code(exit_code::NOT_STARTED)),
        Command::Workers(options) => workers::run(options, cli.state_dir.as_deref()),
        Command::Queue(options) => queue::run(options, cli.state_dir.as_deref()),
        Command::Health(options) => health::run(options, cli.state_dir.as_deref()),
        Command::Token(options) => token::run(options, cli.state_dir.as_deref()),
        Command::Search(options) => search::run(options, &state()?),
        Command::Top(options) => top::run(options, cli.state_dir.as_deref()),
    }
}

/// Prints help, version, or what is wrong with the arguments.
fn report_usage(error: &clap::Error, arguments: &[OsString]) -> u8 {
    // A closed stdout or stderr leaves nobody to tell.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ if passes_a_code_on(arguments) => exit_code::NOT_STARTED,
        _ => exit_code::USAGE,
    }
}

/// Whether the command's exit code is that of an exec, so that one of ours must not look like
/// one of its own.
fn passes_a_code_on(arguments: &[OsString]) -> bool {
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--state-dir") => drop(arguments.next()),
            Some(option) if option.starts_with('-') => {}
            Some(command) => return ["run", "attach", "submit", "test", "wait"].contains(&command),
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_with_an_exit_code_of_their_own_are_recognized() {
        let check = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            passes_a_code_on(&arguments)
        };
        assert!(check("cogo run --bogus"));
        assert!(check("cogo --state-dir /x run --bogus"));
        assert!(check("cogo --state-dir=/x attach"));
        assert!(!check("cogo logs run"));
        assert!(!check("cogo --state-dir run ps"));
        assert!(!check("cogo"));
    }
}
