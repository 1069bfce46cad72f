//! The quick subset of the fault corpus, and what is said of a task that was recovered.

use std::path::{Path, PathBuf};

use crate::fixture::strongest_tier;

#[path = "../../../../../tests/recovery/harness.rs"]
mod harness;

use harness::{Outcome, Server, Task};

fn corpus() -> PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recovery");
    corpus.canonicalize().expect("a corpus")
}

#[test]
fn tasks_that_fail_by_a_cause_are_got_done_another_way() {
    if strongest_tier() != "strict" {
        eprintln!("skipped: this user gets no control groups here");
        return;
    }
    let mut tasks = Task::all(&corpus());
    tasks.retain(Task::is_quick);
    let server = Server::start(Path::new(env!("CARGO_BIN_EXE_cogo")), &corpus());
    let outcomes = server.run(tasks, 4);
    let wrong: Vec<String> = (outcomes.iter())
        .filter(|outcome| !outcome.is_right())
        .map(Outcome::details)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let recovered = (outcomes.iter())
        .find(|outcome| outcome.task.name == "memory-python")
        .expect("it is in the subset");
    let said = server.why(&recovered.task);
    for part in [
        "out of memory",
        "more_memory",
        "320 MiB of memory instead of 160 MiB",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
