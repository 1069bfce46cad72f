//! `ps`, `logs`, `attach`, `wait` and `kill` for tasks of a server.

use std::io::IsTerminal;
use std::time::Duration;

use cogo_manager::http::TaskPage;
use cogo_protocol::message::{FromWorker, SUBPROTOCOL_JSON, SignalTask, TaskSignal, ToWorker};
use cogo_protocol::record::Stream;
use cogo_protocol::task::{TaskId, TaskStatus};
use cogo_sandbox::exec_dir::StateDir;
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use hyper::Method;
use tokio_tungstenite::tungstenite::Message;

use super::{Ending, Keys, Shows, TaskView, describe, exit_code, state_text};
use crate::client::{Client, ServerFile, ServerOptions, block_on, encoded};
use crate::failure::{Failure, note, print};
use crate::table::Table;
use crate::{instant, measure, state};

/// The server to ask about something with this name: one that was named on the command line, or
/// the usual one if there is no exec of that name here.
pub(crate) fn server_of(
    name: &str,
    options: &ServerOptions,
    state: &StateDir,
) -> Result<Option<Client>, Failure> {
    let elsewhere = options.server.is_some()
        || state::find(state, name).is_err()
            && (options.is_given() || ServerFile::read(Some(state.path()))?.is_some());
    elsewhere
        .then(|| Client::find(options, Some(state.path())))
        .transpose()
}

fn id(name: &str) -> Result<TaskId, Failure> {
    Ok(name.parse::<TaskId>()?)
}

fn path(id: &TaskId) -> String {
    format!("/tasks/{}", encoded(id.as_str()))
}

/// Lists tasks, the newest first.
pub(crate) fn ps(client: &Client, all: bool, json: bool, quiet: bool) -> Result<u8, Failure> {
    let filter = if all {
        ""
    } else {
        "&state=queued,leased,running"
    };
    let page: TaskPage = block_on(client.get(&format!("/tasks?limit=1000{filter}")))?;
    let text = if quiet {
        let names = page.tasks.iter().map(|task| format!("{}\n", task.task_id));
        names.collect()
    } else if json {
        let lines: Result<String, serde_json::Error> = page
            .tasks
            .iter()
            .map(|task| Ok(serde_json::to_string(task)? + "\n"))
            .collect();
        lines?
    } else {
        table(&page.tasks, instant::now_ms()).render()
    };
    print(&text)?;
    if page.next_before.is_some() {
        note("there are more; the newest 1000 are shown");
    }
    Ok(0)
}

/// Tasks as a table.
pub(crate) fn table(tasks: &[TaskStatus], now_ms: u64) -> Table {
    let mut table = Table::new(["TASK", "STATE", "COMMAND", "SUBMITTED", "TIME", "WORKER"]);
    for task in tasks {
        table.row([
            task.task_id.to_string(),
            if task.state.is_final() {
                describe(task)
            } else {
                state_text(task.state).to_owned()
            },
            task.command.clone(),
            instant::ago(task.created_at, now_ms),
            task.started_at.map_or_else(
                || "-".to_owned(),
                |at| {
                    let ran = task.ended_at.unwrap_or(now_ms).saturating_sub(at);
                    measure::time(Duration::from_millis(ran))
                },
            ),
            task.worker_id
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
        ]);
    }
    table
}

/// What to show of a task's output.
pub(crate) struct Logs {
    pub(crate) follow: bool,
    pub(crate) from_seq: u64,
    pub(crate) only: Option<Stream>,
}

/// Shows the output of a task.
pub(crate) fn logs(client: &Client, name: &str, logs: &Logs) -> Result<u8, Failure> {
    let task_id = id(name)?;
    if logs.follow {
        let view = TaskView {
            client,
            task_id,
            from_seq: logs.from_seq,
            keys: Keys::Leave,
            shows: logs.only.map_or(Shows::All, Shows::One),
            input: false,
        };
        block_on(view.run())?;
        return Ok(0);
    }
    let only = match logs.only {
        None => "",
        Some(Stream::Stdout) => "&stream=stdout",
        Some(Stream::Stderr) => "&stream=stderr",
    };
    let path = format!("{}/logs?fromSeq={}{only}", path(&task_id), logs.from_seq);
    block_on(copy_out(client, &path))?;
    Ok(0)
}

async fn copy_out(client: &Client, path: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut body = client
        .send(Method::GET, path, None::<&()>)
        .await?
        .into_body();
    let mut stdout = std::io::stdout().lock();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::caused("the output was cut short", &error))?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::caused("failed to write to stdout", &error)),
        }
    }
    Ok(())
}

/// Joins a task: shows its output from now on, and forwards a pipe or file.
pub(crate) fn attach(
    client: &Client,
    name: &str,
    replay: bool,
    input: bool,
    quiet: bool,
) -> Result<u8, Failure> {
    let task_id = id(name)?;
    block_on(async {
        // Fails early for a task that is not there.
        let task: TaskStatus = client.get(&path(&task_id)).await?;
        let from_seq = if replay || task.state.is_final() {
            0
        } else {
            end_of_log(client, &task_id).await?
        };
        let view = TaskView {
            client,
            task_id: task_id.clone(),
            from_seq,
            keys: Keys::Leave,
            shows: Shows::All,
            input: input && !std::io::stdin().is_terminal(),
        };
        match view.run().await? {
            Ending::Over(task) => {
                if !quiet {
                    note(&describe(&task));
                }
                Ok(exit_code(&task))
            }
            Ending::Left => {
                note(&format!("left running; `cogo kill {task_id}` ends it"));
                Ok(0)
            }
            Ending::OutputClosed => Ok(0),
        }
    })
}

/// The number after the last record that there is.
async fn end_of_log(client: &Client, task_id: &TaskId) -> Result<u64, Failure> {
    let mut socket = client
        .web_socket(&format!("{}/stream", path(task_id)), SUBPROTOCOL_JSON)
        .await?;
    let ask = serde_json::to_string(&ToWorker::ListTasks {})?;
    socket.send(Message::Text(ask.into())).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        if let Ok(FromWorker::TaskList(list)) = serde_json::from_str(&text) {
            return Ok(list.tasks.first().map_or(0, |task| task.last_seq));
        }
    }
    Ok(0)
}

/// Waits for the end of a task.
pub(crate) fn wait(client: &Client, name: &str, quiet: bool) -> Result<u8, Failure> {
    let view = TaskView {
        client,
        task_id: id(name)?,
        // Past all output: only the end is of interest.
        from_seq: u64::MAX / 2,
        keys: Keys::Leave,
        shows: Shows::Nothing,
        input: false,
    };
    match block_on(view.run())? {
        Ending::Over(task) => {
            if !quiet {
                note(&describe(&task));
            }
            Ok(exit_code(&task))
        }
        Ending::Left | Ending::OutputClosed => Ok(0),
    }
}

/// How to end a task.
pub(crate) enum Kill {
    /// Only this signal, without waiting.
    Signal(i32),
    /// The polite signal, this time, the kill.
    Stop(Duration),
}

/// Ends a task and tells how it ended.
pub(crate) fn kill(client: &Client, name: &str, how: &Kill) -> Result<(), Failure> {
    let task_id = id(name)?;
    match how {
        Kill::Signal(number) => block_on(signal(client, &task_id, *number)),
        Kill::Stop(grace) => {
            let query = format!("{}?graceMs={}", path(&task_id), grace.as_millis());
            let task: TaskStatus = block_on(client.ask(Method::DELETE, &query, None::<&()>))?;
            if task.state.is_final() {
                return print(&format!("{task_id} {}\n", describe(&task)));
            }
            wait(client, name, true)?;
            let task: TaskStatus = block_on(client.get(&path(&task_id)))?;
            print(&format!("{task_id} {}\n", describe(&task)))
        }
    }
}

async fn signal(client: &Client, task_id: &TaskId, number: i32) -> Result<(), Failure> {
    let mut socket = client
        .web_socket(&format!("{}/stream", path(task_id)), SUBPROTOCOL_JSON)
        .await?;
    let send = ToWorker::SignalTask(SignalTask {
        task_id: task_id.clone(),
        signal: TaskSignal::Number(number),
    });
    // The answer to the second one tells that the first one was taken.
    for message in [send, ToWorker::ListTasks {}] {
        let json = serde_json::to_string(&message)?;
        socket.send(Message::Text(json.into())).await?;
    }
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        match serde_json::from_str(&text) {
            Ok(FromWorker::TaskError(error)) => return Err(Failure::new(error.error)),
            Ok(FromWorker::TaskList(_)) => return Ok(()),
            Ok(_) | Err(_) => {}
        }
    }
    Err(Failure::new(
        "the connection broke before the signal was taken",
    ))
}
