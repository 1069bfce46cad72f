//! `cogo submit` and its companions, against a real server.

use rustix::process::Signal;
use serde_json::Value;

use super::fixture::Server;
use crate::fixture::{Ran, Running, await_condition, finish, strongest_tier};

fn submit(server: &Server, options: &[&str], script: &str) -> Ran {
    let first = ["submit", "--isolation", strongest_tier()];
    let command = ["--", "sh", "-c", script];
    let arguments = first.iter().chain(options).chain(&command).copied();
    finish(&mut server.world.cogo(arguments))
}

#[test]
fn output_and_exit_code_come_through() {
    let server = Server::start(&[]);
    let ran = submit(&server, &["--quiet"], "echo out; echo err >&2; exit 7");
    assert_eq!(ran.code, Some(7));
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn a_name_stands_for_one_task() {
    let server = Server::start(&[]);
    let first = submit(
        &server,
        &["--id", "build", "-q"],
        "echo once >> $PWD/x; echo done",
    );
    assert_eq!(first.stdout, "done\n");
    let again = submit(
        &server,
        &["--id", "build", "-q"],
        "echo once >> $PWD/x; echo done",
    );
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "done\n"));
    assert_eq!(
        server.task("build")["attempts"].as_array().unwrap().len(),
        1
    );
    let other = submit(&server, &["--id", "build", "-q"], "echo other");
    assert_eq!(other.code, Some(125));
    assert!(
        other.stderr.contains("asks for something else"),
        "{}",
        other.stderr
    );
}

#[test]
fn limits_and_missing_programs_have_their_codes() {
    let server = Server::start(&[]);
    let timeout = submit(&server, &["--timeout", "200ms", "-q"], "sleep 60");
    assert_eq!(timeout.code, Some(124));
    let arguments = [
        "submit",
        "-q",
        "--isolation",
        strongest_tier(),
        "--",
        "/nonexistent",
    ];
    assert_eq!(finish(&mut server.world.cogo(arguments)).code, Some(127));
    let json = submit(&server, &["--json"], "exit 3");
    let task: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &task["verdict"]["code"]), (Some(3), &3.into()));
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let world = crate::fixture::Fixture::new();
    let ran = finish(&mut world.cogo(["submit", "--", "true"]));
    assert_eq!(ran.code, Some(125));
    assert!(ran.stderr.contains("cogo serve"), "{}", ran.stderr);
}

#[test]
fn a_client_comes_back_when_the_manager_does() {
    let mut server = Server::start(&["--workers", "1"]);
    let script = "echo before; flock -s gate true; echo after";
    let workspace = server.world.workspace();
    let arguments = [
        "submit",
        "-q",
        "--isolation",
        strongest_tier(),
        "--id",
        "t",
        "-w",
        workspace.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut client = Running::start(&mut server.world.cogo(arguments));
    assert_eq!(client.line(), "before\n");
    server.kill_manager();
    server.go_on();
    server.open_gate();
    let ran = client.finish();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "after\n"));
}

#[test]
fn the_end_waits_for_running_tasks_and_keeps_waiting_ones() {
    let mut server = Server::start(&["--workers", "1", "--slots", "1"]);
    server.submit("running", "flock -s gate true; echo ran");
    server.await_status("running", "running");
    server.submit("waiting", "echo waited");
    server.signal_manager(Signal::INT);
    await_condition("the draining", || {
        server.log().contains("waiting for 1 running task")
    });
    assert_eq!(server.task("waiting")["status"], "queued");
    server.open_gate();
    assert_eq!(server.await_manager_end(), Some(0));
    server.go_on();
    assert_eq!(server.output("running"), b"ran\n");
    server.await_status("waiting", "succeeded");
    assert_eq!(server.output("waiting"), b"waited\n");
}

#[test]
fn the_urgent_goes_first() {
    let mut server = Server::start(&["--workers", "1", "--slots", "1"]);
    server.submit("first", "flock -s gate true");
    server.await_status("first", "running");
    for level in [0, 9, 3, 7, 5] {
        let more = serde_json::json!({"priority": level});
        server.submit_with(&format!("level-{level}"), "true", &more);
    }
    server.open_gate();
    server.await_idle();
    let mut tasks = server.tasks();
    tasks.sort_by_key(|task| task["startedAt"].as_u64());
    let order: Vec<u64> = tasks
        .iter()
        .skip(1)
        .map(|task| task["priority"].as_u64().unwrap())
        .collect();
    assert_eq!(order, [9, 7, 5, 3, 0]);
}

#[test]
fn a_server_of_this_host_works_in_this_directory() {
    let server = Server::start(&["--workers", "1"]);
    std::fs::write(server.world.workspace().join("input"), "from here").unwrap();
    let here = submit(&server, &["-q"], "cat input; echo made > output");
    assert_eq!((here.code, here.stdout.as_str()), (Some(0), "from here"));
    assert!(server.world.workspace().join("output").exists());
    let empty = submit(&server, &["-q", "--empty"], "ls -A");
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(0), ""));
}
