//! From the first process of an exec to its last: daemons, stops, signals, timeouts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::spec::{ExecSpec, Isolation, Network, Stdin};
use cogo_sandbox::start::{Start, Started};
use cogo_sandbox::verdict::{Incident, Outcome, TimeoutClock};

use crate::fixture::{Ended, Place, ended};
use crate::host::{self, MarkedSleep, groups, until};

/// Ways to outlive the command.
const DAEMONS: [&str; 5] = [
    // Double fork into a session of its own.
    "setsid sh -c 'SLEEP & SLEEP &'; echo done",
    // Deaf to SIGTERM and SIGHUP.
    "(trap '' TERM HUP; SLEEP &); (trap '' TERM HUP; exec setsid SLEEP) & echo done",
    // Holds the output open.
    "setsid SLEEP & setsid sh -c 'SLEEP >/dev/null 2>&1 </dev/null & SLEEP' & echo done",
    // Stopped, so that it sees no polite signal.
    "SLEEP & kill -STOP $!; echo done",
    // A command that dies hard itself.
    "setsid SLEEP & setsid SLEEP & echo done; kill -KILL $$",
];

#[test]
fn a_thousand_execs_with_daemons_leave_nothing() {
    const EXECS: usize = 1000;
    const AT_ONCE: usize = 8;
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mounts_before = host::mounts();
    let prefix = format!("daemons{}-", std::process::id());
    let next = AtomicUsize::new(0);
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= EXECS {
                return;
            }
            let script = sleep.script(DAEMONS[index % DAEMONS.len()]);
            leave_daemons(&place, &format!("{prefix}{index}"), &script);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(run);
        }
    });
    sleep.expect_none();
    assert_eq!(groups(&prefix), Vec::<std::path::PathBuf>::new());
    assert_eq!(host::mounts(), mounts_before);
    assert_eq!(place.state.execs().expect("a listing").len(), 0);
    let workspace = std::fs::read_dir(&place.workspace).expect("a listing");
    assert_eq!(workspace.count(), 1, "only the marked program");
}

fn leave_daemons(place: &Place, id: &str, script: &str) {
    let Start::Running(mut started) = place
        .try_start_as(id, &place.script(script), &[])
        .expect("a start")
    else {
        panic!("{id} did not run");
    };
    let ended = ended(&started.exec);
    assert_eq!(ended.text(), "done", "{id}: {ended:?}");
    assert_eq!(ended.verdict.survivors, 0, "{id}: {ended:?}");
    let expected = if script.contains("KILL") {
        Outcome::Signaled {
            signal: libc::SIGKILL,
            core_dumped: false,
        }
    } else {
        Outcome::Exited { code: 0 }
    };
    assert_eq!(ended.verdict.outcome, expected, "{id}");
    started.reap().expect("a supervisor");
    assert!(host::process(started.running.supervisor_pid).is_none());
    started.exec.remove().expect("a removal");
}
