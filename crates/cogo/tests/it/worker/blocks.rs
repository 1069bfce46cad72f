//! Tasks that hang: what clients are told, and what is done about it.

use serde_json::{Value, json};

use super::fixture::{Client, Worker, WorkerFixture};

/// Opens a named pipe that nobody will ever write to.
const DEADLOCK: &str = "mkfifo p; cat p";
/// Reads a line that nobody sends unless a client does.
const QUESTION: &str = "read line; echo \"got $line\"";

fn list(worker: &Worker) -> Value {
    let mut client = worker.connect();
    client.send(&json!({ "type": "list_tasks" }));
    client.until("task_list")["tasks"].clone()
}

/// Looks closely until a task is found to hang.
fn until_found(client: &mut Client, task_id: &str) -> Value {
    loop {
        client.send(&json!({ "type": "detect_block", "taskId": task_id, "requestId": 7 }));
        let report = client.until("block_report");
        assert_eq!(report["requestId"], 7);
        let task = report["tasks"][0].clone();
        assert_eq!(task["taskId"], task_id, "{report}");
        if !task["blockInfo"].is_null() {
            return task;
        }
    }
}

fn text(evidence: &Value) -> String {
    let lines = evidence.as_array().unwrap().iter();
    lines
        .map(|line| line.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_client_hears_why_a_task_hangs_and_can_help() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--heartbeat", "200ms"]);
    let mut client = worker.connect();
    client.execute_with("t", QUESTION, json!({ "stdin": "open" }));
    let told = client.until("block_detected");
    let info = &told["blockInfo"];
    assert_eq!(
        (&told["taskId"], &info["taskId"]),
        (&json!("t"), &json!("t"))
    );
    assert_eq!(info["reason"], "waiting_for_input", "{told}");
    assert_eq!(info["recoverable"], true);
    assert!(info["duration"].as_u64().unwrap() >= 700, "{told}");
    assert!(text(&info["evidence"]).contains("standard input"), "{told}");
    assert_eq!(list(&worker)[0]["blocked"], "waiting_for_input");
    while client.until("heartbeat")["status"] != "blocked" {}

    client.send(&json!({ "type": "send_input", "taskId": "t", "input": "x\n" }));
    let end = client.until("task_complete");
    assert_eq!(
        (&end["exitCode"], &end["verdict"]["kind"]),
        (&json!(0), &json!("exited"))
    );
    while client.until("heartbeat")["status"] != "idle" {}
}

#[test]
fn who_comes_late_hears_of_a_block_that_holds() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute("t", DEADLOCK);
    let first = client.until("block_detected");
    let mut late = worker.connect();
    late.send(&json!({ "type": "attach", "taskId": "t" }));
    let again = late.until("block_detected");
    assert_eq!(again["blockInfo"]["reason"], "deadlock");
    let duration = |told: &Value| told["blockInfo"]["duration"].as_u64().unwrap();
    assert!(duration(&again) >= duration(&first), "{first} {again}");
}

#[test]
fn the_policy_kill_ends_it_and_the_verdict_says_why_and_how() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    let told = client.run("t", DEADLOCK, json!({ "blockPolicy": "kill" }));
    assert_eq!(told.blocks.len(), 1, "{told:?}");
    let verdict = &told.end["verdict"];
    assert_eq!(told.end["exitCode"], 122, "{told:?}");
    assert_eq!(
        (&verdict["kind"], &verdict["reason"]),
        (&json!("blocked"), &json!("deadlock"))
    );
    assert_eq!(
        verdict["status"],
        json!({ "kind": "signaled", "signal": 15 })
    );
    assert_eq!(verdict["survivors"], 0);
    assert!(
        text(&verdict["evidence"]).contains("named pipe"),
        "{verdict}"
    );
}

#[test]
fn a_worker_has_a_policy_for_tasks_that_name_none() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--block-policy", "kill"]);
    let mut client = worker.connect();
    let told = client.run("t", DEADLOCK, json!({}));
    assert_eq!(told.end["exitCode"], 122, "{told:?}");
}

#[test]
fn the_policy_observe_tells_only_who_asks() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    let more = json!({ "blockPolicy": "observe", "stdin": "open" });
    client.execute_with("t", QUESTION, more);
    let found = until_found(&mut worker.connect(), "t");
    assert_eq!(found["blockInfo"]["reason"], "waiting_for_input");
    client.send(&json!({ "type": "send_input", "taskId": "t", "input": "x\n" }));
    let told = client.follow("t");
    assert_eq!((told.blocks.len(), told.stdout.as_str()), (0, "got x\n"));
}

#[test]
fn the_policy_recover_ends_an_input_that_nobody_sends() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    let more = json!({ "blockPolicy": "recover", "stdin": "open" });
    client.execute_with("t", "cat; echo went on; sleep 60", more);
    let told = client.until("task_output");
    assert_eq!(told["output"], "went on\n");
    client.send(&json!({ "type": "send_input", "taskId": "t", "input": "late" }));
    assert_eq!(client.until("task_error")["code"], "not_applicable");
    // Where nothing can be tried in place, whoever gave the task is told that it ended for this.
    let told = client.run("u", DEADLOCK, json!({ "blockPolicy": "recover" }));
    assert_eq!(told.end["verdict"]["reason"], "deadlock", "{told:?}");
}

#[test]
fn a_task_that_is_found_again_is_watched_by_its_own_policy() {
    let place = WorkerFixture::new();
    let workspace = place.fixture.workspace();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    let script = format!("touch runs; until [ -e go ]; do sleep 0.05; done; {DEADLOCK}");
    let more = json!({ "workspace": workspace.to_str(), "blockPolicy": "kill" });
    client.execute_with("t", &script, more);
    place.fixture.await_file("runs");
    worker.kill();
    let worker = place.start(&["--block-policy", "observe"]);
    std::fs::write(workspace.join("go"), "").unwrap();
    let mut client = worker.connect();
    client.send(&json!({ "type": "attach", "taskId": "t" }));
    let told = client.follow("t");
    assert_eq!(told.end["exitCode"], 122, "{told:?}");
    assert_eq!(told.end["verdict"]["reason"], "deadlock");
}

#[test]
fn a_close_look_shows_what_honest_threads_do() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute("t", "echo ready; sleep 100");
    client.until("task_output");
    client.send(&json!({ "type": "detect_block" }));
    let report = client.until("block_report");
    let task = &report["tasks"][0];
    assert!(task["blockInfo"].is_null(), "{report}");
    assert!(text(&task["evidence"]).contains("sleeps"), "{report}");
    client.send(&json!({ "type": "detect_block", "taskId": "none" }));
    assert_eq!(client.until("task_error")["code"], "no_such_task");
}

#[test]
fn times_are_the_tasks_own() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--slots", "3"]);
    let mut client = worker.connect();
    let never = json!({ "waiting_for_input": null });
    client.execute_with(
        "t",
        QUESTION,
        json!({ "stdin": "open", "blockAfter": never }),
    );
    // The second one shows that the first would have been told of by now.
    client.execute_with("u", QUESTION, json!({ "stdin": "open" }));
    assert_eq!(client.until("block_detected")["taskId"], "u");
    client.send(&json!({ "type": "detect_block", "taskId": "t" }));
    let report = client.until("block_report");
    assert!(report["tasks"][0]["blockInfo"].is_null(), "{report}");
    let more = json!({ "blockAfter": { "heartbeat_lost": 1000 } });
    let told = client.run("v", "true", more);
    assert_eq!(told.end["code"], "invalid_request", "{told:?}");
}
