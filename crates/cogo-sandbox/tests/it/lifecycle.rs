//! From the first process of an exec to its last: daemons, stops, signals, timeouts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cogo_sandbox::start::Start;
use cogo_sandbox::verdict::{Outcome, TimeoutClock};

use crate::fixture::{Place, ended, stop, wait_for_output};
use crate::host::{self, MarkedSleep, eventually, groups};

/// Longer than any test: whoever waits for it has failed.
const HOUR: Duration = Duration::from_hours(1);

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

#[test]
fn a_stop_asks_first_and_keeps_what_is_said_then() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let started = place.start(&place.script(&sleep.script(
        "trap 'echo saved; exit 3' TERM; setsid SLEEP & echo ready; while :; do sleep 0.02; done",
    )));
    wait_for_output(&started.exec, "ready\n");
    sleep.wait_for(1);
    stop(&started.exec, HOUR);
    let ended = ended(&started.exec);
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert_eq!(ended.text(), "ready\nsaved");
    assert_eq!(ended.verdict.survivors, 0);
    sleep.expect_none();
}

#[test]
fn who_is_deaf_to_the_stop_is_killed_after_the_grace_period() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let started =
        place.start(&place.script(&sleep.script(
            "trap '' TERM; SLEEP & setsid SLEEP & echo ready; while :; do sleep 0.02; done",
        )));
    wait_for_output(&started.exec, "ready\n");
    sleep.wait_for(2);
    stop(&started.exec, Duration::from_millis(50));
    let ended = ended(&started.exec);
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert_eq!(
        (ended.text().as_str(), ended.verdict.survivors),
        ("ready", 0)
    );
    sleep.expect_none();
}

#[test]
fn a_second_stop_brings_the_kill_nearer() {
    let place = Place::new();
    let started = place
        .start(&place.script("trap 'echo heard' TERM; echo ready; while :; do sleep 0.02; done"));
    wait_for_output(&started.exec, "ready\n");
    stop(&started.exec, HOUR);
    wait_for_output(&started.exec, "ready\nheard\n");
    stop(&started.exec, Duration::ZERO);
    assert_eq!(ended(&started.exec).verdict.outcome, Outcome::Cancelled);
}

#[test]
fn a_stopped_process_hears_the_stop() {
    let place = Place::new();
    let script = "trap 'echo woke; exit 0' TERM; echo $$ ready; kill -STOP $$; \
                  while :; do sleep 0.02; done";
    let started = place.start(&place.script(script));
    let command = started.running.command_pid.expect("a live command");
    eventually("the command is stopped", || {
        host::process(command).filter(|process| process.state == 'T')
    });
    stop(&started.exec, HOUR);
    let ended = ended(&started.exec);
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert!(ended.text().ends_with("woke"), "{ended:?}");
}

#[test]
fn a_timeout_keeps_what_was_printed_before_and_while_it_stops() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mut spec = place.script(&sleep.script(
        "trap 'echo after; exit 0' TERM; setsid SLEEP & echo before; while :; do sleep 0.02; done",
    ));
    spec.limits.timeout = Some(Duration::from_millis(700));
    spec.grace_period = HOUR;
    let ended = place.run(&spec);
    let expected = Outcome::TimedOut {
        after: Duration::from_millis(700),
        clock: TimeoutClock::Wall,
    };
    assert_eq!(ended.verdict.outcome, expected);
    assert_eq!(ended.text(), "before\nafter");
    assert!(ended.verdict.usage.wall >= Duration::from_millis(700));
    assert_eq!(ended.verdict.survivors, 0);
    sleep.expect_none();
}

#[test]
fn a_timeout_ends_in_a_kill_for_who_ignores_it() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mut spec = place.script(&sleep.script("trap '' TERM; echo before; SLEEP & SLEEP; wait"));
    spec.limits.timeout = Some(Duration::from_millis(200));
    spec.grace_period = Duration::from_millis(20);
    let ended = place.run(&spec);
    assert!(
        matches!(
            ended.verdict.outcome,
            Outcome::TimedOut {
                clock: TimeoutClock::Wall,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(
        (ended.text().as_str(), ended.verdict.survivors),
        ("before", 0)
    );
    sleep.expect_none();
}

#[test]
fn silence_is_timed_from_the_last_output() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mut spec =
        place.script(&sleep.script("echo one; sleep 0.3; echo two; sleep 0.3; echo three; SLEEP"));
    spec.limits.silence_timeout = Some(Duration::from_millis(900));
    let ended = place.run(&spec);
    let expected = Outcome::TimedOut {
        after: Duration::from_millis(900),
        clock: TimeoutClock::Silence,
    };
    assert_eq!(ended.verdict.outcome, expected);
    assert_eq!(ended.text(), "one\ntwo\nthree");
    // Two pauses and then the silence itself.
    assert!(ended.verdict.usage.wall >= Duration::from_millis(1500));
    sleep.expect_none();
}
