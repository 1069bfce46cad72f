//! The `cogo` program: arguments, wiring and exit codes.
//!
//! One file per command in `command/`. What several commands share lies beside it: [`viewer`]
//! follows an exec and forwards keys and signals, [`state`] finds execs, [`failure`] is what a
//! user is told when a command cannot do its work.

mod blocks;
mod cancel;
mod cli;
mod client;
mod command;
mod convert;
mod exit_code;
mod failure;
mod hint;
mod instant;
mod isolation;
mod measure;
mod origin;
mod outlet;
mod paint;
mod remote;
mod retention;
mod state;
mod summary;
mod table;
mod viewer;

use std::process::ExitCode;

fn main() -> ExitCode {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    cli::main()
}
