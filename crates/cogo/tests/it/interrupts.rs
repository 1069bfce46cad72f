//! What signals to `cogo run` do to the command.

use rustix::process::Signal;

use crate::fixture::{Fixture, Running, await_condition};

/// Ignores what can be ignored and says when it does.
const STUBBORN: &str = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo ready; \
                        while :; do sleep 0.02; done";

#[test]
fn the_first_interrupt_is_the_commands() {
    let fixture = Fixture::new();
    let script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.02; done";
    let mut run = Running::start(&mut fixture.script(&[], script));
    assert_eq!(run.line(), "ready\n");
    run.signal(Signal::INT);
    let ran = run.finish();
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(5), "caught\n"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("interrupt sent to the command; again to stop it"),
        "{ran:?}"
    );
}

#[test]
fn an_interrupted_command_reads_as_130() {
    let fixture = Fixture::new();
    let mut run = Running::start(&mut fixture.script(&[], "echo ready; exec sleep 100"));
    assert_eq!(run.line(), "ready\n");
    run.signal(Signal::INT);
    let ran = run.finish();
    assert_eq!(ran.code, Some(130), "{ran:?}");
}

#[test]
fn the_second_stops_and_the_third_kills() {
    let fixture = Fixture::new();
    let mut run = Running::start(&mut fixture.script(&["--grace", "1h"], STUBBORN));
    assert_eq!(run.line(), "ready\n");
    run.signal(Signal::INT);
    assert_eq!(run.line(), "INT\n");
    run.signal(Signal::INT);
    assert_eq!(run.line(), "TERM\n");
    run.signal(Signal::INT);
    let ran = run.finish();
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.stderr.contains("killing the command"), "{ran:?}");
    assert!(ran.stderr.contains("cogo: cancelled · in "), "{ran:?}");
}

#[test]
fn the_grace_period_ends_in_a_kill() {
    let fixture = Fixture::new();
    let mut run = Running::start(&mut fixture.script(&["--grace", "50ms"], STUBBORN));
    assert_eq!(run.line(), "ready\n");
    run.signal(Signal::TERM);
    assert_eq!(run.finish().code, Some(143));
}

#[test]
fn a_hangup_stops_the_command() {
    let fixture = Fixture::new();
    let mut run = Running::start(&mut fixture.script(&[], "echo ready; exec sleep 100"));
    assert_eq!(run.line(), "ready\n");
    run.signal(Signal::HUP);
    assert_eq!(run.finish().code, Some(129));
}

#[test]
fn an_interrupt_gets_through_to_a_command_that_reads_no_input() {
    let fixture = Fixture::new();
    // Without end, and with a position that shows how much of it was read.
    let zeros = fixture.home().join("zeros");
    std::fs::File::create(&zeros)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let zeros = std::fs::File::open(zeros).unwrap();
    let script = "echo ready; until [ -e full ]; do sleep 0.01; done; exec sleep 100";
    let mut run = Running::start(fixture.script(&[], script).stdin(zeros));
    assert_eq!(run.line(), "ready\n");
    let socket = fixture.only_exec().join("control.sock");
    assert!(socket.exists());
    // All queues on the way to the program are full once `cogo` reads no more of its input.
    await_input_to_rest(&run);
    std::fs::write(fixture.workspace().join("full"), "").unwrap();
    run.signal(Signal::TERM);
    assert_eq!(run.finish().code, Some(143));
}

/// Waits until a process has not read any of its input for a while.
fn await_input_to_rest(run: &Running) {
    let input = format!("/proc/{}/fdinfo/0", run.child.id());
    let mut last = String::new();
    let mut same = 0;
    await_condition("a full queue", || {
        let now = std::fs::read_to_string(&input).unwrap();
        let now = now.lines().next().unwrap_or_default().to_owned();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same > 50
    });
}
