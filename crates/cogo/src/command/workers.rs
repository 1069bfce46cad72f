//! `cogo workers`: shows a server's workers and changes them.

use clap::{Args, Subcommand};
use cogo_manager::http::{DrainWorker, WorkerList};
use cogo_protocol::worker::{CreateWorker, WorkerId, WorkerInfo, WorkerStatus};
use hyper::Method;

use super::submit::parse_label;
use crate::client::{Client, ServerOptions, block_on, encoded};
use crate::failure::{Failure, print};
use crate::table::Table;
use crate::{instant, measure};

const EXAMPLES: &str = "\
Examples:
  cogo workers                               all, with what they do
  cogo workers --json | jq -r .id            their names
  cogo workers create --label gpu=yes        one more on the server's host
  cogo workers drain local-2                 no more tasks for it; --undo gives it tasks again
  cogo workers remove local-2                goes when it has none
  cogo workers recover local-2               takes its tasks back and restarts it";

/// Show a server's workers and change them
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start one more on the server's host
    Create {
        /// Its type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// A label that tasks may require; may be repeated
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
        label: Vec<(String, String)>,
    },
    /// Give one no more tasks
    Drain {
        /// Its name
        worker: WorkerId,
        /// Give it tasks again
        #[arg(long)]
        undo: bool,
    },
    /// Drain one, and remove it when it has no more tasks
    Remove {
        /// Its name
        worker: WorkerId,
        /// Do not wait: what it runs is taken back and queued anew
        #[arg(long)]
        force: bool,
    },
    /// Take one's tasks back and queue them anew; restart it if it runs on the server's host
    Recover {
        /// Its name
        worker: WorkerId,
    },
}

/// Does it.
pub(crate) fn run(options: &Options, state_dir: Option<&std::path::Path>) -> Result<u8, Failure> {
    let client = Client::find(&options.server, state_dir)?;
    block_on(async {
        match &options.action {
            None => list(options, &client).await?,
            Some(action) => act(options, &client, action).await?,
        }
        Ok(0)
    })
}

async fn list(options: &Options, client: &Client) -> Result<(), Failure> {
    let list: WorkerList = client.get("/workers").await?;
    if options.json {
        return print(&list.workers.iter().map(json_line).collect::<String>());
    }
    print(&table(&list.workers, instant::now_ms()).render())
}

async fn act(options: &Options, client: &Client, action: &Action) -> Result<(), Failure> {
    let path = |worker: &WorkerId| format!("/workers/{}", encoded(worker.as_str()));
    match action {
        Action::Create { kind, label } => {
            let request = CreateWorker {
                kind: kind.clone(),
                labels: label.iter().cloned().collect(),
            };
            let worker: WorkerInfo = client.ask(Method::POST, "/workers", Some(&request)).await?;
            if options.json {
                return print(&json_line(&worker));
            }
            print(&format!("{}\n", worker.id))
        }
        Action::Drain { worker, undo } => {
            let body = DrainWorker { draining: !undo };
            let path = path(worker) + "/drain";
            client.ask(Method::POST, &path, Some(&body)).await
        }
        Action::Remove { worker, force } => {
            let path = format!("{}?force={force}", path(worker));
            client.ask(Method::DELETE, &path, None::<&()>).await
        }
        Action::Recover { worker } => {
            let path = format!("/recover/{}", encoded(worker.as_str()));
            client.ask(Method::POST, &path, None::<&()>).await
        }
    }
}

fn json_line(worker: &WorkerInfo) -> String {
    serde_json::to_string(worker).expect("workers have string keys only") + "\n"
}

/// Workers as a table.
pub(crate) fn table(workers: &[WorkerInfo], now_ms: u64) -> Table {
    let mut table = Table::new([
        "ID", "TYPE", "STATUS", "TASKS", "SLOTS", "CPU", "MEMORY", "HEARD", "WHERE",
    ]);
    for worker in workers {
        table.row([
            worker.id.to_string(),
            worker.kind.clone(),
            status(worker).to_owned(),
            worker.tasks.len().to_string(),
            worker.capabilities.slots.to_string(),
            format!("{:.0} %", worker.health.cpu),
            format!("{:.0} %", worker.health.memory),
            heard(worker, now_ms),
            if worker.local { "local" } else { "remote" }.to_owned(),
        ]);
    }
    table
}

/// For how long nothing was heard of it.
pub(super) fn heard(worker: &WorkerInfo, now_ms: u64) -> String {
    if worker.last_heartbeat == 0 {
        return "-".to_owned();
    }
    let silent = now_ms.saturating_sub(worker.last_heartbeat);
    measure::time(std::time::Duration::from_millis(silent))
}

/// What it is doing.
pub(super) fn status(worker: &WorkerInfo) -> &'static str {
    match (worker.connected, worker.draining, worker.status) {
        (false, _, _) => "away",
        (true, true, _) => "draining",
        (true, false, WorkerStatus::Idle) => "idle",
        (true, false, WorkerStatus::Busy) => "busy",
        (true, false, WorkerStatus::Error) => "error",
        (true, false, WorkerStatus::Blocked) => "blocked",
    }
}
