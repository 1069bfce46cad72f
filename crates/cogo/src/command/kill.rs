//! `cogo kill`: ends execs and tells how they ended.

use std::time::{Duration, Instant};

use clap::Args;
use cogo_protocol::units::TimeSpan;
use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};

use crate::client::ServerOptions;
use crate::failure::{Failure, note, print};
use crate::paint::Painter;
use crate::{remote, state, summary};

/// How long a starting exec may take to listen.
const STARTING_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

const LONG: &str = "\
End execs and tell how they ended

Sends SIGTERM to all processes of the exec, waits the grace period, kills what is left, and \
waits for the verdict. An exec that has ended is left as it is.";

/// End execs and tell how they ended
#[derive(Args, Debug)]
#[command(long_about = LONG)]
pub(crate) struct Options {
    /// The execs: ids, unambiguous starts or ends of them, or `last`; or tasks of a server
    #[arg(value_name = "ID", required_unless_present = "all")]
    execs: Vec<String>,
    /// All running execs
    #[arg(short, long, conflicts_with = "execs")]
    all: bool,
    /// Only send this signal to the command, such as INT or 10, and do not wait
    #[arg(short, long, value_name = "SIGNAL", value_parser = parse_signal,
          conflicts_with_all = ["grace", "now"])]
    signal: Option<i32>,
    /// Time between SIGTERM and the kill
    #[arg(long, value_name = "TIME", default_value = "5s")]
    grace: TimeSpan,
    /// Kill at once
    #[arg(long, conflicts_with = "grace")]
    now: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Asks all of them first, then waits for each, so that grace periods pass together.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let execs = if options.all {
        running(state)?
    } else {
        named(options, state)?
    };
    let mut asked = Vec::new();
    for exec in execs {
        match ask(&exec, &request(options))? {
            Asked::Sent(control) => asked.push((exec, control)),
            Asked::EndedBefore(ending) => {
                note(&format!(
                    "`{}` had ended before: {ending}",
                    state::short_id(&exec)
                ));
            }
        }
    }
    if options.signal.is_none() {
        for (exec, _control) in asked {
            let verdict = exec.wait()?;
            let line = summary::line(&verdict, Painter::stdout());
            print(&format!("{} {line}\n", state::short_id(&exec)))?;
        }
    }
    Ok(0)
}

fn running(state: &StateDir) -> Result<Vec<ExecDir>, Failure> {
    let mut execs = state.execs()?;
    execs.retain(|exec| !matches!(exec.state(), Ok(ExecState::Ended(_)) | Err(_)));
    Ok(execs)
}

fn named(options: &Options, state: &StateDir) -> Result<Vec<ExecDir>, Failure> {
    let mut execs = Vec::new();
    for name in &options.execs {
        match remote::command::server_of(name, &options.server, state)? {
            Some(client) => remote::command::kill(&client, name, &of_task(options))?,
            None => execs.push(state::find(state, name)?),
        }
    }
    Ok(execs)
}

fn of_task(options: &Options) -> remote::command::Kill {
    match options.signal {
        Some(signal) => remote::command::Kill::Signal(signal),
        None if options.now => remote::command::Kill::Stop(Duration::ZERO),
        None => remote::command::Kill::Stop(options.grace.into()),
    }
}

fn request(options: &Options) -> Request {
    match options.signal {
        Some(signal) => Request::Signal(signal),
        None if options.now => Request::Stop {
            grace_period: Duration::ZERO,
        },
        None => Request::Stop {
            grace_period: options.grace.into(),
        },
    }
}

enum Asked {
    Sent(ControlClient),
    EndedBefore(String),
}

/// Sends to a supervisor that may be about to listen, or about to end.
fn ask(exec: &ExecDir, request: &Request) -> Result<Asked, Failure> {
    let deadline = Instant::now() + STARTING_MAX;
    loop {
        if let ExecState::Ended(verdict) = exec.state()? {
            return Ok(Asked::EndedBefore(summary::outcome(&verdict.outcome)));
        }
        let sent = ControlClient::connect(exec)
            .and_then(|control| control.send(request).map(|()| control));
        match sent {
            Ok(control) => return Ok(Asked::Sent(control)),
            Err(error) if Instant::now() > deadline => {
                let fact = format!("failed to reach the supervisor of `{}`", exec.id());
                return Err(Failure::caused(fact, &error));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Reads `INT`, `SIGINT` or `2`.
fn parse_signal(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err("signals have numbers from 1 to 64".to_owned())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    (1..=31)
        .find(|&signal| summary::signal_name(signal).strip_prefix("SIG") == Some(name))
        .ok_or_else(|| "not a signal; write a name such as INT, or a number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_or_numbers() {
        assert_eq!(parse_signal("INT"), Ok(2));
        assert_eq!(parse_signal("sigkill"), Ok(9));
        assert_eq!(parse_signal("10"), Ok(10));
        for wrong in ["0", "65", "-1", "SIGNAL", ""] {
            assert!(parse_signal(wrong).is_err(), "{wrong}");
        }
    }
}
