//! The worker dies, and its tasks do not.

use std::collections::HashMap;
use std::fmt::Write as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::fixture::{Client, Worker, WorkerFixture};
use crate::fixture::await_condition;

const TASKS: usize = 50;

/// Prints lines known beforehand, some before the worker is killed and some after.
fn script(number: usize) -> String {
    format!(
        "i=0; while [ $i -lt 200 ]; do echo task {number} line $i; i=$((i+1)); done; \
         touch half.{number}; until [ -e go ]; do sleep 0.05; done; \
         while [ $i -lt 400 ]; do echo task {number} line $i; i=$((i+1)); done; exit {}",
        number % 7
    )
}

fn expected(number: usize) -> String {
    let mut text = String::new();
    for i in 0..400 {
        let _ = writeln!(text, "task {number} line {i}");
    }
    text
}

fn tasks(worker: &Worker) -> HashMap<String, Value> {
    let mut client = worker.connect();
    client.send(&json!({ "type": "list_tasks" }));
    let list = client.until("task_list");
    let tasks = list["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| (task["taskId"].as_str().unwrap().to_owned(), task.clone()))
        .collect()
}

#[test]
fn tasks_of_a_killed_worker_end_as_if_it_had_lived() {
    let place = WorkerFixture::new();
    let workspace = place.fixture.workspace();
    let slots = TASKS.to_string();
    let worker = place.start(&["--slots", &slots]);
    let mut client = worker.connect();
    for number in 0..TASKS {
        let more = json!({ "workspace": workspace.to_str() });
        client.execute_with(&format!("t{number}"), &script(number), more);
    }
    for number in 0..TASKS {
        place.fixture.await_file(&format!("half.{number}"));
    }
    let id = client.welcome["workerId"].clone();
    worker.kill();

    let worker = place.start(&["--slots", &slots]);
    let found = tasks(&worker);
    assert_eq!(found.len(), TASKS);
    assert!(
        found.values().all(|task| task["running"] == true),
        "{found:?}"
    );
    // One more does not fit beside those that were found.
    let mut client = worker.connect();
    assert_eq!(client.welcome["workerId"], id);
    assert_eq!(client.welcome["tasks"].as_array().unwrap().len(), TASKS);
    client.execute("more", "true");
    assert_eq!(client.until("task_error")["code"], "at_capacity");
    std::fs::write(workspace.join("go"), "").unwrap();
    let check = |worker: &Worker| {
        for number in 0..TASKS {
            let task_id = format!("t{number}");
            let mut client = worker.connect();
            client.send(&json!({ "type": "attach", "taskId": task_id }));
            let told = client.to_end(&task_id);
            assert_eq!(told.started.len(), 1);
            assert!(
                told.stdout == expected(number),
                "{} bytes",
                told.stdout.len()
            );
            assert_eq!(told.end["type"], "task_complete", "{}", told.end);
            assert_eq!(told.end["exitCode"], number % 7);
        }
    };
    check(&worker);
    // The same verdicts once more, of tasks that ended under another worker.
    worker.kill();
    check(&place.start(&[]));
}

#[test]
fn a_task_that_never_started_is_told_as_such() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.run("t", "true", json!({}));
    client.run("u", "true", json!({}));
    let execs: HashMap<_, _> = tasks(&worker)
        .into_iter()
        .map(|(id, task)| (id, task["execId"].as_str().unwrap().to_owned()))
        .collect();
    worker.kill();
    // As they are when the worker dies just before it makes the exec, and when someone cleans up.
    let record = place.state().join(format!("tasks/{}.json", execs["t"]));
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("\"started\"", "\"starting\"")).unwrap();
    for exec in execs.values() {
        std::fs::remove_dir_all(place.state().join("execs").join(exec)).unwrap();
    }
    let worker = place.start(&[]);
    let mut client = worker.connect();
    for (task_id, code) in [("t", "not_started"), ("u", "outcome_unknown")] {
        client.send(&json!({ "type": "attach", "taskId": task_id }));
        let told = client.to_end(task_id);
        assert_eq!(
            (&told.end["type"], &told.end["code"]),
            (&json!("task_error"), &json!(code))
        );
    }
}

#[test]
fn a_killed_supervisor_is_an_unknown_end() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute("t", "sleep 1000");
    let exec = client.until("execution_started")["execId"].clone();
    let running = place
        .state()
        .join("execs")
        .join(exec.as_str().unwrap())
        .join("running.json");
    let running: Value = serde_json::from_slice(&std::fs::read(running).unwrap()).unwrap();
    let pid = i32::try_from(running["supervisor_pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let end = client.to_end("t").end;
    assert_eq!(
        (&end["type"], &end["code"]),
        (&json!("task_error"), &json!("outcome_unknown"))
    );
    assert_eq!(end["verdict"]["kind"], "unknown");
}

/// Waits until the worker takes no more: a signal arrives when it likes.
fn await_draining(client: &mut Client) {
    let mut tries = 0;
    await_condition("draining", || {
        tries += 1;
        let task_id = format!("try {tries}");
        client.run(&task_id, "true", json!({})).end["code"] == "draining"
    });
}

#[test]
fn sigterm_lets_tasks_finish_and_takes_no_more() {
    let place = WorkerFixture::new();
    let workspace = place.fixture.workspace();
    let mut worker = place.start(&["--drain-timeout", "1h"]);
    let mut client = worker.connect();
    let more = json!({ "workspace": workspace.to_str() });
    client.execute_with("t", "until [ -e go ]; do sleep 0.01; done; echo done", more);
    client.until("execution_started");
    worker.signal(Signal::TERM);
    await_draining(&mut client);
    std::fs::write(workspace.join("go"), "").unwrap();
    let told = client.to_end("t");
    assert_eq!(
        (told.stdout.as_str(), &told.end["exitCode"]),
        ("done\n", &json!(0))
    );
    assert_eq!(client.until("close")["code"], 1001);
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_does_not_finish_in_time_is_stopped_and_told() {
    let place = WorkerFixture::new();
    let mut worker = place.start(&["--drain-timeout", "0s"]);
    let mut client = worker.connect();
    client.execute("t", "sleep 1000");
    client.until("execution_started");
    worker.signal(Signal::TERM);
    assert_eq!(client.to_end("t").end["verdict"]["kind"], "cancelled");
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_interrupt_kills_what_runs() {
    let place = WorkerFixture::new();
    let mut worker = place.start(&["--drain-timeout", "1h"]);
    let mut client = worker.connect();
    let deaf = "trap '' TERM INT; echo ready; while :; do sleep 1; done";
    client.execute_with("t", deaf, json!({ "graceMs": 3_600_000 }));
    client.until("task_output");
    worker.signal(Signal::INT);
    await_draining(&mut client);
    worker.signal(Signal::INT);
    let end = client.to_end("t").end;
    assert_eq!(end["verdict"]["kind"], "cancelled");
    assert_eq!(end["verdict"]["survivors"], 0);
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_handover_leaves_tasks_to_the_next_worker() {
    let place = WorkerFixture::new();
    let workspace = place.fixture.workspace();
    let mut worker = place.start(&["--handover"]);
    let mut client = worker.connect();
    let more = json!({ "workspace": workspace.to_str(), "stdin": "open" });
    client.execute_with("t", "echo before; read line; echo after $line", more);
    client.until("task_output");
    worker.signal(Signal::TERM);
    assert_eq!(client.until("close")["code"], 1001);
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));

    let next = place.start(&[]);
    let mut client = next.connect();
    client.send(&json!({ "type": "send_input", "taskId": "t", "input": "all\n" }));
    client.send(&json!({ "type": "attach", "taskId": "t" }));
    let told = client.to_end("t");
    assert_eq!(told.stdout, "before\nafter all\n");
    assert_eq!(told.end["exitCode"], 0);
}
