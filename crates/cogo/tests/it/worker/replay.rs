//! Output, live and later: the same for everyone, however slow.

use std::io::Write as _;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::fixture::{Client, Worker, WorkerFixture};

/// Prints lines with characters of all lengths, in pieces that tear them.
const LINES: &str = "i=0; while [ $i -lt 300 ]; do printf 'grün 😀 %d\\n' $i; printf '\\303'; \
                     printf '\\244\\n'; i=$((i+1)); done";

fn lines() -> String {
    (0..300).map(|i| format!("grün 😀 {i}\nä\n")).collect()
}

#[test]
fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    client.execute("t", LINES);
    let mut seen = String::new();
    let mut next = 0;
    // Comes back after every few messages, until it sees the end.
    let end = 'all: loop {
        for _ in 0..3 {
            let message = client.next();
            match message["type"].as_str().unwrap() {
                "task_output" => {
                    seen += message["output"].as_str().unwrap();
                    next = message["seq"].as_u64().unwrap() + 1;
                }
                "task_complete" => break 'all message,
                _ => {}
            }
        }
        client = worker.connect();
        client.send(&json!({ "type": "attach", "taskId": "t", "fromSeq": next }));
    };
    assert_eq!(end["exitCode"], 0);
    assert!(seen == lines(), "{} bytes of {}", seen.len(), lines().len());

    let mut late = worker.connect();
    late.send(&json!({ "type": "attach", "taskId": "t" }));
    let told = late.to_end("t");
    assert_eq!(told.started.len(), 1);
    assert!(told.stdout == lines());
    late.send(&json!({ "type": "attach", "taskId": "t", "fromSeq": end["lastSeq"] }));
    let told = late.to_end("t");
    assert_eq!((told.stdout.as_str(), &told.end), ("", &end));
}

/// Reads binary frames to the end of a task. Gives its standard output.
fn binary_to_end(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut handle = None;
    loop {
        match client.socket.read().unwrap() {
            Message::Binary(frame) => {
                let (header, output) = cogo_protocol::frame::OutputHeader::decode(&frame).unwrap();
                assert_eq!(Some(u64::from(header.handle)), handle);
                bytes.extend_from_slice(output);
            }
            Message::Text(text) => {
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str().unwrap() {
                    "execution_started" => handle = message["handle"].as_u64(),
                    "task_complete" => return bytes,
                    "heartbeat" => {}
                    other => panic!("{other}"),
                }
            }
            _ => {}
        }
    }
}

#[test]
fn binary_frames_carry_the_bytes_as_they_are() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect_binary();
    client.execute("t", "printf '\\377\\000\\303'; head -c 1000000 /dev/zero");
    let mut expected = b"\xff\0\xc3".to_vec();
    expected.resize(1_000_003, 0);
    assert!(binary_to_end(&mut client) == expected);
    let mut again = worker.connect_binary();
    again.send(&json!({ "type": "attach", "taskId": "t" }));
    assert!(binary_to_end(&mut again) == expected);
}

#[test]
fn a_cut_is_told_in_its_place() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut client = worker.connect();
    let more = json!({ "limits": { "logBytes": 65536 } });
    client.execute_with("t", "seq 1 100000", more);
    client.until("task_complete");
    client.send(&json!({ "type": "attach", "taskId": "t" }));
    let told = client.to_end("t");
    assert_eq!(told.cuts.len(), 1, "{:?}", told.cuts);
    let missing = told.cuts[0]["bytes"].as_u64().unwrap();
    let printed: usize = (1..=100_000).map(|i: u32| i.to_string().len() + 1).sum();
    assert_eq!(told.stdout.len() as u64 + missing, printed as u64);
    assert!(told.stdout.starts_with("1\n2\n") && told.stdout.ends_with("\n100000\n"));
    assert_eq!(told.end["exitCode"], 0);
}

#[test]
fn a_thousand_clients_get_everything_while_one_never_reads() {
    const CLIENTS: usize = 1000;
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut starter = worker.connect_binary();
    // More than all buffers between a program and a client that does not read.
    let script = "head -c 17000000 /dev/zero; until [ -e go ]; do sleep 0.01; done; echo end";
    let workspace = place.fixture.workspace();
    starter.execute_with("t", script, json!({ "workspace": workspace.to_str() }));
    starter.until("execution_started");
    let mut stuck = worker.connect();
    stuck.send(&json!({ "type": "attach", "taskId": "t" }));
    // The program is not held up: it comes to its end, which waits for the clients.
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| worker.connect_binary()).collect();
    let after_all = json!({ "type": "attach", "taskId": "t", "fromSeq": last_seq(&worker) });
    for client in &mut clients {
        client.send(&after_all);
        client.until("execution_started");
    }
    std::fs::File::create(workspace.join("go"))
        .unwrap()
        .flush()
        .unwrap();
    for client in &mut clients {
        let bytes = binary_to_end_of(client);
        assert!(bytes.ends_with(b"end\n"), "{} bytes", bytes.len());
    }
    let mut all = worker.connect_binary();
    all.send(&json!({ "type": "attach", "taskId": "t" }));
    assert_eq!(binary_to_end(&mut all).len(), 17_000_004);
}

/// Waits until all zeros are in the log, and gives its end.
fn last_seq(worker: &Worker) -> u64 {
    let mut reader = worker.connect_binary();
    reader.send(&json!({ "type": "attach", "taskId": "t" }));
    let (mut len, mut seq) = (0, 0);
    while len < 17_000_000 {
        if let Message::Binary(frame) = reader.socket.read().unwrap() {
            let (header, bytes) = cogo_protocol::frame::OutputHeader::decode(&frame).unwrap();
            (len, seq) = (len + bytes.len(), header.seq);
        }
    }
    seq
}

/// As `binary_to_end`, when the start was seen.
fn binary_to_end_of(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let message = client.next();
        match message["type"].as_str().unwrap() {
            "binary" => {
                let frame = message["bytes"].as_array().unwrap();
                let frame = frame.iter().map(|byte| byte.as_u64().unwrap() as u8);
                bytes.extend(frame.skip(cogo_protocol::frame::HEADER_LEN));
            }
            "task_complete" => return bytes,
            _ => {}
        }
    }
}
