//! `cogo attach` without a terminal.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::fixture::{Fixture, Running, finish};

#[test]
fn input_reaches_a_command_that_waits_for_it() {
    let fixture = Fixture::new();
    let mut start = fixture.script(&["--detach", "--stdin", "open"], "echo up; cat; exit 6");
    assert_eq!(finish(&mut start).code, Some(0));
    let mut attach = Running::start(
        fixture
            .cogo(["attach", "last", "--replay"])
            .stdin(Stdio::piped()),
    );
    assert_eq!(attach.line(), "up\n");
    let mut stdin = attach.child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    assert_eq!(attach.line(), "hello\n");
    drop(stdin);
    let ran = attach.finish();
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.contains("cogo: exited 6 · in "), "{ran:?}");
}

#[test]
fn an_interrupt_leaves_the_command_alone() {
    let fixture = Fixture::new();
    fixture.detached("echo up; exec sleep 100");
    let mut attach = Running::start(&mut fixture.cogo(["attach", "last", "--replay"]));
    assert_eq!(attach.line(), "up\n");
    attach.signal(Signal::INT);
    let ran = attach.finish();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("left running"), "{ran:?}");
    assert_eq!(
        finish(&mut fixture.cogo(["ps", "-q"]))
            .stdout
            .lines()
            .count(),
        1
    );
}
