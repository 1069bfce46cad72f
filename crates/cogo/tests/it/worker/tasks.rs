//! What a client can do with tasks.

use serde_json::{Value, json};

use super::fixture::WorkerFixture;
use crate::fixture::await_condition;

#[test]
fn a_command_is_told_from_start_to_end() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--label", "os=linux", "--type", "test", "--slots", "3"]);
    let mut client = worker.connect();
    assert_eq!(client.welcome["workerType"], "test");
    assert_eq!(client.welcome["capabilities"]["slots"], 3);
    assert_eq!(client.welcome["capabilities"]["labels"]["os"], "linux");
    // One that waits has a process id for certain; a short one may be gone when it is looked at.
    client.execute_with("waits", "cat", json!({ "stdin": "open" }));
    assert!(client.until("execution_started")["pid"].is_u64());
    client.send(&json!({ "type": "send_input", "taskId": "waits", "eof": true }));
    assert_eq!(client.until("task_complete")["exitCode"], 0);
    let told = client.run(
        "t",
        "echo out; echo err >&2; echo $GREETING; exit 3",
        json!({ "env": { "GREETING": "grün 😀" } }),
    );
    assert_eq!(told.started.len(), 1);
    assert_eq!(told.stdout, "out\ngrün 😀\n");
    assert_eq!(told.stderr, "err\n");
    assert_eq!(told.end["type"], "task_complete");
    assert_eq!(told.end["exitCode"], 3);
    assert_eq!(told.end["verdict"]["kind"], "exited");
    assert!(told.end["usage"]["wallMs"].is_u64());
    for message in [&told.started[0], &told.end] {
        assert_eq!(message["workerId"], client.welcome["workerId"]);
        assert!(message["timestamp"].as_u64().unwrap() > 1_600_000_000_000);
    }
}

#[test]
fn a_fresh_workspace_goes_with_its_task_and_a_named_one_stays() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    // Also where a program took the rights away.
    let told = client.run(
        "fresh",
        "mkdir -p a/b; echo x > a/b/c; chmod 0 a; pwd",
        json!({}),
    );
    assert_eq!(told.end["exitCode"], 0, "{told:?}");
    assert!(told.stdout.contains("/workspaces/"), "{told:?}");
    await_condition("removal of the workspace", || {
        place.names("workspaces").is_empty()
    });

    let workspace = place.fixture.workspace();
    let told = client.run(
        "named",
        "echo kept > file; pwd",
        json!({ "workspace": workspace.to_str() }),
    );
    assert_eq!(told.end["exitCode"], 0, "{told:?}");
    assert_eq!(
        std::fs::read_to_string(workspace.join("file")).unwrap(),
        "kept\n"
    );
    let copy = json!({ "workspace": { "path": workspace.to_str(), "mode": "read_only" } });
    let told = client.run("refused", "echo no > file", copy);
    assert_ne!(told.end["exitCode"], 0, "{told:?}");
}

#[test]
fn input_reaches_the_program_until_its_end() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute_with("t", "cat; echo done", json!({ "stdin": "open" }));
    client.until("execution_started");
    client.send(&json!({ "type": "send_input", "taskId": "t", "input": "one\n" }));
    assert_eq!(client.until("task_output")["output"], "one\n");
    client.send(&json!({ "type": "send_input", "taskId": "t", "input": "two\n", "eof": true }));
    let told = client.follow("t");
    assert_eq!(told.stdout, "two\ndone\n");
    assert_eq!(told.end["exitCode"], 0);

    let text = "line\n".repeat(100_000);
    let told = client.run("text", "wc -c", json!({ "stdin": text }));
    assert_eq!(told.stdout.trim(), "500000");
}

#[test]
fn input_that_nobody_reads_is_bounded_and_does_not_hold_a_stop_up() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute_with("t", "sleep 1000", json!({ "stdin": "open" }));
    client.until("execution_started");
    let piece = "x".repeat(1 << 20);
    let input = json!({ "type": "send_input", "taskId": "t", "input": piece });
    for _ in 0..12 {
        client.send(&input);
    }
    assert_eq!(client.until("task_error")["code"], "input_full");
    client.send(&json!({ "type": "terminate_task", "taskId": "t" }));
    assert_eq!(
        client.until("task_complete")["verdict"]["kind"],
        "cancelled"
    );
}

#[test]
fn a_task_is_stopped_politely_then_by_force() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute("polite", "sleep 1000");
    client.until("execution_started");
    client.send(&json!({ "type": "terminate_task", "taskId": "polite" }));
    let end = client.follow("polite").end;
    assert_eq!(
        (&end["exitCode"], &end["verdict"]["kind"]),
        (&json!(143), &json!("cancelled"))
    );

    client.execute(
        "deaf",
        "trap '' TERM; echo ready; while :; do sleep 1; done",
    );
    client.until("task_output");
    client.send(&json!({ "type": "terminate_task", "taskId": "deaf", "graceMs": 10 }));
    let end = client.follow("deaf").end;
    assert_eq!(end["verdict"]["kind"], "cancelled");
    assert_eq!(end["verdict"]["survivors"], 0);

    client.execute(
        "own",
        "trap 'echo told; exit 7' USR1; echo ready; while :; do sleep 0.01; done",
    );
    client.until("task_output");
    client.send(&json!({ "type": "terminate_task", "taskId": "own", "signal": "SIGUSR1", "graceMs": 60_000 }));
    let told = client.follow("own");
    assert_eq!(told.stdout, "told\n");
    assert_eq!(told.end["exitCode"], 7);
}

#[test]
fn signals_and_sizes_reach_the_program() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute(
        "signal",
        "trap 'echo got; exit 0' USR2; echo ready; while :; do sleep 0.01; done",
    );
    client.until("task_output");
    client.send(&json!({ "type": "signal_task", "taskId": "signal", "signal": 12 }));
    assert_eq!(client.follow("signal").stdout, "got\n");

    let script = "stty size; read line; stty size";
    let pty = json!({ "pty": { "rows": 10, "cols": 20 }, "stdin": "open" });
    client.execute_with("pty", script, pty);
    assert_eq!(client.until("task_output")["output"], "10 20\r\n");
    client.send(&json!({ "type": "resize_pty", "taskId": "pty", "rows": 30, "cols": 40 }));
    client.send(&json!({ "type": "send_input", "taskId": "pty", "input": "\n" }));
    let told = client.follow("pty");
    assert!(told.stdout.ends_with("30 40\r\n"), "{told:?}");
}

#[test]
fn what_cannot_be_done_is_refused_with_code_and_hint() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--slots", "1"]);
    let mut client = worker.connect();
    client.execute("t", "sleep 1000");
    client.until("execution_started");
    let cases = [
        (
            json!({ "type": "execute_command", "taskId": "t", "command": "true" }),
            "task_exists",
        ),
        (
            json!({ "type": "execute_command", "taskId": "u", "command": "true" }),
            "at_capacity",
        ),
        (
            json!({ "type": "send_input", "taskId": "t", "input": "x" }),
            "not_applicable",
        ),
        (
            json!({ "type": "resize_pty", "taskId": "t", "rows": 1, "cols": 1 }),
            "not_applicable",
        ),
        (
            json!({ "type": "signal_task", "taskId": "t", "signal": "NOPE" }),
            "invalid_request",
        ),
        (
            json!({ "type": "signal_task", "taskId": "none", "signal": 1 }),
            "no_such_task",
        ),
        (
            json!({ "type": "attach", "taskId": "none" }),
            "no_such_task",
        ),
        (
            json!({ "type": "terminate_task", "taskId": "none" }),
            "no_such_task",
        ),
        (
            json!({ "type": "acknowledge", "taskId": "t", "fence": 1 }),
            "not_applicable",
        ),
        (json!({ "type": "fly", "taskId": "t" }), "unknown_message"),
        (json!({ "type": "attach", "taskId": 5 }), "bad_message"),
        (json!({ "taskId": "t" }), "bad_message"),
    ];
    for (request, code) in cases {
        client.send(&request);
        let answer = client.until("task_error");
        assert_eq!(answer["code"], code, "{request} {answer}");
        assert!(answer["hint"].is_string(), "{answer}");
        let speaks_of = request["taskId"]
            .as_str()
            .filter(|_| request["type"].is_string());
        assert_eq!(answer["taskId"].as_str(), speaks_of, "{answer}");
    }
    client.send(&json!({ "type": "terminate_task", "taskId": "t", "graceMs": 0 }));
    client.until("task_complete");
    client.send(&json!({ "type": "terminate_task", "taskId": "t" }));
    assert_eq!(client.until("task_error")["code"], "not_applicable");
    client.send(&json!({ "type": "drain" }));
    client.execute("v", "true");
    assert_eq!(client.until("task_error")["code"], "draining");
}

#[test]
fn a_command_that_cannot_start_is_an_error_and_not_an_exit() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    let end = client
        .run("missing", "", json!({ "argv": ["/nonexistent"] }))
        .end;
    assert_eq!(
        (&end["type"], &end["code"]),
        (&json!("task_error"), &json!("not_started"))
    );
    assert_eq!(end["verdict"]["kind"], "not_started");
    for (more, code) in [
        (json!({ "workspace": "relative" }), "invalid_request"),
        (json!({ "workspace": "/nonexistent" }), "invalid_request"),
        (json!({ "workspace": "/" }), "invalid_request"),
        (json!({ "command": " " }), "invalid_request"),
        (json!({ "limits": { "memoryBytes": 1 } }), "invalid_request"),
    ] {
        let id = more.to_string();
        let told = client.run(&id, "true", more);
        assert_eq!(told.end["code"], code, "{told:?}");
        assert!(told.started.is_empty());
        // It is told again to whoever asks.
        client.send(&json!({ "type": "attach", "taskId": id }));
        let again = client.follow(&id);
        assert_eq!((&again.end["code"], again.started.len()), (&json!(code), 0));
    }
    await_condition("removal of all workspaces", || {
        place.names("workspaces").is_empty()
    });
}

#[test]
fn limits_and_timeouts_hold() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    let end = client
        .run("t", "sleep 1000", json!({ "timeout": 100, "graceMs": 100 }))
        .end;
    assert_eq!(
        (&end["exitCode"], &end["verdict"]["kind"]),
        (&json!(124), &json!("timed_out"))
    );
}

#[test]
fn tasks_are_listed_and_the_oldest_are_forgotten() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--keep", "3"]);
    let mut client = worker.connect();
    for number in 0..5 {
        client.run(&format!("t{number}"), "true", json!({}));
    }
    let list = |client: &mut super::fixture::Client| -> Vec<String> {
        client.send(&json!({ "type": "list_tasks" }));
        let list = client.until("task_list");
        let id = |task: &Value| task["taskId"].as_str().unwrap().to_owned();
        list["tasks"].as_array().unwrap().iter().map(id).collect()
    };
    await_condition("three tasks", || list(&mut client) == ["t2", "t3", "t4"]);
    await_condition("three execs", || place.names("execs").len() == 3);
    assert_eq!(place.names("tasks").len(), 3);
}

#[test]
fn a_heartbeat_tells_how_the_host_is() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--heartbeat", "100ms"]);
    let mut client = worker.connect();
    let idle = client.until("heartbeat");
    assert_eq!(idle["status"], "idle");
    for figure in ["cpu", "memory", "disk"] {
        let percent = idle["health"][figure].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&percent), "{idle}");
    }
    assert!(idle["health"]["uptime"].is_u64());
    client.execute("t", "sleep 1000");
    client.until("execution_started");
    let busy = client.until("heartbeat");
    assert_eq!(
        (&busy["status"], &busy["currentTask"]),
        (&json!("busy"), &json!("t"))
    );
    assert_eq!(busy["tasks"][0]["running"], true);
    client.send(&json!({ "type": "ping", "timestamp": 77 }));
    assert_eq!(client.until("pong")["timestamp"], 77);
}
