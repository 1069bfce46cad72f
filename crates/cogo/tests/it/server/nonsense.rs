//! Requests and messages that nobody means: made up, changed, cut off. No panic, no failure of
//! ours, no lost task.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::fixture::{API, Server};
use super::http::{Request, send};
use crate::worker::fixture::{Client, WorkerFixture};

/// Requests and messages that are made up in each test.
const ROUNDS: u32 = 2_000;
/// Messages that are sent before their answers are read.
const BATCH: u32 = 50;

/// Bodies and messages that mean something, for changing them.
fn samples() -> Vec<Value> {
    vec![
        json!({"type": "execute_command", "taskId": "made-up", "command": "true", "timestamp": 1,
               "cwd": "/", "env": {"A": "b"}, "stdin": "open", "pty": {"rows": 24, "cols": 80},
               "timeout": 1000, "limits": {"memory": "64MiB"}, "network": "none",
               "isolation": "strict", "blockPolicy": "warn", "priority": 3,
               "requirements": {"workerType": "basic", "labels": {"a": "b"}}}),
        json!({"type": "terminate_task", "taskId": "made-up", "graceMs": 1, "signal": "SIGINT"}),
        json!({"type": "send_input", "taskId": "made-up", "input": "x", "eof": true}),
        json!({"type": "ping", "timestamp": 1}),
        json!({"type": "resize_pty", "taskId": "made-up", "rows": 1, "cols": 2}),
        json!({"type": "signal_task", "taskId": "made-up", "signal": "SIGHUP"}),
        json!({"type": "list_tasks"}),
        json!({"type": "attach", "taskId": "made-up", "fromSeq": 3}),
        json!({"type": "joined", "heartbeatMs": 1, "leaseMs": 2}),
        json!({"type": "acknowledge", "taskId": "made-up", "fence": 4}),
        json!({"taskId": "made-up", "path": "a/b", "content": "aGk=", "encoding": "base64"}),
        json!({"type": "basic", "labels": {"gpu": "yes"}}),
        json!({"draining": true}),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("x".repeat(100_000))),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let key = prop_oneof!["[a-zA-Z]{1,8}", Just("type".to_owned())];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A text that may be JSON, and may nearly mean something.
fn any_text() -> impl Strategy<Value = String> {
    let changed = (select(samples()), any::<Index>(), any_json());
    let changed = changed.prop_map(|(mut sample, at, value)| {
        let fields = sample.as_object_mut().unwrap();
        let name = fields.keys().nth(at.index(fields.len())).unwrap().clone();
        fields.insert(name, value);
        sample.to_string()
    });
    let cut = (select(samples()), any::<Index>()).prop_map(|(sample, end)| {
        let text = sample.to_string();
        text[..end.index(text.len())].to_owned()
    });
    prop_oneof![
        6 => changed,
        2 => cut,
        2 => any_json().prop_map(|value| value.to_string()),
        1 => any::<String>(),
    ]
}

/// The doors that the document names, without those that never stop answering.
fn doors(server: &Server) -> Vec<(String, String)> {
    let request = Request {
        method: "GET",
        path: "/openapi.json",
        headers: &[],
        body: &[],
    };
    let document = send(server.address, &request).unwrap().json();
    let paths = document["paths"].as_object().unwrap();
    let doors = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    doors
        .filter(|(_, path)| !path.ends_with("/events"))
        .collect()
}

/// What stands for a name in a path.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("none".to_owned()),
        Just("%00".to_owned()),
        Just("%ff%fe".to_owned()),
        Just("..%2f..%2fetc%2fpasswd".to_owned()),
        Just("x".repeat(300)),
        "[a-zA-Z0-9.~%+&=;-]{1,20}",
    ]
}

fn any_query() -> impl Strategy<Value = String> {
    let name = select(vec![
        "limit", "before", "state", "fromSeq", "attempt", "follow", "stream", "taskId", "graceMs",
        "force", "after", "a",
    ]);
    let value = prop_oneof![
        Just("-1".to_owned()),
        Just("99999999999999999999999".to_owned()),
        Just("%00".to_owned()),
        Just("waiting-0".to_owned()),
        "[a-zA-Z0-9%,]{0,12}",
    ];
    proptest::collection::vec((name, value), 0..4).prop_map(|pairs| {
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("&")
    })
}

fn any_headers() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let header = select(vec![
        ("Content-Type", "application/json"),
        ("Content-Type", "application/json; charset=latin1"),
        ("Content-Type", "text/plain"),
        ("Accept", "text/event-stream"),
        ("Authorization", "Bearer cogo_wrong"),
        ("Authorization", "Basic Og=="),
        ("Origin", "http://evil.test"),
        ("Origin", "null"),
        ("Host", "evil.test"),
        ("Last-Event-ID", "-5"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Protocol", "cogo.token.wrong, cogo.v1.bin"),
    ]);
    let others = proptest::collection::vec(header, 0..2);
    // Most come as JSON, so that they come further than the first check.
    others.prop_map(|mut headers| {
        headers.push(("Content-Type", "application/json"));
        headers
    })
}

#[test]
fn no_request_makes_the_server_fail_or_lose_a_task() {
    let server = Server::start(&["--workers", "0"]);
    for number in 0..20 {
        server.submit(&format!("waiting-{number}"), "true");
    }
    let mut made = Vec::new();
    let wish = (
        select(doors(&server)),
        any_name(),
        any_query(),
        any_headers(),
        any_text(),
    );
    let mut runner = TestRunner::deterministic();
    for _ in 0..ROUNDS {
        let ((method, path), name, query, headers, body) =
            wish.new_tree(&mut runner).unwrap().current();
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { &name } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        let request = Request {
            method: &method,
            path: &format!("{path}?{query}"),
            headers: &headers,
            body: body.as_bytes(),
        };
        let answer = send(server.address, &request)
            .unwrap_or_else(|| panic!("no answer to {method} {path}?{query} {headers:?}"));
        let told = format!("{method} {path}?{query} {headers:?}: {answer:?}");
        assert!(answer.status < 500 || answer.status == 501, "{told}");
        if answer.status >= 400 && !answer.body.is_empty() {
            assert!(!answer.code().is_empty(), "{told}");
        }
        if answer.status == 201 && path.ends_with("/execute") {
            made.push(answer.json()["taskId"].as_str().unwrap().to_owned());
        }
    }
    made.extend((0..20).map(|number| format!("waiting-{number}")));
    check_well(&server);
    let kept: Vec<Value> = server.tasks();
    for name in made {
        let task = kept.iter().find(|task| task["taskId"] == name.as_str());
        assert!(task.is_some(), "{name} is lost");
    }
}

/// The server is there, and nothing in it has failed.
fn check_well(server: &Server) {
    assert_eq!(server.get("/health").unwrap().status, 200);
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

/// Sends what nobody means, and waits after each batch for the answer to a proper question.
fn talk_nonsense(mut connect: impl FnMut() -> Client) {
    let mut runner = TestRunner::deterministic();
    let mut client = connect();
    let texts = any_text();
    for number in 1..=ROUNDS {
        let text = texts.new_tree(&mut runner).unwrap().current();
        client.send_text(&text);
        if number % BATCH == 0 {
            let asked = 1_000_000 + number;
            client.send(&json!({"type": "ping", "timestamp": asked}));
            while client.until("pong")["timestamp"] != asked {}
        }
    }
}

#[test]
fn no_message_breaks_a_connection_to_the_manager() {
    let server = Server::start(&["--workers", "0"]);
    server.submit("waiting", "true");
    talk_nonsense(|| server.connect());
    assert_eq!(server.task("waiting")["status"], "queued");
    check_well(&server);
}

#[test]
fn no_message_breaks_a_connection_to_a_worker() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    talk_nonsense(|| worker.connect());
}

#[test]
fn no_bytes_on_the_wire_make_the_server_fail() {
    let server = Server::start(&["--workers", "0"]);
    let mut runner = TestRunner::deterministic();
    let head = prop_oneof![
        Just(String::new()),
        Just(format!(
            "POST {API}/execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )),
        Just("GET / HTTP/1.1\r\nHost: localhost\r\n".to_owned()),
        Just(format!(
            "GET {API}/connect HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )),
    ];
    let bytes = (head, proptest::collection::vec(any::<u8>(), 0..2_000));
    for _ in 0..200 {
        let (head, bytes) = bytes.new_tree(&mut runner).unwrap().current();
        let mut stream = TcpStream::connect(server.address).unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    check_well(&server);
}
