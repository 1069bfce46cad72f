//! The options of `cogo run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cogo_protocol::units::{Bytes, Cpus, TimeSpan};
use cogo_sandbox::spec::Network;

use crate::isolation::IsolationOption;

use crate::blocks::BlockOptions;

const EXAMPLES: &str = "\
Examples:
  cogo run -- cargo test                         in this directory, without a network
  cogo run --net-allow registry.npmjs.org -- npm ci
  cogo run --copy -- make distclean              changes are thrown away
  cogo run --memory 2GiB --timeout 10m -- pytest
  cogo run --secret API_TOKEN -- ./deploy.sh     value from the environment, kept out of logs
  cogo run --json -- cargo build | jq .          one event a line

Exit codes:
  the command's own; 128+N if signal N ended it (137 also for out of memory)
  122  it hung and was stopped      123  nobody saw how it ended      124  timeout
  125  cogo could not start it       126  not executable        127  not found
  129, 130, 143  cancelled by SIGHUP, Ctrl-C, SIGTERM or `cogo kill`
  141  nobody read the output any more

Ctrl-C sends the interrupt to the command, a second one stops it with the grace period, a third
one kills it. On a terminal (--pty) keys go to the command as they are; use `cogo kill`.";

const ENVIRONMENT_HELP: &str = "\
Set a variable inside: NAME=VALUE, or NAME to take the caller's value

The caller's environment is not passed on, but for a few harmless variables: LANG, LC_*, TZ, \
CI, the colour switches (NO_COLOR, FORCE_COLOR, CLICOLOR, COLORTERM, CARGO_TERM_COLOR), \
RUST_BACKTRACE, SOURCE_DATE_EPOCH, those that say where a toolchain is (such as RUSTUP_HOME or \
JAVA_HOME), and TERM on a terminal. PATH keeps the entries that exist inside.";

/// Run a command in a sandbox and tell how it ended
#[derive(Args, Debug)]
#[command(override_usage = "cogo run [OPTIONS] -- COMMAND...", after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(crate) struct Options {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,

    /// Directory the command works in and may change [default: the current one]
    #[arg(short, long, value_name = "DIR", help_heading = "Workspace")]
    pub(super) workspace: Option<PathBuf>,
    /// Throw the changes away at the end
    #[arg(long, help_heading = "Workspace", conflicts_with = "read_only")]
    pub(super) copy: bool,
    /// Refuse changes
    #[arg(long, help_heading = "Workspace")]
    pub(super) read_only: bool,
    /// Where the command starts [default: the workspace]
    #[arg(long, value_name = "DIR", help_heading = "Workspace")]
    pub(super) cwd: Option<PathBuf>,

    /// What the command reaches: `none`, `host`, or `allow:DOMAIN,DOMAIN`
    #[arg(long, value_name = "NETWORK", value_parser = parse_network, help_heading = "Sandbox")]
    pub(super) net: Option<Network>,
    /// Let it reach this domain over HTTP and HTTPS; may be repeated
    ///
    /// `example.com` is that host, `*.example.com` every name below it; `:PORT` may follow.
    #[arg(
        long,
        value_name = "DOMAIN",
        value_delimiter = ',',
        help_heading = "Sandbox"
    )]
    pub(super) net_allow: Vec<String>,
    /// How strong the sandbox has to be; what the host cannot enforce is refused
    #[arg(long, value_enum, default_value_t, help_heading = "Sandbox")]
    pub(super) isolation: IsolationOption,
    /// Root file system: an imported one (see `cogo rootfs`) or a directory [default: the host's]
    #[arg(long, value_name = "NAME|DIR", help_heading = "Sandbox")]
    pub(super) rootfs: Option<String>,
    /// Show a file or directory of the host inside, read-only; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "Sandbox")]
    pub(super) expose: Vec<PathBuf>,

    /// Memory of all its processes, such as 2GiB [default: three quarters of the host's]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) memory: Option<Bytes>,
    /// CPU time per second, in cores, such as 1.5 [default: no limit]
    #[arg(long, value_name = "CORES", help_heading = "Limits")]
    pub(super) cpus: Option<Cpus>,
    /// Processes and threads at once [default: 4096]
    ///
    /// Where control groups cannot be used, the weaker tiers have no default for this and for
    /// --memory.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Limits")]
    pub(super) pids: Option<u32>,
    /// Room in the private places: /tmp, home, /dev/shm, and the changes of --copy
    /// [default: 1GiB]
    ///
    /// They lie in memory and count towards --memory too. A workspace without --copy is the
    /// directory itself and is not bounded by this.
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(super) disk: Option<Bytes>,
    /// Stop it after this time, such as 10m [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Limits")]
    pub(super) timeout: Option<TimeSpan>,
    /// Stop it after this time without output [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Limits")]
    pub(super) silence_timeout: Option<TimeSpan>,
    /// Time between the polite signal and the kill when it is stopped
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        help_heading = "Limits"
    )]
    pub(super) grace: TimeSpan,
    /// Size of the log on disk; past it, the middle of the output is cut
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256MiB",
        help_heading = "Limits"
    )]
    pub(super) log_size: Bytes,

    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Environment",
          help = "Set a variable inside: NAME=VALUE, or NAME to take the caller's value",
          long_help = ENVIRONMENT_HELP)]
    pub(super) env: Vec<String>,
    /// Set a variable whose value stays out of logs: NAME takes the caller's value, NAME=@FILE
    /// the content of a file
    #[arg(long, value_name = "NAME[=@FILE]", help_heading = "Environment")]
    pub(super) secret: Vec<String>,

    /// Run it on a terminal [default: if stdin and stdout are terminals]
    #[arg(
        short = 't',
        long,
        help_heading = "Input and output",
        overrides_with = "no_pty"
    )]
    pub(super) pty: bool,
    /// Run it on pipes
    #[arg(long, help_heading = "Input and output")]
    pub(super) no_pty: bool,
    /// Standard input: `auto` forwards a pipe, a file, or the keys of a terminal with --pty;
    /// `open` waits for `cogo attach` otherwise
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SOURCE",
        help_heading = "Input and output"
    )]
    pub(super) stdin: StdinOption,
    /// Print the exec's id and leave it running
    #[arg(short, long, help_heading = "Input and output", conflicts_with = "log")]
    pub(super) detach: bool,
    /// Print one JSON event a line instead of the output
    #[arg(long, help_heading = "Input and output")]
    pub(super) json: bool,
    /// Write a copy of the output to this file
    #[arg(long, value_name = "FILE", help_heading = "Input and output")]
    pub(super) log: Option<PathBuf>,
    /// Print no summary, and no word about hangs
    #[arg(short, long, help_heading = "Input and output")]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) blocks: BlockOptions,
}

/// Where the program's input comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum StdinOption {
    /// From our own input, if it is a pipe, a file or a terminal used with --pty
    #[default]
    Auto,
    /// As `auto`, but open for `cogo attach` where there is nothing to forward
    Open,
    /// End of file at once
    Closed,
}

pub(crate) fn parse_network(text: &str) -> Result<Network, String> {
    match text.split_once(':') {
        None if text == "none" => Ok(Network::None),
        None if text == "host" => Ok(Network::Host),
        Some(("allow", domains)) if !domains.is_empty() => Ok(Network::Allow(
            domains.split(',').map(str::to_owned).collect(),
        )),
        Some(_) | None => Err("write `none`, `host` or `allow:example.com,example.org`".to_owned()),
    }
}

fn parse_time(text: &str) -> Result<TimeSpan, String> {
    let time: TimeSpan = text
        .parse()
        .map_err(|error: cogo_protocol::units::UnitError| error.to_string())?;
    if time.as_millis() == 0 {
        return Err("a time to stop after must be more than zero".to_owned());
    }
    Ok(time)
}
