//! `cogo attach`: joins a running exec, with its output and its keyboard.

use std::io::IsTerminal;

use clap::Args;
use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::exec_dir::{ExecDir, StateDir};
use cogo_sandbox::log::log_end;
use cogo_sandbox::spec::Stdin;

use crate::client::ServerOptions;
use crate::failure::{Failure, note};
use crate::paint::Painter;
use crate::viewer::{
    Input, InterruptPolicy, Interrupts, RawMode, Renderer, Until, View, ViewEnd, follow, size,
};
use crate::{exit_code, remote, state, summary};

const LONG: &str = "\
Join a running exec: show its output from now on and forward standard input

On a terminal of the exec's own (`cogo run --pty`) all keys go to the command, and Ctrl-P Ctrl-Q \
leaves it running. Without one, Ctrl-C leaves it running. `cogo kill` ends it. If the exec ends \
meanwhile, the exit code is as for `cogo run`; after leaving it is 0.";

/// Join a running exec or task
#[derive(Args, Debug)]
#[command(long_about = LONG)]
pub(crate) struct Options {
    /// The exec: its id, an unambiguous start or end of it, or `last`; or a task of a server
    #[arg(value_name = "ID")]
    exec: String,
    /// Show the output from its start
    #[arg(long)]
    replay: bool,
    /// Forward nothing
    #[arg(long)]
    no_stdin: bool,
    /// Print no summary
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Joins until the exec ends or the user leaves.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    if let Some(client) = remote::command::server_of(&options.exec, &options.server, state)? {
        let input = !options.no_stdin;
        return remote::command::attach(
            &client,
            &options.exec,
            options.replay,
            input,
            options.quiet,
        );
    }
    let exec = state::find(state, &options.exec)?;
    let from_seq = if options.replay {
        0
    } else {
        log_end(&exec.log_dir()).map_or(0, |end| end.seq)
    };
    let interrupts = Interrupts::listen(InterruptPolicy::Detach)?;
    let view = View {
        exec: &exec,
        from_seq,
        until: Until::Ended,
        renderer: Renderer::raw(),
        copy: None,
        input: if options.no_stdin {
            None
        } else {
            input(&exec)?
        },
        interrupts: Some(interrupts),
        blocks: None,
    };
    match follow(view)? {
        ViewEnd::Ended { verdict, .. } => {
            if !options.quiet {
                note(&summary::line(&verdict, Painter::stderr()));
            }
            Ok(exit_code::of(&verdict.outcome, None))
        }
        ViewEnd::Detached => {
            note(&format!(
                "left running; `cogo kill {}` ends it",
                state::short_id(&exec)
            ));
            Ok(0)
        }
        ViewEnd::CaughtUp | ViewEnd::OutputClosed => Ok(0),
    }
}

/// What to forward, if the exec takes input and there is some.
fn input(exec: &ExecDir) -> Result<Option<Input>, Failure> {
    let spec = exec.spec()?;
    if spec.stdin == Stdin::Closed {
        return Ok(None);
    }
    let input = match (spec.pty, std::io::stdin().is_terminal()) {
        (Some(_), true) => {
            // The exec's terminal takes the size of the one that looks at it now.
            if let (Some(size), Ok(control)) = (size(), ControlClient::connect(exec)) {
                let _ = control.send(&Request::Resize(size));
            }
            Input::terminal(exec, RawMode::enter()?).map(Input::with_detach_keys)
        }
        (None, true) => return Ok(None),
        (_, false) => Input::pipe(exec),
    };
    Ok(input.ok())
}
