//! `cogo run` of commands that hang.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::{Fixture, Running, finish};

const DEADLOCK: &str = "mkfifo p; cat p";
const QUESTION: &str = "read line; echo \"got $line\"";

/// A pipe that stays open and empty for as long as its other end lives.
fn silence() -> (Stdio, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer)
}

#[test]
fn a_line_on_stderr_says_why_it_hangs() {
    let world = Fixture::new();
    let (stdin, mut writer) = silence();
    let mut running = Running::start(world.script(&[], QUESTION).stdin(stdin));
    let mut stderr = BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("cogo: waiting for input for "), "{line}");
    assert!(line.contains("standard input"), "{line}");
    std::io::Write::write_all(&mut writer, b"x\n").unwrap();
    let ran = running.finish();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "got x\n"));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("exited 0"), "{rest}");
}

#[test]
fn the_policy_kill_ends_it_with_a_code_of_its_own() {
    let world = Fixture::new();
    let ran = finish(&mut world.script(&["--block-policy", "kill"], DEADLOCK));
    assert_eq!(ran.code, Some(122), "{ran:?}");
    assert!(ran.stderr.contains("cogo: deadlock for "), "{ran:?}");
    assert!(
        ran.stderr
            .contains("stopped because it was blocked: deadlock"),
        "{ran:?}"
    );
    let verdict = crate::fixture::verdict(&world.only_exec());
    assert_eq!(verdict["outcome"]["kind"], "blocked", "{verdict}");
    assert_eq!(verdict["outcome"]["block"]["reason"], "deadlock");
    assert_eq!(verdict["survivors"], 0);
}

#[test]
fn the_policy_recover_ends_the_input_that_it_waits_for() {
    let world = Fixture::new();
    let (stdin, _writer) = silence();
    let mut command = world.script(&["--block-policy", "recover"], "cat; echo went on");
    let ran = finish(command.stdin(stdin));
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "went on\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("ending its input"), "{ran:?}");
}

#[test]
fn events_tell_of_blocks() {
    let world = Fixture::new();
    let options = ["--json", "--block-policy", "kill"];
    let ran = finish(&mut world.script(&options, DEADLOCK));
    let events: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let block = events
        .iter()
        .find(|event| event["type"] == "block_detected");
    let block = block.expect("an event");
    assert_eq!(
        (block["reason"].as_str(), &block["recoverable"]),
        (Some("deadlock"), &Value::Bool(true))
    );
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["exitCode"]),
        (&"finished".into(), &122.into())
    );
    assert_eq!(last["verdict"]["reason"], "deadlock");
}

#[test]
fn who_wants_no_word_gets_none() {
    let world = Fixture::new();
    for options in [
        &["--block-policy", "observe"][..],
        &["--block-after", "waiting_for_input=never"],
    ] {
        let (stdin, mut writer) = silence();
        let mut running = Running::start(world.script(options, QUESTION).stdin(stdin));
        // A second one beside it has been told of, so that this one would have been, too.
        let (other, _writer) = silence();
        let ran = finish(
            world
                .script(&["--block-policy", "kill"], QUESTION)
                .stdin(other),
        );
        assert_eq!(ran.code, Some(122), "{ran:?}");
        std::io::Write::write_all(&mut writer, b"x\n").unwrap();
        let mut stderr = running.child.stderr.take().unwrap();
        let ran = running.finish();
        assert_eq!(ran.stdout, "got x\n");
        let mut told = String::new();
        stderr.read_to_string(&mut told).unwrap();
        assert!(!told.contains("waiting for input"), "{told}");
    }
}

#[test]
fn wrong_times_are_refused() {
    let world = Fixture::new();
    for after in ["boredom=1s", "deadlock=soon", "heartbeat_lost=1s"] {
        let ran = finish(&mut world.script(&["--block-after", after], "true"));
        assert_eq!(ran.code, Some(125), "{ran:?}");
    }
}
