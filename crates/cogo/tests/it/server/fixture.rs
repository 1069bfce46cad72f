//! A server with its workers, and a way to look at its tasks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::http::{Answer, Request, send};
use crate::fixture::{Fixture, await_condition, strongest_tier};
use crate::worker::fixture::Client;

/// Before every path.
pub(crate) const API: &str = "/api/sandbox";

/// A world with a server in it. Dropping it ends the server, its workers and all they run.
pub(crate) struct Server {
    pub(crate) world: Fixture,
    pub(crate) address: SocketAddr,
    options: Vec<String>,
    process: Option<Child>,
    others: Vec<Child>,
    /// Held by us, scripts wait for it: without a cost, unlike looking again and again.
    gate: Option<File>,
}

/// What a script does to wait until the gate is open.
pub(crate) const WAIT: &str = "flock -s gate true";

impl Server {
    /// Starts a server with these options, and waits until it answers.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut server = Self {
            world: Fixture::new(),
            address: free_address(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            process: None,
            others: Vec::new(),
            gate: None,
        };
        let gate = File::create(server.world.workspace().join("gate")).unwrap();
        gate.lock().unwrap();
        server.gate = Some(gate);
        server.go_on();
        server
    }

    /// Starts the server again, on the same address and state.
    pub(crate) fn go_on(&mut self) {
        let address = self.address.to_string();
        let mut arguments = vec!["serve", "--listen", &address];
        arguments.extend(self.options.iter().map(String::as_str));
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.world.state().join("serve.log"))
            .unwrap();
        let mut command = self.world.cogo(arguments);
        command
            .env("COGO_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
        await_condition("the server", || self.get("/health").is_some());
    }

    /// Kills the manager, and it alone.
    pub(crate) fn kill_manager(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks the manager to end.
    pub(crate) fn signal_manager(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// Waits for the manager's end.
    pub(crate) fn await_manager_end(&mut self) -> Option<i32> {
        self.process.take().unwrap().wait().unwrap().code()
    }

    /// The processes of all local workers.
    pub(crate) fn worker_pids(&self) -> Vec<Pid> {
        let Ok(folders) = std::fs::read_dir(self.world.state().join("workers")) else {
            return Vec::new();
        };
        let pid = |folder: std::fs::DirEntry| {
            let text = std::fs::read_to_string(folder.path().join("pid")).ok()?;
            Pid::from_raw(text.split(' ').next()?.parse().ok()?)
        };
        folders.filter_map(|folder| pid(folder.unwrap())).collect()
    }

    /// Sends all local workers a signal.
    pub(crate) fn signal_workers(&self, signal: Signal) {
        for pid in self.worker_pids() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Starts a worker that is not the manager's own, which dials this address.
    pub(crate) fn join(&mut self, name: &str, manager: SocketAddr, slots: u32) -> Pid {
        let state = self.world.state().join("remote").join(name);
        std::fs::create_dir_all(&state).unwrap();
        let log = File::create(state.join("worker.log")).unwrap();
        let (url, slots) = (format!("ws://{manager}"), slots.to_string());
        let mut command = self.world.cogo(["worker", "--join", &url]);
        command
            .args(["--id", name, "--slots", &slots, "--warm", "0", "--handover"])
            .env("COGO_STATE_DIR", state)
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        self.others.push(child);
        pid
    }

    /// A client that speaks the worker's protocol with the manager.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&format!("ws://{}{API}/connect", self.address), &[]).unwrap()
    }

    /// As [`Self::connect`], with output as binary frames.
    pub(crate) fn connect_binary(&self) -> Client {
        let url = format!("ws://{}{API}/connect", self.address);
        Client::connect(&url, &[("Sec-WebSocket-Protocol", "cogo.v1.bin")]).unwrap()
    }

    /// How many sockets the manager has open.
    pub(crate) fn open_sockets(&self) -> usize {
        let pid = self.process.as_ref().unwrap().id();
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        // One that is closed meanwhile is none.
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Waits until so many workers are connected.
    pub(crate) fn await_workers(&self, count: u64) {
        await_condition("workers", || {
            self.get("/health")
                .is_some_and(|answer| answer.json()["workersConnected"] == count)
        });
    }

    /// The answer to a GET; `None` while there is no server.
    pub(crate) fn get(&self, path: &str) -> Option<Answer> {
        self.send("GET", path, &Value::Null)
    }

    /// The answer to a request.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Option<Answer> {
        let path = format!("{API}{path}");
        let body = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        send(
            self.address,
            &Request {
                method,
                path: &path,
                headers: &[("Content-Type", "application/json")],
                body: &body,
            },
        )
    }

    /// Submits a script under a name.
    pub(crate) fn submit(&self, name: &str, script: &str) {
        self.submit_with(name, script, &json!({}));
    }

    /// Submits a script with more wishes.
    pub(crate) fn submit_with(&self, name: &str, script: &str, more: &Value) {
        let mut request = json!({
            "taskId": name,
            "command": script,
            "isolation": strongest_tier(),
            "workspace": self.world.workspace(),
        });
        let fields = request.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let answer = self.send("POST", "/execute", &request).unwrap();
        assert_eq!(answer.status, 201, "{:?}", answer.json());
    }

    /// A task as it stands; null while there is no server.
    pub(crate) fn task(&self, name: &str) -> Value {
        self.get(&format!("/tasks/{name}"))
            .map_or(Value::Null, |answer| answer.json())
    }

    /// Waits until a task is in a state.
    pub(crate) fn await_status(&self, name: &str, status: &str) -> Value {
        let mut task = Value::Null;
        await_condition(&format!("`{name}` {status}"), || {
            task = self.task(name);
            task["status"] == status
        });
        task
    }

    /// All tasks, by pages.
    pub(crate) fn tasks(&self) -> Vec<Value> {
        let mut tasks = Vec::new();
        let mut before = String::new();
        loop {
            let page = self
                .get(&format!("/tasks?limit=1000{before}"))
                .unwrap()
                .json();
            tasks.extend(page["tasks"].as_array().unwrap().clone());
            match page["nextBefore"].as_u64() {
                Some(number) => before = format!("&before={number}"),
                None => return tasks,
            }
        }
    }

    /// All output of a task.
    pub(crate) fn output(&self, name: &str) -> Vec<u8> {
        let answer = self
            .get(&format!("/tasks/{name}/logs?follow=true"))
            .unwrap();
        assert_eq!(answer.status, 200, "{name}: {:?}", answer.json());
        answer.body
    }

    /// How many ends of each task were told, since there is a server.
    pub(crate) fn ends_told(&self) -> HashMap<String, usize> {
        self.submit("the-last-one", "true");
        self.await_status("the-last-one", "succeeded");
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        let head = format!(
            "GET {API}/events?after=0 HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.address
        );
        (&stream).write_all(head.as_bytes()).unwrap();
        let mut ends = HashMap::new();
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            let Some(json) = line.strip_prefix("data: ") else {
                continue;
            };
            let event: Value = serde_json::from_str(json).unwrap();
            if event["type"] != "taskComplete" {
                continue;
            }
            let task = event["taskId"].as_str().unwrap();
            if task == "the-last-one" {
                return ends;
            }
            *ends.entry(task.to_owned()).or_default() += 1;
        }
        panic!("the events ended");
    }

    /// Waits until nothing waits or runs.
    pub(crate) fn await_idle(&self) {
        await_condition("the last task's end", || {
            self.get("/health").is_some_and(|answer| {
                let health = answer.json();
                health["queued"] == 0 && health["running"] == 0
            })
        });
    }

    /// Lets the scripts go that wait for the gate.
    pub(crate) fn open_gate(&mut self) {
        self.gate = None;
    }

    /// What the manager has logged, for a failure's message.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.world.state().join("serve.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.signal_workers(Signal::CONT);
        self.signal_workers(Signal::KILL);
        for other in &mut self.others {
            let _ = kill_process(Pid::from_child(other), Signal::CONT);
            let _ = other.kill();
            let _ = other.wait();
        }
        for folder in ["workers", "remote"] {
            let Ok(states) = std::fs::read_dir(self.world.state().join(folder)) else {
                continue;
            };
            for state in states {
                // A worker keeps its execs apart from those of `cogo run`.
                let execs_of = state.unwrap().path().join("worker");
                let mut kill = self.world.cogo(["kill", "--all", "--now"]);
                let _ = kill.env("COGO_STATE_DIR", execs_of).status();
            }
        }
    }
}

/// An address on this host that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
