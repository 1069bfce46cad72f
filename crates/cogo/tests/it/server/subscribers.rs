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
    let mut server = Server::start(&["--workers", "1", "--slots", "4"]);
    let script = format!("head -c {FLOOD} /dev/zero; {WAIT}; echo end");
    server.submit("flood", &script);
    let flood_end = await_flood(&server);
    let mut stuck = server.connect();
    stuck.send(&json!({"type": "attach", "taskId": "flood"}));
    let stuck_listener =
        Client::connect_raw(&format!("ws://{}{API}/events?after=0", server.address));
    let mut readers: Vec<Client> = (0..READERS).map(|_| server.connect()).collect();
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
        let told = reader.follow("flood");
        assert_eq!(
            (told.stdout.as_str(), &told.end["exitCode"]),
            ("end\n", &json!(0))
        );
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
