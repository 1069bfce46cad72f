//! The event stream of `--json`.

use cogo_protocol::event::RunEvent;
use cogo_protocol::record::Stream;
use cogo_protocol::verdict::Outcome;

use crate::fixture::{Fixture, finish};

fn events(stdout: &str) -> Vec<RunEvent> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// What one stream said, put together again.
fn bytes(events: &[RunEvent], wanted: Stream) -> Vec<u8> {
    let mut all = Vec::new();
    for event in events {
        if let RunEvent::Output(record) = event
            && record.stream == wanted
        {
            all.extend(record.chunk.clone().into_bytes().unwrap());
        }
    }
    all
}

#[test]
fn the_stream_tells_start_output_and_end() {
    let fixture = Fixture::new();
    let ran = finish(&mut fixture.script(&["--json"], "echo out; echo err >&2; exit 3"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), ""), "{ran:?}");
    let events = events(&ran.stdout);
    let (Some(RunEvent::Started(started)), Some(RunEvent::Finished(finished))) =
        (events.first(), events.last())
    else {
        panic!("{events:?}")
    };
    assert_eq!(started.exec_id, finished.exec_id);
    assert_eq!(finished.verdict.outcome, Outcome::Exited { code: 3 });
    assert_eq!(finished.exit_code, 3);
    assert_eq!(bytes(&events, Stream::Stdout), b"out\n");
    assert_eq!(bytes(&events, Stream::Stderr), b"err\n");
}

#[test]
fn no_character_is_torn_and_no_byte_lost() {
    let fixture = Fixture::new();
    // The euro sign comes in three writes; a lone byte comes last.
    let script = r"printf 'a\342'; sleep 0.05; printf '\202'; sleep 0.05; printf '\254b\303'";
    let ran = finish(&mut fixture.script(&["--json"], script));
    let events = events(&ran.stdout);
    assert_eq!(bytes(&events, Stream::Stdout), b"a\xe2\x82\xacb\xc3");
    assert!(ran.stdout.contains('€'), "{}", ran.stdout);
}

#[test]
fn a_missing_program_still_has_a_last_line() {
    let ran = finish(&mut Fixture::new().run(&["--json"], &["no-such-program"]));
    assert_eq!(ran.code, Some(127), "{ran:?}");
    let events = events(&ran.stdout);
    let Some(RunEvent::Finished(finished)) = events.last() else {
        panic!("{events:?}")
    };
    assert!(matches!(
        finished.verdict.outcome,
        Outcome::NotStarted { errno: 2, .. }
    ));
    assert_eq!(finished.exit_code, 127);
}

#[test]
fn logs_replay_the_same_events() {
    let fixture = Fixture::new();
    let script = r"for i in 1 2 3 4 5; do printf '%s\342\202' $i; sleep 0.02; printf '\254'; done";
    let ran = finish(&mut fixture.script(&["--json"], script));
    let output = |text: &str| -> Vec<String> {
        let is_output = |line: &&str| line.contains(r#""type":"output""#);
        text.lines().filter(is_output).map(str::to_owned).collect()
    };
    let live = output(&ran.stdout);
    let replayed = finish(&mut fixture.cogo(["logs", "last", "--json"]));
    assert_eq!(output(&replayed.stdout), live);
    // From the middle, the records are the very ones that a reader from the start gets.
    let middle = serde_json::from_str::<serde_json::Value>(&live[live.len() / 2]).unwrap();
    let seq = middle["seq"].to_string();
    let part = finish(&mut fixture.cogo(["logs", "last", "--json", "--from-seq", &seq]));
    assert_eq!(output(&part.stdout), live[live.len() / 2..]);
}
