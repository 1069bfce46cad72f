//! Many who follow one task over the manager, and one of them who never reads.

use serde_json::json;

use super::fixture::{API, Server, WAIT};
use crate::fixture::await_condition;
use crate::worker::fixture::Client;

/// Those who read.
const READERS: usize = 200;
/// More than all buffers between a program and a client that does not read.
const FLOOD: usize = 17_000_000;

#[test]
fn one_who_never_reads_changes_nothing_for_two_hundred_others() {
    // On a busy machine all this takes a while, in which the one who stands still must stay.
    let options = ["--workers", "1", "--slots", "4", "--silence", "10m"];
    let mut server = Server::start(&options);
    let script = format!("head -c {FLOOD} /dev/zero | tr '\\0' x; {WAIT}; echo end");
    server.submit("flood", &script);
    let flood_end = await_flood(&server);
    let mut stuck = server.connect();
    stuck.send(&json!({"type": "attach", "taskId": "flood"}));
    let stuck_listener =
        Client::connect_raw(&format!("ws://{}{API}/events?after=0", server.address));
    let mut readers: Vec<Client> = (0..READERS).map(|_| server.connect_binary()).collect();
    let after_all = json!({"type": "attach", "taskId": "flood", "fromSeq": flood_end});
    for reader in &mut readers {
        reader.send(&after_all);
        reader.until("execution_started");
    }
    // Other work gets on beside it.
    server.submit("beside", "echo beside");
    server.await_status("beside", "succeeded");
    server.open_gate();
    for reader in &mut readers {
        let output = reader.until("binary")["bytes"].as_array().unwrap().clone();
        let end = b"end\n".map(serde_json::Value::from);
        assert!(output.ends_with(&end), "{output:?}");
        assert_eq!(reader.until("task_complete")["exitCode"], 0);
    }
    // The program has ended, though one has read nothing, who still gets everything.
    server.await_status("flood", "succeeded");
    stuck.until("execution_started");
    let told = stuck.follow("flood");
    assert_eq!(told.stdout.len(), FLOOD + "end\n".len());
    assert!(told.seqs.is_sorted(), "{:?}", told.seqs);
    drop(stuck_listener);
}

/// Waits until the whole flood is in the manager's log, and gives its end.
fn await_flood(server: &Server) -> u64 {
    await_condition("the flood", || {
        let log = server.get("/tasks/flood/logs");
        log.is_some_and(|answer| answer.body.len() == FLOOD)
    });
    let mut client = server.connect();
    client.send(&json!({"type": "list_tasks"}));
    client.until("task_list")["tasks"][0]["lastSeq"]
        .as_u64()
        .unwrap()
}

#[test]
fn one_who_takes_nothing_is_let_go_in_the_end() {
    let mut server = Server::start(&["--workers", "1", "--silence", "500ms"]);
    server.await_workers(1);
    // The least of many looks: connections of earlier requests may still be on their way out.
    let idle = (0..100).map(|_| server.open_sockets()).min().unwrap();
    let script = format!("head -c {FLOOD} /dev/zero | tr '\\0' x; {WAIT}");
    server.submit("flood", &script);
    await_flood(&server);
    let mut stuck = server.connect();
    stuck.send(&json!({"type": "attach", "taskId": "flood"}));
    stuck.until("execution_started");
    await_condition("the end of the connection", || {
        server.open_sockets() <= idle
    });
    server.open_gate();
    server.await_status("flood", "succeeded");
    drop(stuck);
}
