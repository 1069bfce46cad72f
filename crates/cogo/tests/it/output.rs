//! Output as it comes: byte for byte, live, and without holding up the program.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::fixture::{Fixture, Running, finish};

#[test]
fn streams_stay_apart_and_whole() {
    let fixture = Fixture::new();
    let script = r"printf '\000\377\r\n'; printf 'e\303' >&2; printf 'end'";
    let output = fixture.script(&["--quiet"], script).output().unwrap();
    assert_eq!(output.stdout, b"\x00\xff\r\nend");
    assert_eq!(output.stderr, b"e\xc3");
}

#[test]
fn output_is_shown_while_the_command_runs() {
    let fixture = Fixture::new();
    let script = "echo first; until [ -e seen ]; do sleep 0.01; done; echo second";
    let mut run = Running::start(&mut fixture.script(&["-q"], script));
    assert_eq!(run.line(), "first\n");
    std::fs::write(fixture.workspace().join("seen"), "").unwrap();
    let ran = run.finish();
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "second\n"),
        "{ran:?}"
    );
}

#[test]
fn a_reader_that_stops_does_not_stop_the_program() {
    let fixture = Fixture::new();
    // Much more than a pipe holds, and nobody reads until it is all written.
    let script = "head -c 20000000 /dev/zero; touch written";
    let mut child = fixture.script(&["-q"], script).spawn().unwrap();
    fixture.await_file("written");
    let mut stdout = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut stdout)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(stdout.len(), 20_000_000);
    assert!(stdout.iter().all(|&byte| byte == 0));
}

#[test]
fn a_reader_that_leaves_stops_the_command() {
    let fixture = Fixture::new();
    let mut run = Running::start(&mut fixture.script(&[], "exec yes"));
    assert_eq!(run.line(), "y\n");
    run.stop_reading();
    assert_eq!(run.status().code(), Some(141));
}

#[test]
fn a_pipe_is_forwarded_to_the_command() {
    let fixture = Fixture::new();
    let mut child = fixture
        .run(&["-q"], &["sha256sum"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let input = vec![b'x'; 3_000_000];
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let expected = "e55b8bdf621ddaa8f462c74745db9680d3bb7536a9cf854f8d6668b34a287890  -\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn a_file_is_forwarded_and_ends() {
    let fixture = Fixture::new();
    let path = fixture.home().join("input");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let ran = finish(fixture.run(&["-q"], &["cat"]).stdin(file));
    assert_eq!(ran.stdout, "one\ntwo\n");
}

#[test]
fn without_input_there_is_an_end_of_file() {
    let fixture = Fixture::new();
    let ran = finish(&mut fixture.script(&["-q"], "cat; echo over"));
    assert_eq!(ran.stdout, "over\n");
}

#[test]
fn input_that_nobody_reads_does_not_hide_the_output() {
    let fixture = Fixture::new();
    let script = "echo first; until [ -e seen ]; do sleep 0.01; done; echo second";
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let mut run = Running::start(fixture.script(&["-q"], script).stdin(zero));
    assert_eq!(run.line(), "first\n");
    std::fs::write(fixture.workspace().join("seen"), "").unwrap();
    let ran = run.finish();
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "second\n"),
        "{ran:?}"
    );
}

#[test]
fn the_copy_has_both_streams() {
    let fixture = Fixture::new();
    let copy = fixture.home().join("copy.log");
    let options = ["-q", "--log", copy.to_str().unwrap()];
    let ran = finish(&mut fixture.script(&options, "echo out; echo err >&2"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut lines: Vec<String> = std::fs::read_to_string(&copy)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
}
