//! Folders of execs that are over, handed on to execs to come.

use std::os::unix::fs::MetadataExt;

use cogo_sandbox::exec_dir::{ExecDir, StateDir};
use cogo_sandbox::start::{Start, start};

use crate::fixture::{Ended, Place, ended};

fn run(place: &Place, state: &StateDir, id: &str, script: &str) -> (ExecDir, Ended) {
    let started = start(place.launcher(), state, id, &place.script(script), &[]);
    match started.expect("a start") {
        Start::Running(mut started) => {
            let ended = ended(&started.exec);
            started.reap().expect("a supervisor");
            (started.exec, ended)
        }
        Start::Ended(exec) => panic!("{exec:?}"),
    }
}

fn inode(exec: &ExecDir) -> u64 {
    std::fs::metadata(exec.path()).expect("a folder").ino()
}

#[test]
fn a_folder_that_was_handed_on_tells_nothing_of_its_past() {
    let place = Place::new();
    let state = place.state.clone().with_spares(4).expect("spares");
    let (first, heard) = run(&place, &state, "first", "echo secret; exit 3");
    heard.expect_exit(3);
    let folder = inode(&first);
    let path = first.path().to_owned();
    state.retire(first).expect("a retirement");
    assert!(!path.exists());
    assert!(state.exec("first").is_none());
    assert_eq!(state.execs().expect("a list").len(), 0);
    let (second, heard) = run(&place, &state, "second", "true");
    assert_eq!(inode(&second), folder, "it was handed on");
    assert_eq!(heard.expect_exit(0).text(), "");
    for name in ["spec.json", "running.json", "verdict.json"] {
        let text = std::fs::read_to_string(second.path().join(name)).expect("a file");
        assert!(!text.contains("secret"), "{name}: {text}");
    }
}

#[test]
fn a_verdict_of_another_exec_is_none() {
    let place = Place::new();
    let (first, heard) = run(&place, &place.state, "first", "exit 3");
    heard.expect_exit(3);
    // As after a power loss that kept the new name of the folder, and lost that it was emptied.
    let second = place.state.path().join("execs/second");
    std::fs::rename(first.path(), &second).expect("a move");
    let verdict = ExecDir::at(&second).wait().expect("a verdict");
    assert_ne!(verdict, heard.verdict);
}

#[test]
fn spares_of_an_earlier_process_are_not_used() {
    let place = Place::new();
    let state = place.state.clone().with_spares(4).expect("spares");
    let (first, _) = run(&place, &state, "first", "true");
    state.retire(first).expect("a retirement");
    let spare = place.state.path().join("spare");
    assert_eq!(std::fs::read_dir(&spare).expect("spares").count(), 1);
    drop(state);
    place.state.clone().with_spares(4).expect("spares");
    assert_eq!(std::fs::read_dir(&spare).expect("spares").count(), 0);
}

#[test]
fn an_id_that_is_taken_stays_taken() {
    let place = Place::new();
    let state = place.state.clone().with_spares(4).expect("spares");
    let (first, _) = run(&place, &state, "first", "true");
    let (second, heard) = run(&place, &state, "second", "exit 4");
    state.retire(first).expect("a retirement");
    let again = start(
        place.launcher(),
        &state,
        "second",
        &place.script("true"),
        &[],
    );
    assert!(again.is_err(), "{again:?}");
    assert_eq!(second.wait().expect("a verdict"), heard.verdict);
}
