//! The exec does not depend on who started it.

use rustix::process::Signal;

use crate::fixture::{Fixture, Running, finish, verdict};

#[test]
fn a_killed_starter_changes_nothing() {
    let fixture = Fixture::new();
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 5";
    let mut run = Running::start(&mut fixture.script(&[], script));
    assert_eq!(run.line(), "line 0\n");
    run.signal(Signal::KILL);
    assert_eq!(run.status().code(), None);

    let waited = finish(&mut fixture.cogo(["wait", "last"]));
    assert_eq!(waited.code, Some(5), "{waited:?}");
    let logs = finish(&mut fixture.cogo(["logs", "last"]));
    let lines: Vec<String> = (0..20_000).map(|i| format!("line {i}\n")).collect();
    let expected = lines.concat();
    assert!(
        logs.stdout == expected,
        "{} bytes of {}",
        logs.stdout.len(),
        expected.len()
    );
    assert_eq!(verdict(&fixture.only_exec())["outcome"]["code"], 5);
}
