//! A worker and whoever manages it.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::fixture::{Client, WorkerFixture};
use crate::fixture::await_condition;

fn fenced(fence: u64) -> Value {
    json!({ "fence": fence, "attempt": fence })
}

#[test]
fn the_newest_fence_holds_the_task() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--slots", "1"]);
    let mut manager = worker.connect();
    manager.execute_with("t", "echo one; sleep 1000", fenced(5));
    manager.until("task_output");
    // The same once more changes nothing.
    manager.execute_with("t", "echo one; sleep 1000", fenced(5));
    let again = manager.until("execution_started");
    assert_eq!((&again["fence"], &again["attempt"]), (&json!(5), &json!(5)));
    manager.execute_with("t", "true", fenced(4));
    assert_eq!(manager.until("task_error")["code"], "stale_fence");
    manager.send(&json!({ "type": "terminate_task", "taskId": "t", "fence": 4 }));
    assert_eq!(manager.until("task_error")["code"], "stale_fence");
    manager.execute("t", "true");
    assert_eq!(manager.until("task_error")["code"], "task_exists");

    // A newer one ends the older attempt and takes its slot.
    let mut watcher = worker.connect();
    watcher.send(&json!({ "type": "attach", "taskId": "t" }));
    watcher.until("task_output");
    manager.execute_with("t", "echo two", fenced(6));
    let told = manager.follow("t");
    assert_eq!(told.stdout, "two\n");
    assert_eq!(
        (&told.end["exitCode"], &told.end["fence"]),
        (&json!(0), &json!(6))
    );
    let older = watcher.follow("t").end;
    assert_eq!(
        (&older["verdict"]["kind"], &older["fence"]),
        (&json!("cancelled"), &json!(5))
    );
    await_condition("one exec", || place.names("execs").len() == 1);

    // An ended task is told again to the same fence, also over another connection.
    let told = worker.connect().run("t", "echo two", fenced(6));
    assert_eq!(told.stdout, "two\n");
    assert_eq!(place.names("execs").len(), 1);
}

#[test]
fn what_is_acknowledged_is_forgotten() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut manager = worker.connect();
    manager.run("t", "echo x > file", fenced(5));
    assert_eq!(worker.connect().welcome["tasks"][0]["running"], false);
    manager.send(&json!({ "type": "acknowledge", "taskId": "t", "fence": 4 }));
    assert_eq!(manager.until("task_error")["code"], "stale_fence");
    for _ in 0..2 {
        manager.send(&json!({ "type": "acknowledge", "taskId": "t", "fence": 5 }));
    }
    for directory in ["execs", "tasks", "workspaces"] {
        await_condition(directory, || place.names(directory).is_empty());
    }
    manager.send(&json!({ "type": "attach", "taskId": "t" }));
    assert_eq!(manager.until("task_error")["code"], "no_such_task");
    assert_eq!(worker.connect().welcome["tasks"], json!([]));
}

#[test]
fn a_worker_dials_its_manager_and_comes_back() {
    let place = WorkerFixture::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let mut worker = place.start_with(&["worker", "--join", &url, "--warm", "0"]);
    let mut manager = Client::accept(&listener);
    manager.send(&json!({ "type": "joined", "heartbeatMs": 60_000, "leaseMs": 180_000 }));
    assert_eq!(manager.until("heartbeat")["status"], "idle");
    manager.execute_with("t", "echo hi; sleep 1000", fenced(1));
    // A change is told at once.
    while manager.until("heartbeat")["status"] != "busy" {}
    drop(manager);

    let mut manager = Client::accept(&listener);
    assert_eq!(manager.welcome["tasks"][0]["taskId"], "t");
    assert_eq!(manager.welcome["tasks"][0]["fence"], 1);
    manager.send(&json!({ "type": "joined", "heartbeatMs": 60_000, "leaseMs": 180_000 }));
    manager.send(&json!({ "type": "attach", "taskId": "t" }));
    let started = manager.until("execution_started");
    assert!(started["handle"].is_u64(), "{started}");
    assert!(manager.until("binary")["bytes"].is_array());
    manager.send(&json!({ "type": "terminate_task", "taskId": "t", "fence": 1 }));
    assert_eq!(
        manager.until("task_complete")["verdict"]["kind"],
        "cancelled"
    );
    worker.signal(Signal::TERM);
    // With nothing left to run it need not tell that it drains.
    assert_eq!(manager.until("close")["code"], 1001);
    assert_eq!(worker.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_next_manager_is_tried_when_one_is_away() {
    let place = WorkerFixture::new();
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let away_url = format!("ws://{}", away.local_addr().unwrap());
    drop(away);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let worker = place.start_with(&["worker", "--join", &away_url, "--join", &url]);
    assert!(Client::accept(&listener).welcome["workerId"].is_string());
    assert!(worker.hello.contains("isolation"), "{}", worker.hello);
}
