//! The options of `cogo submit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cogo_protocol::exec::Network;
use cogo_protocol::task::{Priority, TaskId};
use cogo_protocol::units::{Bytes, Cpus, TimeSpan};
use cogo_protocol::worker::WorkerId;

use super::recovery::RecoveryOptions;
use crate::blocks::BlockOptions;
use crate::client::ServerOptions;
use crate::isolation::IsolationOption;

const EXAMPLES: &str = "\
Examples:
  cogo submit -- cargo test                      in this directory, by a server of this host
  cogo submit --server URL -w /src -- make       in a directory of the worker's host
  cogo submit --id build-42 --priority 9 -- make a name makes it safe to submit again
  cogo submit --detach -- ./long-job.sh          prints the task's name and returns
  cogo submit --recover --memory 1GiB -- make    more memory, or less at once, if it needs that
  cogo submit --json -- true | jq .status        prints how it ended, in JSON

Exit codes are those of `cogo run`; 124 also for a task that waited too long. Ctrl-C ends the task, \
a second one leaves it.";

/// Give a task to a server and show it to its end
#[derive(Args, Debug)]
#[command(override_usage = "cogo submit [OPTIONS] -- COMMAND...", after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(crate) struct Options {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,

    /// The task's name; submitting the same one again finds the task that is there [default: made]
    #[arg(long, value_name = "NAME", help_heading = "Task")]
    pub(super) id: Option<TaskId>,
    /// How urgent it is, from 0 to 9; 9 goes first
    #[arg(long, value_name = "LEVEL", value_parser = parse_priority, default_value = "5",
          help_heading = "Task")]
    pub(super) priority: Priority,
    /// Print its name and leave it
    #[arg(short, long, help_heading = "Task")]
    pub(super) detach: bool,
    /// Attempts that may be lost with their worker, and are repeated [default: 3]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Task")]
    pub(super) attempts: Option<u32>,
    /// How long it may wait for a worker [default: for ever]
    #[arg(long, value_name = "TIME", help_heading = "Task")]
    pub(super) queue_timeout: Option<TimeSpan>,

    /// Only this worker
    #[arg(long, value_name = "NAME", help_heading = "Worker")]
    pub(super) worker: Option<WorkerId>,
    /// Only workers of this type
    #[arg(long = "type", value_name = "TYPE", help_heading = "Worker")]
    pub(super) kind: Option<String>,
    /// Only workers with this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label, help_heading = "Worker")]
    pub(super) label: Vec<(String, String)>,

    /// Directory of the worker's host that the command works in [default: this one if the server
    /// is on this host, else a fresh one that goes with the task]
    #[arg(short, long, value_name = "DIR", help_heading = "Workspace")]
    pub(super) workspace: Option<PathBuf>,
    /// Work in a fresh, empty directory that goes with the task
    #[arg(long, conflicts_with = "workspace", help_heading = "Workspace")]
    pub(super) empty: bool,
    /// Throw the changes away at the end
    #[arg(
        long,
        requires = "workspace",
        conflicts_with = "read_only",
        help_heading = "Workspace"
    )]
    pub(super) copy: bool,
    /// Refuse changes
    #[arg(long, requires = "workspace", help_heading = "Workspace")]
    pub(super) read_only: bool,
    /// Where the command starts [default: the workspace]
    #[arg(long, value_name = "DIR", help_heading = "Workspace")]
    pub(super) cwd: Option<String>,

    /// What the command reaches: `none`, `host`, or `allow:DOMAIN,DOMAIN`
    #[arg(long, value_name = "NETWORK", value_parser = parse_network, default_value = "none",
          help_heading = "Sandbox")]
    pub(super) net: Network,
    /// How strong the sandbox has to be; what the host cannot enforce is refused
    #[arg(long, value_enum, default_value_t, help_heading = "Sandbox")]
    pub(super) isolation: IsolationOption,
    /// Root file system that the worker has imported [default: the host's]
    #[arg(long, value_name = "NAME", help_heading = "Sandbox")]
    pub(super) rootfs: Option<String>,
    /// Show a file or directory of the worker's host inside, read-only; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "Sandbox")]
    pub(super) expose: Vec<String>,

    /// Memory of all its processes, such as 2GiB
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) memory: Option<Bytes>,
    /// CPU time per second, in cores, such as 1.5
    #[arg(long, value_name = "CORES", help_heading = "Limits")]
    pub(super) cpus: Option<Cpus>,
    /// Processes and threads at once
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(super) pids: Option<u32>,
    /// Room in the private places: /tmp, home, /dev/shm, and the changes of --copy
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) disk: Option<Bytes>,
    /// Stop it after this time, such as 10m [default: never]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(super) timeout: Option<TimeSpan>,
    /// Stop it after this time without output [default: never]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(super) silence_timeout: Option<TimeSpan>,
    /// Time between the polite signal and the kill when it is stopped
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub(super) grace: Option<TimeSpan>,
    /// Size of the log on disk; past it, the middle of the output is cut
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) log_size: Option<Bytes>,

    /// Set a variable inside: NAME=VALUE, or NAME to take the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Environment")]
    pub(super) env: Vec<String>,

    /// Standard input: nothing, what comes here, or open for `cogo attach`
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SOURCE",
        help_heading = "Input and output"
    )]
    pub(super) stdin: StdinOption,
    /// Print how it ended, in JSON, instead of its output
    #[arg(long, help_heading = "Input and output")]
    pub(super) json: bool,
    /// Print no summary
    #[arg(short, long, help_heading = "Input and output")]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) recovery: RecoveryOptions,
    #[command(flatten)]
    pub(super) blocks: BlockOptions,
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

impl Options {
    /// Whether what comes here goes to the command.
    pub(super) fn forwards_input(&self) -> bool {
        self.stdin == StdinOption::Forward
    }
}

/// Where the command's input comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum StdinOption {
    /// End of file at once
    #[default]
    Closed,
    /// From our own input
    Forward,
    /// From `cogo attach`
    Open,
}

fn parse_priority(text: &str) -> Result<Priority, String> {
    let level: u8 = text
        .parse()
        .map_err(|_| "a priority is a number from 0 to 9".to_owned())?;
    Priority::try_from(level).map_err(|error| error.to_string())
}

/// Reads `KEY=VALUE`.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}

fn parse_network(text: &str) -> Result<Network, String> {
    match text.split_once(':') {
        None if text == "none" => Ok(Network::None),
        None if text == "host" => Ok(Network::Host),
        Some(("allow", domains)) if !domains.is_empty() => Ok(Network::Allow(
            domains.split(',').map(str::to_owned).collect(),
        )),
        Some(_) | None => Err("write `none`, `host` or `allow:example.com,example.org`".to_owned()),
    }
}
