//! What the doors bound: how often, how much, and who can listen in.

use tokio_tungstenite::tungstenite::{self, Message};

use super::fixture::{API, Server, free_address};
use super::http::{Request, send};
use crate::fixture::{Fixture, await_condition, finish, strongest_tier};

#[test]
fn a_client_that_asks_too_often_is_told_to_wait() {
    let server = Server::start(&["--workers", "0", "--rate", "5"]);
    let mut refused = None;
    await_condition("a refusal", || {
        let answer = server.get("/health").unwrap();
        let over = answer.status == 429;
        refused = over.then_some(answer);
        over
    });
    let refused = refused.unwrap();
    assert_eq!(refused.code(), "too_many_requests");
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    await_condition("the next second", || {
        server.get("/health").unwrap().status == 200
    });
}

#[test]
fn a_body_beyond_the_bound_is_refused_and_nothing_is_kept() {
    let server = Server::start(&["--workers", "0"]);
    let body = format!(r#"{{"command":"true","cwd":"{}"}}"#, "x".repeat(1 << 20));
    let request = Request {
        method: "POST",
        path: &format!("{API}/execute"),
        headers: &[("Content-Type", "application/json")],
        body: body.as_bytes(),
    };
    let answer = send(server.address, &request).unwrap();
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "body_too_large")
    );
    assert!(server.tasks().is_empty());
}

#[test]
fn a_message_beyond_the_bound_ends_its_connection_and_no_other() {
    let server = Server::start(&["--workers", "0"]);
    let mut other = server.connect();
    let mut big = server.connect();
    // The server may hang up before it has read everything.
    let _ = big.socket.send(Message::text("x".repeat((1 << 20) + 1)));
    let end = loop {
        match big.socket.read() {
            Ok(Message::Close(frame)) => break frame.map(|frame| u16::from(frame.code)),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) => {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock,
                    "it stays open"
                );
                break None;
            }
            Err(_) => break None,
        }
    };
    assert!(matches!(end, None | Some(1009)), "{end:?}");
    other.send(&serde_json::json!({"type": "ping", "timestamp": 7}));
    assert_eq!(other.until("pong")["timestamp"], 7);
}

#[test]
fn with_a_certificate_everything_is_encrypted_and_local_workers_still_come() {
    let world = Fixture::new();
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (world.home().join("cert.pem"), world.home().join("key.pem"));
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let address = free_address();
    let listen = address.to_string();
    let mut serve = world.cogo(["serve", "--workers", "1", "--listen", &listen]);
    serve.args(["--tls-cert", certificate, "--tls-key", key]);
    let _serving = Serving(serve.spawn().unwrap());
    let url = format!("https://localhost:{}", address.port());
    let mut submit = world.cogo(["submit", "--server", &url, "--ca-cert", certificate, "-q"]);
    submit.args(["--isolation", strongest_tier(), "--", "echo", "encrypted"]);
    await_condition("the server", || {
        std::net::TcpStream::connect(address).is_ok()
    });
    let ran = finish(&mut submit);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "encrypted\n"),
        "{ran:?}"
    );
    join_through_tls(&world, &url, address.port(), certificate);
    // Whoever does not trust the certificate, or does not speak TLS, gets nothing.
    let mut stranger = world.cogo(["health", "--server", &url]);
    let ran = finish(&mut stranger);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    let request = Request {
        method: "GET",
        path: &format!("{API}/health"),
        headers: &[],
        body: &[],
    };
    assert!(send(address, &request).is_none_or(|answer| answer.status != 200));
    // The listener for local workers has one door, and that one wants a token.
    let port = std::fs::read_to_string(world.state().join("manager/workers.port")).unwrap();
    let inner = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(send(inner, &request).unwrap().status, 404);
}

/// A worker from elsewhere joins over TLS and gets the task that only it can do.
fn join_through_tls(world: &Fixture, server: &str, port: u16, certificate: &str) {
    let url = format!("wss://localhost:{port}");
    let state = world.home().join("elsewhere");
    let mut worker = world.cogo(["worker", "--join", &url, "--label", "place=elsewhere"]);
    worker
        .args(["--ca-cert", certificate])
        .env("COGO_STATE_DIR", &state);
    let _working = Serving(worker.spawn().unwrap());
    let mut submit = world.cogo(["submit", "--server", server, "--ca-cert", certificate, "-q"]);
    submit.args([
        "--isolation",
        strongest_tier(),
        "--label",
        "place=elsewhere",
    ]);
    submit.args(["--empty", "--", "echo", "far"]);
    let ran = finish(&mut submit);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "far\n"),
        "{ran:?}"
    );
}

/// A process that ends with its test.
struct Serving(std::process::Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let process = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}
