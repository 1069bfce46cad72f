//! `cogo submit`: gives a task to a server, and shows it to its end.

mod options;
mod recovery;
mod request;

use cogo_protocol::task::TaskStatus;
use hyper::Method;

use crate::client::{Client, block_on};
use crate::failure::{Failure, note, print};
use crate::remote::{Ending, Keys, Shows, TaskView, describe, exit_code};

pub(crate) use options::{Options, parse_label};

/// Submits the task, and waits for its end unless it is to be left alone.
pub(crate) fn run(options: &Options, state_dir: Option<&std::path::Path>) -> Result<u8, Failure> {
    let client = Client::find(&options.server, state_dir)?;
    let request = request::request(options)?;
    block_on(async {
        let task: TaskStatus = client.ask(Method::POST, "/execute", Some(&request)).await?;
        if options.detach {
            tell_name(options, &task)?;
            return Ok(0);
        }
        if options.json {
            return wait_silently(options, &client, task).await;
        }
        show(options, &client, &task).await
    })
}

fn tell_name(options: &Options, task: &TaskStatus) -> Result<(), Failure> {
    if options.json {
        return print(&json_line(task));
    }
    print(&format!("{}\n", task.task_id))
}

/// Shows the output while it is written.
async fn show(options: &Options, client: &Client, task: &TaskStatus) -> Result<u8, Failure> {
    let view = TaskView {
        client,
        task_id: task.task_id.clone(),
        from_seq: 0,
        keys: Keys::Cancel,
        shows: Shows::All,
        input: options.forwards_input(),
    };
    match view.run().await? {
        Ending::Over(task) => {
            if !options.quiet {
                note(&describe(&task));
            }
            Ok(exit_code(&task))
        }
        Ending::Left => {
            note(&format!(
                "left running; `cogo kill {}` ends it",
                task.task_id
            ));
            Ok(crate::exit_code::SIGNAL_BASE + 2)
        }
        Ending::OutputClosed => Ok(crate::exit_code::SIGNAL_BASE + 13),
    }
}

/// Waits for the end and prints it alone.
async fn wait_silently(
    options: &Options,
    client: &Client,
    task: TaskStatus,
) -> Result<u8, Failure> {
    let view = TaskView {
        client,
        task_id: task.task_id,
        // Past all output: only the end is of interest.
        from_seq: u64::MAX / 2,
        keys: Keys::Cancel,
        shows: Shows::Nothing,
        input: options.forwards_input(),
    };
    match view.run().await? {
        Ending::Over(task) => {
            print(&json_line(&task))?;
            Ok(exit_code(&task))
        }
        Ending::Left => Ok(crate::exit_code::SIGNAL_BASE + 2),
        Ending::OutputClosed => Ok(crate::exit_code::SIGNAL_BASE + 13),
    }
}

fn json_line(task: &TaskStatus) -> String {
    let mut line = serde_json::to_string(task).expect("tasks have string keys only");
    line.push('\n');
    line
}
