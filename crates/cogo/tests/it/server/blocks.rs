//! Tasks that hang, as a manager's clients see them.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use super::fixture::{API, Server};
use crate::fixture::await_condition;

const DEADLOCK: &str = "mkfifo p.$$; cat p.$$";
const QUESTION: &str = "read line; echo \"got $line\"";

/// The first event of a type since the server's beginning, as this kind of listener hears it.
fn first_event(server: &Server, query: &str, kind: &str) -> Value {
    let url = format!("ws://{}{API}/events?after=0{query}", server.address);
    let stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let (mut socket, _) = tungstenite::client(url, stream).unwrap();
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            let event: Value = serde_json::from_str(&text).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }
}

#[test]
fn a_task_shows_why_it_hangs_while_it_does() {
    let server = Server::start(&["--workers", "1"]);
    server.submit_with("t", QUESTION, &json!({ "stdin": "open" }));
    let mut task = Value::Null;
    await_condition("the block", || {
        task = server.task("t");
        task["block"].is_object()
    });
    assert_eq!(task["status"], "running");
    assert_eq!(task["block"]["reason"], "waiting_for_input", "{task}");
    assert!(!task["block"]["evidence"].as_array().unwrap().is_empty());
    let worker = task["workerId"].as_str().unwrap().to_owned();
    await_condition("the worker's status", || {
        let answer = server.get(&format!("/workers/{worker}")).unwrap();
        answer.json()["status"] == "blocked"
    });
    let listeners = [
        ("", "blockDetected"),
        ("&form=agent", "sandbox_block_detected"),
    ];
    for (query, kind) in listeners {
        let told = first_event(&server, query, kind);
        assert_eq!(told["taskId"], "t");
        assert_eq!(told["blockInfo"]["reason"], "waiting_for_input", "{told}");
    }

    let path = format!("/workers/{worker}/detect-block");
    let report = server.send("POST", &path, &Value::Null).unwrap();
    assert_eq!(report.status, 200);
    let report = report.json();
    assert_eq!(report["tasks"][0]["taskId"], "t", "{report}");
    assert_eq!(
        report["tasks"][0]["blockInfo"]["reason"],
        "waiting_for_input"
    );

    let ran = crate::fixture::finish(
        server
            .world
            .cogo(["attach", "t"])
            .stdin(std::process::Stdio::from(input("x\n"))),
    );
    assert!(ran.stdout.contains("got x"), "{ran:?}");
    let task = server.await_status("t", "succeeded");
    assert!(task["block"].is_null(), "{task}");
}

/// A pipe with a text in it, at its end.
fn input(text: &str) -> std::io::PipeReader {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    reader
}

#[test]
fn a_task_that_is_ended_for_a_hang_is_blocked() {
    let server = Server::start(&["--workers", "1"]);
    server.submit_with("t", DEADLOCK, &json!({ "blockPolicy": "kill" }));
    let task = server.await_status("t", "blocked");
    assert_eq!(task["exitCode"], 122, "{task}");
    let verdict = &task["verdict"];
    assert_eq!(
        (&verdict["kind"], &verdict["reason"]),
        (&json!("blocked"), &json!("deadlock"))
    );
    assert!(!verdict["evidence"].as_array().unwrap().is_empty());
    let failed = first_event(&server, "&form=agent", "task_failed");
    assert_eq!(
        (&failed["taskId"], &failed["status"]),
        (&json!("t"), &json!("blocked"))
    );
}

#[test]
fn only_a_worker_that_is_there_can_look() {
    let server = Server::start(&["--workers", "0"]);
    let answer = server
        .send("POST", "/workers/none/detect-block", &Value::Null)
        .unwrap();
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (404, "no_such_worker")
    );
}
