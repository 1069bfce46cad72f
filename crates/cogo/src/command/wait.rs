//! `cogo wait`: waits for the end of an exec.

use clap::Args;
use cogo_sandbox::exec_dir::StateDir;

use crate::failure::{Failure, note};
use crate::paint::Painter;
use crate::{exit_code, state, summary};

/// Wait until an exec has ended and exit with its code
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The exec: its id, an unambiguous start or end of it, or `last`
    #[arg(value_name = "ID")]
    exec: String,
    /// Print no summary
    #[arg(short, long)]
    quiet: bool,
}

/// Waits and returns the exec's exit code.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let verdict = state::find(state, &options.exec)?.wait()?;
    if !options.quiet {
        note(&summary::line(&verdict, Painter::stderr()));
    }
    Ok(exit_code::of(&verdict.outcome, None))
}
