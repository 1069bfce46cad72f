//! `cogo why`: what became of a task or an exec, how that is known, and what was tried.

mod explanation;
mod words;

use clap::Args;
use cogo_protocol::task::{TaskId, TaskStatus};
use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};
use cogo_sandbox::log::{Entry, LogReader};
use http_body_util::BodyExt;
use hyper::Method;

use self::explanation::Explanation;
use crate::client::{Client, ServerOptions, block_on, encoded};
use crate::failure::{Failure, print};
use crate::paint::Painter;
use crate::viewer::Tail;
use crate::{convert, hint, remote, state, summary};

const EXAMPLES: &str = "\
Examples:
  cogo why build-42          a task of a server
  cogo why last              the newest exec of this state directory
  cogo why --json build-42 | jq .tried";

/// Explain how a task or an exec ended, or why it hangs, and what was tried
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The exec: its id, an unambiguous start or end of it, or `last`; or a task of a server
    #[arg(value_name = "ID")]
    exec: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Explains it.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let explanation = match remote::command::server_of(&options.exec, &options.server, state)? {
        Some(client) => of_task(&client, &options.exec)?,
        None => of_exec(&state::find(state, &options.exec)?)?,
    };
    let text = if options.json {
        serde_json::to_string(&explanation)? + "\n"
    } else {
        explanation.for_people(Painter::stdout())
    };
    print(&text)?;
    Ok(0)
}

fn of_task(client: &Client, name: &str) -> Result<Explanation, Failure> {
    let task_id: TaskId = name.parse()?;
    let path = format!("/tasks/{}", encoded(task_id.as_str()));
    block_on(async {
        let task: TaskStatus = client.get(&path).await?;
        // A task that never ran has no output.
        let output = match task.started_at {
            Some(_) => tail_of(client, &format!("{path}/logs")).await?,
            None => String::new(),
        };
        Ok(Explanation::of_task(&task, &output))
    })
}

async fn tail_of(client: &Client, path: &str) -> Result<String, Failure> {
    let answer = client.send(Method::GET, path, None::<&()>).await?;
    let mut body = answer.into_body();
    let mut tail = Tail::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::caused("the output was cut short", &error))?;
        if let Some(bytes) = frame.data_ref() {
            tail.push(bytes);
        }
    }
    Ok(tail.text())
}

fn of_exec(exec: &ExecDir) -> Result<Explanation, Failure> {
    let spec = exec.spec()?;
    let title = spec.argv.join(" ");
    match exec.state()? {
        ExecState::Starting | ExecState::Running(_) => Ok(Explanation::of_live_exec(
            state::short_id(exec),
            &title,
            &output_of(exec, 0)?,
        )),
        ExecState::Ended(verdict) => {
            let output = output_of(exec, verdict.log_end)?;
            let hints = hint::hints(&spec, &verdict, &output);
            let advice = hints
                .into_iter()
                .map(|hint| format!("{}: {}", hint.fact, hint.advice))
                .collect();
            let told = convert::verdict(&verdict);
            let line = summary::line(&verdict, Painter::plain());
            let name = state::short_id(exec);
            Ok(Explanation::of_exec(
                name, &title, &told, line, advice, &output,
            ))
        }
    }
}

/// The end of the output, if there is a log.
fn output_of(exec: &ExecDir, log_end: u64) -> Result<String, Failure> {
    const RECORDS: u64 = 200;
    if !exec.log_dir().is_dir() {
        return Ok(String::new());
    }
    let mut reader = LogReader::open(&exec.log_dir(), log_end.saturating_sub(RECORDS))?;
    let mut tail = Tail::default();
    while let Some(entry) = reader.next()? {
        match entry {
            Entry::Record(record) => tail.push(record.bytes),
            Entry::Cut { .. } => {}
        }
    }
    Ok(tail.text())
}
