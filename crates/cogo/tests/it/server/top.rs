//! `cogo top`, of a real server with real tasks.

use serde_json::Value;

use super::fixture::{Server, WAIT};
use crate::fixture::finish;
use crate::terminal::Terminal;

/// A server with a task that runs and two that wait.
fn server() -> Server {
    let server = Server::start(&["--workers", "1", "--slots", "1"]);
    server.submit("busy", &format!("echo hello-from-busy; {WAIT}; sleep 1000"));
    server.await_status("busy", "running");
    for (name, priority) in [("first", 9), ("second", 2)] {
        let more = serde_json::json!({"priority": priority});
        server.submit_with(name, "true", &more);
    }
    server
}

#[test]
fn one_look_shows_workers_queue_and_tasks() {
    let server = server();
    let ran = finish(&mut server.world.cogo(["top"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = |start: &str| {
        let line = ran.stdout.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("{start}: {}", ran.stdout))
            .to_owned()
    };
    assert!(
        line("ok ").contains("1 running, 2 waiting · 1 of 1 workers"),
        "{}",
        ran.stdout
    );
    assert!(
        line("local-1").contains("busy") && line("local-1").contains("1/1"),
        "{}",
        ran.stdout
    );
    assert_eq!(line("Queue"), "Queue: 1× priority 9, 1× priority 2");
    let busy = line("busy");
    assert!(
        busy.contains("running") && busy.contains("echo hello"),
        "{busy}"
    );
    let ran = finish(&mut server.world.cogo(["top", "--json"]));
    let look: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(look["running"][0]["taskId"], "busy");
    assert_eq!(look["queue"]["total"], 2);
    assert_eq!(look["workers"][0]["id"], "local-1");
}

/// Only what changes is drawn, word by word, so that the screen is known by single words.
#[test]
fn keys_follow_and_kill_a_task() {
    let server = server();
    let mut terminal = Terminal::new(40, 120);
    let mut top = terminal.start(&mut server.world.cogo(["top", "--interval", "100ms"]));
    terminal.expect("q: leave");
    terminal.press(b"\r");
    terminal.expect("hello-from-busy");
    terminal.press(b"\r");
    terminal.press(b"k");
    terminal.expect("kill busy?");
    terminal.press(b"n");
    terminal.press(b"k");
    terminal.press(b"y");
    server.await_status("busy", "cancelled");
    server.await_status("second", "succeeded");
    terminal.expect("cancelled");
    terminal.press(b"q");
    assert!(top.wait().unwrap().success());
}

#[test]
fn without_a_server_it_says_so_before_it_draws() {
    let world = crate::fixture::Fixture::new();
    let mut top = world.cogo(["top", "--server", "http://127.0.0.1:1"]);
    let ran = finish(&mut top);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.contains("failed to reach the server"),
        "{}",
        ran.stderr
    );
}
