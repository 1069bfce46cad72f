//! Who may connect, and what connections cannot do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::fixture::WorkerFixture;
use crate::fixture::finish;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_token_is_asked_of_everyone() {
    let place = WorkerFixture::new();
    let file = place.fixture.home().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let worker = place.start(&["--token-file", file.to_str().unwrap()]);
    let bearer = format!("Bearer {TOKEN}");
    let protocols = format!("cogo.v1.json, cogo.token.{TOKEN}");
    for header in [
        ("Authorization", bearer.as_str()),
        ("Sec-WebSocket-Protocol", &protocols),
    ] {
        let mut client = worker.connect_as(&[header]).unwrap();
        client.send(&json!({ "type": "ping" }));
        client.until("pong");
    }
    for headers in [&[][..], &[("Authorization", "Bearer wrong")]] {
        let (status, said) = worker.connect_as(headers).err().unwrap();
        assert_eq!(status, 401);
        assert!(said.contains("token"), "{said}");
    }
    assert!(!worker.hello.contains(TOKEN));
}

#[test]
fn pages_of_other_sites_are_turned_away() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--allow-origin", "https://console.example"]);
    for own in ["http://localhost:8080", "https://console.example"] {
        assert!(worker.connect_as(&[("Origin", own)]).is_ok(), "{own}");
    }
    for foreign in ["http://evil.example", "null"] {
        let (status, said) = worker.connect_as(&[("Origin", foreign)]).err().unwrap();
        assert_eq!(status, 403, "{foreign}");
        assert!(said.contains("--allow-origin"), "{said}");
    }
}

#[test]
fn what_is_no_websocket_gets_an_answer() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let mut stream = TcpStream::connect(worker.url.strip_prefix("ws://").unwrap()).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[test]
fn a_worker_that_cannot_start_says_why_and_what_to_do() {
    let place = WorkerFixture::new();
    let worker = place.start(&[]);
    let address = worker.url.strip_prefix("ws://").unwrap().to_owned();
    let other = place.fixture.home();
    let other = other.to_str().unwrap();
    let short = place.fixture.home().join("short");
    std::fs::write(&short, "x").unwrap();
    for (arguments, fact) in [
        (
            &["worker", "--listen", "127.0.0.1:0"][..],
            "in use by another worker",
        ),
        (
            &["--state-dir", other, "worker", "--listen", "0.0.0.0:0"],
            "loopback only",
        ),
        (
            &["--state-dir", other, "worker", "--listen", &address],
            "failed to listen",
        ),
        (
            &[
                "--state-dir",
                other,
                "worker",
                "--token-file",
                short.to_str().unwrap(),
            ],
            "at least 16",
        ),
    ] {
        let ran = finish(&mut place.fixture.cogo(arguments.iter().copied()));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(fact), "{ran:?}");
        assert!(ran.stderr.contains("hint:"), "{ran:?}");
    }
    for url in ["http://h", "ws://u:p@h", "ws://h/?token=x", "ws://"] {
        let ran = finish(&mut place.fixture.cogo(["worker", "--join", url]));
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}

#[test]
fn rude_clients_do_no_harm() {
    let place = WorkerFixture::new();
    let worker = place.start(&["--message-max", "64KiB"]);
    let mut client = worker.connect();
    for malformed in ["", "{", "null", "[1]", "\u{0}", "{\"type\":{}}"] {
        client.send_text(malformed);
        assert_eq!(
            client.until("task_error")["code"],
            "bad_message",
            "{malformed}"
        );
    }
    let nested = "[".repeat(50_000);
    client.send_text(&nested);
    assert_eq!(client.until("task_error")["code"], "bad_message");
    client
        .socket
        .send(Message::Binary(Bytes::from_static(b"x")))
        .unwrap();
    assert_eq!(client.until("task_error")["code"], "bad_message");
    for _ in 0..10_000 {
        client
            .socket
            .write(Message::Ping(Bytes::from_static(b"x")))
            .unwrap();
    }
    client.socket.flush().unwrap();
    client.send(&json!({ "type": "ping", "timestamp": 5 }));
    assert_eq!(client.until("pong")["timestamp"], 5);

    let mut big = worker.connect();
    big.send_text(&"x".repeat(100_000));
    let told = big.next();
    assert_eq!(told["code"], "message_too_large", "{told}");
    assert_eq!(big.next()["code"], 1009);

    // A flood from someone who never reads holds nobody else up.
    let mut flood = worker.connect();
    flood.socket.get_ref().set_nonblocking(true).unwrap();
    let ping = Message::text(json!({ "type": "ping", "timestamp": 1 }).to_string());
    while flood
        .socket
        .write(ping.clone())
        .and_then(|()| flood.socket.flush())
        .is_ok()
    {}
    let told = client.run("t", "echo fine", json!({}));
    assert_eq!(told.stdout, "fine\n");
}
