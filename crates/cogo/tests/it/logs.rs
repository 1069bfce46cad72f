//! `cogo logs`.

use crate::fixture::{Fixture, Running, finish};

#[test]
fn the_log_is_shown_again_byte_for_byte() {
    let fixture = Fixture::new();
    let script = r"printf '\000\377a\n'; echo err >&2; exit 3";
    fixture.script(&["-q"], script).output().unwrap();
    let output = fixture.cogo(["logs", "last"]).output().unwrap();
    assert_eq!(output.stdout, b"\x00\xffa\n");
    assert_eq!(output.stderr, b"err\n");
    assert!(output.status.success());
}

#[test]
fn one_stream_and_a_part_can_be_asked_for() {
    let fixture = Fixture::new();
    finish(&mut fixture.script(
        &["-q"],
        "echo a; sleep 0.05; echo b >&2; sleep 0.05; echo c",
    ));
    let show = |options: &[&str]| {
        let ran = finish(&mut fixture.cogo(["logs", "last"].iter().chain(options).copied()));
        (ran.stdout, ran.stderr)
    };
    assert_eq!(
        show(&["--stream", "stderr"]),
        (String::new(), "b\n".to_owned())
    );
    assert_eq!(
        show(&["--stream", "stdout"]),
        ("a\nc\n".to_owned(), String::new())
    );
    assert_eq!(
        show(&["--from-seq", "2"]),
        ("c\n".to_owned(), String::new())
    );
    assert_eq!(show(&["--from-seq", "99"]), (String::new(), String::new()));
}

#[test]
fn times_stand_before_whole_lines() {
    let fixture = Fixture::new();
    finish(&mut fixture.script(&["-q"], "printf on; sleep 0.05; echo e; echo two"));
    let shown = finish(&mut fixture.cogo(["logs", "-t", "last"])).stdout;
    let lines: Vec<(&str, &str)> = shown
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    assert_eq!(
        lines.iter().map(|line| line.1).collect::<Vec<_>>(),
        ["one", "two"]
    );
    for (time, _) in lines {
        assert!(
            time.len() == 27 && time.starts_with("20") && time.ends_with('Z'),
            "{time}"
        );
    }
}

#[test]
fn following_goes_on_to_the_end() {
    let fixture = Fixture::new();
    fixture.detached("echo first; until [ -e seen ]; do sleep 0.01; done; echo second");
    let mut logs = Running::start(&mut fixture.cogo(["logs", "-f", "last"]));
    assert_eq!(logs.line(), "first\n");
    let now = finish(&mut fixture.cogo(["logs", "last"]));
    assert_eq!(now.stdout, "first\n");
    std::fs::write(fixture.workspace().join("seen"), "").unwrap();
    let ran = logs.finish();
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "second\n"),
        "{ran:?}"
    );
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let fixture = Fixture::new();
    fixture.detached("exec yes");
    let mut logs = Running::start(&mut fixture.cogo(["logs", "-f", "last"]));
    assert_eq!(logs.line(), "y\n");
    logs.stop_reading();
    assert_eq!(logs.status().code(), Some(0));
    assert_eq!(
        finish(&mut fixture.cogo(["ps", "-q"]))
            .stdout
            .lines()
            .count(),
        1
    );
}
