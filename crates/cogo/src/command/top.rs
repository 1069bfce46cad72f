//! `cogo top`: what a server does, live.

mod draw;
mod live;
mod screen;
mod snapshot;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use cogo_protocol::units::TimeSpan;

use crate::client::{Client, ServerOptions, block_on};
use crate::failure::{Failure, print};

use screen::Screen;
use snapshot::Snapshot;

const LONG: &str = "\
Show what a server does, live: its workers, its queue, the tasks that run, and what happens

Where the output is no terminal, one look is printed.";

const EXAMPLES: &str = "\
Examples:
  cogo top                         of the server on this state directory
  cogo top --server https://build.example.org:7171
  cogo top --once                  one look, as text
  cogo top --once --json           one look, for programs

Keys:
  up, down    choose a task
  enter       follow its output; enter or escape goes back
  k           kill it, after a question
  q           leave";

/// Size of a look that is printed.
const PRINTED_WIDTH: u16 = 110;
const PRINTED_HEIGHT: u16 = 40;
/// Looking more often than this shows nothing new.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Show what a server does, live
#[derive(Args, Debug)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Print one look and end
    #[arg(long)]
    once: bool,
    /// Print one JSON object; implies --once
    #[arg(long)]
    json: bool,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: TimeSpan,
    #[command(flatten)]
    server: ServerOptions,
}

/// Shows it.
pub(crate) fn run(options: &Options, state_dir: Option<&std::path::Path>) -> Result<u8, Failure> {
    let client = Client::find(&options.server, state_dir)?;
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if terminal && !options.once && !options.json {
        let interval = Duration::from(options.interval).max(INTERVAL_MIN);
        block_on(live::watch(client, interval))?;
        return Ok(0);
    }
    let snapshot = block_on(Snapshot::take(&client))?;
    if options.json {
        print(&(serde_json::to_string(&snapshot)? + "\n"))?;
        return Ok(0);
    }
    let screen = Screen::new(client.address().to_string(), snapshot);
    print(&draw::as_text(&screen, PRINTED_WIDTH, PRINTED_HEIGHT)?)?;
    Ok(0)
}
