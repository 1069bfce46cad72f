//! `cogo logs`: shows the output of an exec from its log.

use clap::{Args, ValueEnum};
use cogo_protocol::record;
use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};
use cogo_sandbox::log::Stream;

use crate::client::ServerOptions;
use crate::failure::{Failure, print};
use crate::viewer::{Renderer, Until, View, ViewEnd, follow};
use crate::{convert, exit_code, remote, state};

/// Show the output of an exec or a task
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The exec: its id, an unambiguous start or end of it, or `last`; or a task of a server
    #[arg(value_name = "ID")]
    exec: String,
    /// Go on showing output until the exec has ended
    #[arg(short, long)]
    follow: bool,
    /// Start at this record
    #[arg(long, value_name = "N", default_value_t = 0)]
    from_seq: u64,
    /// Show one stream alone
    #[arg(long, value_enum, value_name = "STREAM")]
    stream: Option<StreamOption>,
    /// Print one JSON event a line
    #[arg(long)]
    json: bool,
    /// Put the time before each line
    #[arg(short, long, conflicts_with = "json")]
    timestamps: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// One of the streams of an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StreamOption {
    Stdout,
    Stderr,
}

impl From<StreamOption> for Stream {
    fn from(option: StreamOption) -> Self {
        match option {
            StreamOption::Stdout => Self::Stdout,
            StreamOption::Stderr => Self::Stderr,
        }
    }
}

/// Shows the log.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    if let Some(client) = remote::command::server_of(&options.exec, &options.server, state)? {
        let logs = remote::command::Logs {
            follow: options.follow,
            from_seq: options.from_seq,
            only: options.stream.map(|stream| match stream {
                StreamOption::Stdout => record::Stream::Stdout,
                StreamOption::Stderr => record::Stream::Stderr,
            }),
        };
        return remote::command::logs(&client, &options.exec, &logs);
    }
    let exec = state::find(state, &options.exec)?;
    // Before the log is read: what had ended by then has no more output than is read now.
    let ended = matches!(exec.state()?, ExecState::Ended(_));
    let until = if options.follow || ended {
        Until::Ended
    } else {
        Until::CaughtUp
    };
    let view = View {
        exec: &exec,
        // The renderer of events has to see torn characters come.
        from_seq: if options.json { 0 } else { options.from_seq },
        until,
        renderer: renderer(options, &exec)?,
        copy: None,
        input: None,
        interrupts: None,
        blocks: None,
    };
    if let ViewEnd::Ended { verdict, .. } = follow(view)?
        && options.json
    {
        let code = exit_code::of(&verdict.outcome, None);
        print(&convert::finished(&exec, &verdict, code)?)?;
    }
    Ok(0)
}

fn renderer(options: &Options, exec: &ExecDir) -> Result<Renderer, Failure> {
    let started_at_ms = || -> Result<u64, Failure> {
        Ok(exec.running()?.map_or(0, |running| running.started_at_ms))
    };
    let renderer = if options.json {
        Renderer::json(started_at_ms()?, options.from_seq)
    } else if options.timestamps {
        Renderer::timestamps(started_at_ms()?)
    } else {
        Renderer::raw()
    };
    Ok(renderer.only(options.stream.map(Stream::from)))
}
