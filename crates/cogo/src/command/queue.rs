//! `cogo queue`: shows the tasks of a server that wait.

use clap::Args;
use cogo_manager::http::QueueReport;

use crate::client::{Client, ServerOptions, block_on};
use crate::failure::{Failure, note, print};
use crate::instant;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  cogo queue                        the next 50
  cogo queue --limit 1000 --json    one JSON object a line";

/// Show the tasks of a server that wait, the next first
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Tasks at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Shows them.
pub(crate) fn run(options: &Options, state_dir: Option<&std::path::Path>) -> Result<u8, Failure> {
    let client = Client::find(&options.server, state_dir)?;
    let path = format!("/queue?limit={}", options.limit);
    let queue: QueueReport = block_on(client.get(&path))?;
    if options.json {
        let lines: Result<Vec<String>, _> = queue.tasks.iter().map(serde_json::to_string).collect();
        let mut text = lines?.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        print(&text)?;
        return Ok(0);
    }
    print(&table(&queue, instant::now_ms()).render())?;
    let hidden = queue.total.saturating_sub(queue.tasks.len());
    if hidden > 0 {
        note(&format!("{hidden} more wait"));
    }
    Ok(0)
}

/// Waiting tasks as a table.
pub(crate) fn table(queue: &QueueReport, now_ms: u64) -> Table {
    let mut table = Table::new([
        "PLACE",
        "ID",
        "PRIORITY",
        "SUBMITTER",
        "SUBMITTED",
        "COMMAND",
    ]);
    for (place, task) in queue.tasks.iter().enumerate() {
        table.row([
            (place + 1).to_string(),
            task.task_id.to_string(),
            task.priority.level().to_string(),
            task.submitter.clone(),
            instant::ago(task.created_at, now_ms),
            task.command.clone(),
        ]);
    }
    table
}
