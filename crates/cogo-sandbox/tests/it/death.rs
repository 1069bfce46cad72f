//! Deaths that nobody asked for: of the supervisor, of process 1, of a zygote, of a session's
//! keeper. Nothing of the exec outlives them, and the verdict never reads as success.

use std::path::PathBuf;

use cogo_sandbox::exec_dir::ExecDir;
use cogo_sandbox::start::{Start, Started};
use cogo_sandbox::verdict::Outcome;

use crate::fixture::Place;
use crate::host::{self, MarkedSleep, children, groups, kill_9, until};

/// Everything that could hide from a kill, five processes in all. One is stopped, once it is
/// what it is to be.
const FAMILY: &str = "setsid SLEEP & (trap '' TERM HUP; setsid sh -c 'SLEEP & wait') & SLEEP & \
                      SLEEP & until grep -q ^life /proc/$!/comm; do sleep 0.01; done; \
                      kill -STOP $!; SLEEP";
const FAMILY_SIZE: usize = 5;

/// An exec with its whole family running.
fn start_family(place: &Place, sleep: &MarkedSleep, id: &str) -> Started {
    let spec = place.script(&sleep.script(FAMILY));
    match place.try_start_as(id, &spec, &[]).expect("a start") {
        Start::Running(started) => {
            sleep.wait_for(FAMILY_SIZE);
            started
        }
        Start::Ended(exec) => panic!("not started: {:?}", exec.wait()),
    }
}

/// Process 1 of the sandbox of a supervisor.
fn init_of(supervisor: i32) -> i32 {
    let is_init = |process: &host::Process| process.name == "cogo-init";
    let found = children(supervisor).into_iter().find(is_init);
    found.expect("a process 1").pid
}

#[track_caller]
fn expect_unknown(exec: &ExecDir) {
    let verdict = exec.wait().expect("a verdict");
    assert!(
        matches!(verdict.outcome, Outcome::Unknown { .. }),
        "{verdict:?}"
    );
    assert_eq!(verdict.survivors, 0);
}

#[track_caller]
fn expect_nothing_left(exec: &ExecDir, sleep: &MarkedSleep, id: &str) {
    // The kernel has killed them; their parents may still be reaping.
    until("the exec's processes are gone", || {
        sleep.processes().is_empty()
    });
    assert_eq!(groups(id), Vec::<PathBuf>::new());
    let listing = std::fs::read_dir(exec.path()).expect("a listing");
    let mut files: Vec<_> = listing
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["lock", "log", "running.json", "spec.json", "verdict.json"]
    );
}

#[test]
fn killing_the_supervisor_ends_everything_and_reads_unknown() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mounts = host::mounts();
    let id = format!("orphan{}", std::process::id());
    let mut started = start_family(&place, &sleep, &id);
    let init = init_of(started.running.supervisor_pid);
    kill_9(started.running.supervisor_pid);
    started.reap().expect("a dead supervisor");
    expect_unknown(&started.exec);
    expect_nothing_left(&started.exec, &sleep, &id);
    until("process 1 is gone", || host::process(init).is_none());
    assert_eq!(host::mounts(), mounts);
}
