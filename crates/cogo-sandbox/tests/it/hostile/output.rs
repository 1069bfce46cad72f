//! Output that is to spoil, flood or confuse the log.

use std::fs;

use cogo_sandbox::log::{Entry, LogReader};
use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::start::Start;
use cogo_sandbox::verdict::Incident;

use super::attempt::Arena;
use crate::fixture::ended;

#[test]
fn bytes_are_kept_as_they_are() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let mut bytes: Vec<u8> = (0..=255).collect();
    let mut expected = Vec::new();
    for turn in 0..64 {
        expected.extend_from_slice(&bytes);
        bytes[turn * 3 % 256] ^= 0xc0;
    }
    assert!(String::from_utf8(expected.clone()).is_err());
    let ended = arena.inside("binary-output");
    ended.expect_exit(0);
    assert!(ended.stdout == expected, "{:?}", ended.stdout);
}

/// What `flood` prints.
fn flood(wanted: usize) -> (String, usize) {
    let (mut written, mut line) = (0, 0);
    let mut last = String::new();
    while written < wanted {
        last = format!("line {line} of a flood of lines\n");
        written += last.len();
        line += 1;
    }
    let end = format!("{last}the last line\n");
    (end, written + "the last line\n".len())
}

#[test]
fn a_flood_is_cut_and_says_where() {
    const WANTED: usize = 32 << 20;
    const LOG: u64 = 1 << 20;
    let Some(arena) = Arena::new() else {
        return;
    };
    let mut spec: ExecSpec = arena.spec(&format!("flood {WANTED}"));
    spec.limits.log = Some(LOG);
    let Start::Running(mut started) = arena.place.try_start(&spec, &[]).expect("a start") else {
        panic!("not started");
    };
    let found = ended(&started.exec);
    started.reap().expect("a supervisor");
    found.expect_exit(0);
    let (end, total) = flood(WANTED);
    assert!(
        found.stdout.starts_with(b"line 0 of a flood"),
        "no beginning"
    );
    assert!(found.stdout.ends_with(end.as_bytes()), "no end");

    let log = started.exec.log_dir();
    let sizes = fs::read_dir(&log).expect("a log").map(|entry| {
        let about = entry.expect("an entry").metadata();
        about.expect("metadata").len()
    });
    let on_disk: u64 = sizes.sum();
    assert!(on_disk <= LOG, "{on_disk}");

    let mut reader = LogReader::open(&log, 0).expect("a log");
    let (mut seen, mut cut) = (0, 0);
    while let Some(entry) = reader.next().expect("a readable log") {
        match entry {
            Entry::Record(record) => seen += record.bytes.len() as u64,
            Entry::Cut { bytes, .. } => cut += bytes,
        }
    }
    assert!(cut > 0);
    assert_eq!(seen + cut, total as u64);
    let incident = Incident::LogCut { bytes: cut };
    assert!(
        found.verdict.incidents.contains(&incident),
        "{:?}",
        found.verdict
    );
}

#[test]
fn a_program_cannot_spoil_its_pipe() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.inside("spoil-output");
    assert_eq!(ended.expect_exit(0).text(), "again\ndone");
}

#[test]
fn standard_streams_can_be_opened_by_name() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; echo fd >> /proc/self/fd/1";
    let ended = arena.place.run_script(script);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, b"out\nfd\n");
    assert_eq!(ended.stderr, b"err\n");
}

#[test]
fn closed_streams_change_no_verdict() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.inside("close-everything");
    ended.expect_exit(5);
    assert!(
        ended.stdout.is_empty() && ended.stderr.is_empty(),
        "{ended:?}"
    );
}

/// Text that looks like a record, a verdict or a terminal's command is text.
#[test]
fn what_looks_like_a_message_is_text() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let forged = r#"{"outcome":{"kind":"exited","code":0},"survivors":0}"#;
    let script =
        format!("printf '\\033]0;title\\007\\033[2J\\000\\n'; echo '{forged}' >&2; exit 3");
    let ended = arena.place.run_script(&script);
    ended.expect_exit(3);
    assert_eq!(ended.stdout, b"\x1b]0;title\x07\x1b[2J\0\n");
    assert_eq!(ended.stderr, format!("{forged}\n").as_bytes());
}
