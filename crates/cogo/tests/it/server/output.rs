//! Output, to many at once.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::fixture::{API, Server};
use crate::fixture::await_condition;

/// Readers of one log that keep up.
const READERS: usize = 10;

#[test]
fn a_reader_that_stands_still_holds_up_nobody() {
    let mut server = Server::start(&["--workers", "1"]);
    let script = "flock -s gate true; \
                  i=0; while [ $i -lt 200 ]; do head -c 65536 /dev/zero; i=$((i+1)); done";
    server.submit("flood", script);
    server.await_status("flood", "running");
    let slow = reader(&server);
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut stream = reader(&server);
            std::thread::spawn(move || {
                let mut bytes = 0;
                let mut buffer = vec![0; 65536];
                loop {
                    match stream.read(&mut buffer).unwrap() {
                        0 => return bytes,
                        len => bytes += zeros(&buffer[..len]),
                    }
                }
            })
        })
        .collect();
    server.open_gate();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 200 * 65536);
    }
    // Only now: the one that stood still gets everything too.
    let mut slow = slow;
    let mut all = Vec::new();
    slow.read_to_end(&mut all).unwrap();
    assert_eq!(zeros(&all), 200 * 65536);
}

#[expect(clippy::naive_bytecount, reason = "a test need not be fast")]
fn zeros(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == 0).count()
}

fn reader(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let request = format!(
        "GET {API}/tasks/flood/logs?follow=true HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn events_tell_records_with_their_numbers_and_the_end() {
    let server = Server::start(&["--workers", "1"]);
    server.submit(
        "t",
        "printf 'gr\\303'; sleep 0.2; printf '\\274n\\n'; exit 4",
    );
    server.await_status("t", "failed");
    let events = |from: &str| {
        let path = format!("{API}/tasks/t/logs{from}");
        let request = super::http::Request {
            method: "GET",
            path: &path,
            headers: &[("Accept", "text/event-stream")],
            body: &[],
        };
        String::from_utf8(super::http::send(server.address, &request).unwrap().body).unwrap()
    };
    let all = events("");
    assert!(all.contains("event: started"), "{all}");
    assert!(all.contains(r#""output":"gr","#), "{all}");
    assert!(all.contains(r#""output":"ün\n""#), "{all}");
    assert!(
        all.contains("event: ended") && all.contains(r#""code":4"#),
        "{all}"
    );
    let rest = events("?fromSeq=1");
    assert!(!rest.contains(r#""output":"gr","#), "{rest}");
    assert!(
        rest.contains(r#""output":"ün\n""#),
        "a torn character is whole again: {rest}"
    );
}

#[test]
fn what_is_written_is_seen_before_the_end() {
    let mut server = Server::start(&["--workers", "1"]);
    server.submit("t", "echo early; flock -s gate true; echo late");
    await_condition("the first line", || {
        server
            .get("/tasks/t/logs")
            .is_some_and(|answer| answer.body == b"early\n")
    });
    server.open_gate();
    assert_eq!(server.output("t"), b"early\nlate\n");
}
