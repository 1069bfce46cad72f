//! `cogo health`: how a server is doing.

use std::time::Duration;

use clap::Args;
use cogo_manager::http::HealthReport;

use crate::client::{Client, ServerOptions, block_on};
use crate::failure::{Failure, print};
use crate::{exit_code, measure};

const LONG: &str = "\
Tell how a server is doing

Exits with 0 if it is well, with 1 if it has workers and none is connected, or has given some up, \
and if it does not answer.";

const EXAMPLES: &str = "\
Examples:
  cogo health                                          of the server on this state directory
  cogo health --server https://build.example.org:7171
  cogo health --json | jq .queued";

/// Tell how a server is doing
#[derive(Args, Debug)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Tells it.
pub(crate) fn run(options: &Options, state_dir: Option<&std::path::Path>) -> Result<u8, Failure> {
    let client = Client::find(&options.server, state_dir)?;
    let health: HealthReport = block_on(client.get("/health"))?;
    let text = if options.json {
        serde_json::to_string(&health)? + "\n"
    } else {
        for_people(&client, &health)
    };
    print(&text)?;
    Ok(if health.status == "ok" {
        0
    } else {
        exit_code::FAILURE
    })
}

fn for_people(client: &Client, health: &HealthReport) -> String {
    let mut text = format!(
        "{} · {} · version {} · up {}\n",
        health.status,
        client.address(),
        health.version,
        measure::time(Duration::from_millis(health.uptime)),
    );
    text += &format!(
        "tasks: {} running, {} waiting\nworkers: {} of {} connected",
        health.running, health.queued, health.workers_connected, health.workers
    );
    if health.workers_given_up > 0 {
        text += &format!(", {} given up", health.workers_given_up);
    }
    if let Some(bytes) = health.memory_bytes {
        text += &format!("\nmemory: {}", measure::bytes(bytes));
    }
    text.push('\n');
    text
}
