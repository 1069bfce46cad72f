//! A worker process and clients of it.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::fixture::{Fixture, strongest_tier};

/// No answer takes longer on a machine that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// A state directory and the workers that lived on it.
pub(crate) struct WorkerFixture {
    pub(crate) fixture: Fixture,
}

/// A worker that runs. Dropping it kills it and what it runs.
pub(crate) struct Worker {
    pub(crate) child: Child,
    pub(crate) url: String,
    /// The line it said at its start.
    pub(crate) hello: String,
    state: PathBuf,
}

impl WorkerFixture {
    pub(crate) fn new() -> Self {
        Self {
            fixture: Fixture::new(),
        }
    }

    /// Starts a worker on a free port and waits until it listens.
    pub(crate) fn start(&self, options: &[&str]) -> Worker {
        let arguments = ["worker", "--listen", "127.0.0.1:0", "--warm", "0"];
        self.start_with(&[&arguments, options].concat())
    }

    pub(crate) fn start_with(&self, arguments: &[&str]) -> Worker {
        let mut child = self
            .fixture
            .cogo(arguments.iter().copied())
            .env("COGO_LOG", "warn")
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut hello = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut hello)
            .unwrap();
        let url = hello
            .split_whitespace()
            .find(|word| word.starts_with("ws://"));
        Worker {
            url: url.unwrap_or_default().to_owned(),
            hello,
            child,
            state: self.state(),
        }
    }

    /// Where the worker keeps its things.
    pub(crate) fn state(&self) -> PathBuf {
        self.fixture.state().join("worker")
    }

    /// The names in one of its directories.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.state().join(directory)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            // What is kept to be written to again is nobody's.
            .filter(|name| std::path::Path::new(name).extension() != Some("spare".as_ref()))
            .collect()
    }
}

impl Worker {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it without a chance to do anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it runs goes on.
        self.state = PathBuf::new();
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_as(&[]).unwrap()
    }

    pub(crate) fn connect_binary(&self) -> Client {
        self.connect_as(&[("Sec-WebSocket-Protocol", "cogo.v1.bin")])
            .unwrap()
    }

    /// Connects with these headers. On refusal gives the status and what was said.
    pub(crate) fn connect_as(
        &self,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, (u16, String)> {
        Client::connect(&self.url, headers)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.state.as_os_str().is_empty() {
            return;
        }
        // What it ran goes on; a test that is over has no use for it.
        let state = self.state.to_str().unwrap();
        let _ = std::process::Command::new(env!("CARGO_BIN_EXE_cogo"))
            .args(["--state-dir", state, "kill", "--all", "--now"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// A client, or whoever talks with a worker.
pub(crate) struct Client {
    pub(crate) socket: WebSocket<TcpStream>,
    pub(crate) welcome: Value,
}

impl Client {
    /// Connects to a worker, or to a manager that speaks as one, with these headers. On refusal
    /// gives the status and what was said.
    pub(crate) fn connect(
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, (u16, String)> {
        Self::open(url, headers).map(Self::welcomed)
    }

    /// Connects to something that says no welcome.
    pub(crate) fn connect_raw(url: &str) -> Self {
        Self::open(url, &[]).unwrap()
    }

    fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, (u16, String)> {
        let host = url.strip_prefix("ws://").unwrap();
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(host.split('/').next().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let config = WebSocketConfig::default().max_message_size(None);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => Ok(Self {
                socket,
                welcome: Value::Null,
            }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn welcomed(mut self) -> Self {
        self.welcome = self.next();
        assert_eq!(self.welcome["type"], "welcome", "{}", self.welcome);
        self
    }

    /// Takes in a worker that dials.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let choose = |request: &tungstenite::handshake::server::Request,
                      mut response: tungstenite::handshake::server::Response| {
            let offered = request.headers()["sec-websocket-protocol"].clone();
            response
                .headers_mut()
                .insert("sec-websocket-protocol", offered);
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(stream, choose).unwrap();
        Self {
            socket,
            welcome: Value::Null,
        }
        .welcomed()
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Asks for a command at the strongest tier that this host has.
    pub(crate) fn execute(&mut self, task_id: &str, command: &str) {
        self.execute_with(task_id, command, json!({}));
    }

    /// As `execute`, with more fields.
    pub(crate) fn execute_with(&mut self, task_id: &str, command: &str, more: Value) {
        self.send(&execute_message(task_id, command, more));
    }

    /// The next message; binary frames become `{"binary": …}`.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Binary(frame) => {
                    return json!({ "type": "binary", "bytes": frame.to_vec() });
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Close(frame) => {
                    return json!({ "type": "close", "code": frame.map(|frame| u16::from(frame.code)) });
                }
            }
        }
    }

    /// The next message of a type; others are passed over.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Everything up to the end of a task.
    pub(crate) fn follow(&mut self, task_id: &str) -> Told {
        let mut told = Told::default();
        loop {
            let message = self.next();
            if message["taskId"] != task_id {
                continue;
            }
            match message["type"].as_str().unwrap() {
                "execution_started" => told.started.push(message),
                "task_output" => told.add(&message),
                "output_cut" => told.cuts.push(message),
                "block_detected" => told.blocks.push(message),
                "task_complete" | "task_error" => {
                    told.end = message;
                    return told;
                }
                other => panic!("{other}"),
            }
        }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&mut self, task_id: &str, command: &str, more: Value) -> Told {
        self.execute_with(task_id, command, more);
        self.follow(task_id)
    }
}

/// The request for a command at the strongest tier that this host has.
pub(crate) fn execute_message(task_id: &str, command: &str, more: Value) -> Value {
    let mut message = json!({
        "type": "execute_command",
        "taskId": task_id,
        "command": command,
        "isolation": strongest_tier(),
        "timestamp": 1,
    });
    if strongest_tier() == "none" {
        message["network"] = json!("host");
    }
    let Value::Object(more) = more else {
        panic!("{more}")
    };
    message.as_object_mut().unwrap().extend(more);
    message
}

/// What a client was told of a task.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) started: Vec<Value>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) seqs: Vec<u64>,
    pub(crate) cuts: Vec<Value>,
    pub(crate) blocks: Vec<Value>,
    pub(crate) end: Value,
}

impl Told {
    fn add(&mut self, message: &Value) {
        assert_eq!(message["encoding"], "utf8", "{message}");
        let text = message["output"].as_str().unwrap();
        match message["stream"].as_str().unwrap() {
            "stdout" => self.stdout += text,
            "stderr" => self.stderr += text,
            other => panic!("{other}"),
        }
        self.seqs.push(message["seq"].as_u64().unwrap());
    }
}
