//! `cogo wait`: waits for the end of an exec.

use clap::Args;
use cogo_sandbox::exec_dir::StateDir;

use crate::client::ServerOptions;
use crate::failure::{Failure, note};
use crate::paint::Painter;
use crate::{exit_code, remote, state, summary};

/// Wait until an exec or a task has ended and exit with its code
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The exec: its id, an unambiguous start or end of it, or `last`; or a task of a server
    #[arg(value_name = "ID")]
    exec: String,
    /// Print no summary
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Waits and returns the exec's exit code.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    if let Some(client) = remote::command::server_of(&options.exec, &options.server, state)? {
        return remote::command::wait(&client, &options.exec, options.quiet);
    }
    let verdict = state::find(state, &options.exec)?.wait()?;
    if !options.quiet {
        note(&summary::line(&verdict, Painter::stderr()));
    }
    Ok(exit_code::of(&verdict.outcome, None))
}
