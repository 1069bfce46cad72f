//! What `cogo run` exits with and says, for every way to end.

use std::time::Instant;

use crate::fixture::{Fixture, Ran, finish, strongest_tier, verdict};

fn ran(options: &[&str], script: &str) -> Ran {
    finish(&mut Fixture::new().script(options, script))
}

#[test]
fn the_code_is_the_commands_own() {
    for code in [0, 1, 42, 255] {
        let ran = ran(&[], &format!("exit {code}"));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(
            ran.stderr
                .starts_with(&format!("cogo: exited {code} · in ")),
            "{ran:?}"
        );
    }
}

#[test]
fn a_signal_adds_128() {
    let ran = ran(&[], "kill -SEGV $$");
    assert_eq!(ran.code, Some(139), "{ran:?}");
    assert!(ran.stderr.starts_with("cogo: killed by SIGSEGV"), "{ran:?}");
}

#[test]
fn a_missing_program_is_127() {
    let ran = finish(&mut Fixture::new().run(&[], &["no-such-program"]));
    assert_eq!(ran.code, Some(127), "{ran:?}");
    assert!(ran.stderr.contains("no-such-program"), "{ran:?}");
    assert!(
        ran.stderr
            .contains("\nhint: only what the sandbox shows can be run; "),
        "{ran:?}"
    );
}

#[test]
fn a_file_that_is_no_program_is_126() {
    let fixture = Fixture::new();
    std::fs::write(fixture.workspace().join("data"), "no program").unwrap();
    let ran = finish(&mut fixture.run(&[], &["./data"]));
    assert_eq!(ran.code, Some(126), "{ran:?}");
}

#[test]
fn a_timeout_is_124_and_names_its_clock() {
    let begin = Instant::now();
    let wall = ran(&["--timeout", "100ms"], "sleep 100");
    assert_eq!(wall.code, Some(124), "{wall:?}");
    assert!(
        wall.stderr.starts_with("cogo: timed out after "),
        "{wall:?}"
    );
    let silence = ran(&["--silence-timeout", "200ms"], "echo x; sleep 100");
    assert_eq!(silence.code, Some(124), "{silence:?}");
    assert!(silence.stderr.contains("of silence"), "{silence:?}");
    assert!(begin.elapsed().as_secs() < 60);
}

#[test]
fn running_out_of_memory_is_named() {
    if strongest_tier() != "strict" {
        return;
    }
    let eat = "exec tail /dev/zero";
    let leader = ran(&["--memory", "32MiB"], eat);
    assert_eq!(leader.code, Some(137), "{leader:?}");
    assert!(
        leader.stderr.contains("out of memory (limit 32 MiB"),
        "{leader:?}"
    );
    assert!(leader.stderr.contains("raise --memory"), "{leader:?}");
    let grandchild = ran(&["--memory", "32MiB"], "sh -c 'tail /dev/zero'; exit 7");
    assert_eq!(grandchild.code, Some(7), "{grandchild:?}");
    assert!(
        grandchild.stderr.contains("out of memory (limit 32 MiB"),
        "{grandchild:?}"
    );
}

#[test]
fn a_full_private_disk_is_named() {
    let fill = "head -c 40000000 /dev/zero > /tmp/x || exit 9";
    let ran = ran(&["--disk", "16MiB"], fill);
    if strongest_tier() == "none" {
        return;
    }
    assert_eq!(ran.code, Some(9), "{ran:?}");
    assert!(ran.stderr.contains("disk full (limit 16 MiB)"), "{ran:?}");
    assert!(ran.stderr.contains("raise --disk"), "{ran:?}");
}

#[test]
fn a_missing_network_gets_a_hint() {
    let script = "echo 'curl: (6) Could not resolve host: example.com' >&2; exit 6";
    let none = ran(&[], script);
    let hint = "hint: the sandbox has no network; use --net-allow HOST or --net host\n";
    assert!(none.stderr.ends_with(hint), "{none:?}");
    let host = ran(&["--net", "host"], script);
    assert!(!host.stderr.contains("hint:"), "{host:?}");
}

#[test]
fn quiet_is_quiet() {
    let ran = ran(&["--quiet"], "echo out; echo err >&2; exit 3");
    let expected = Ran {
        code: Some(3),
        stdout: "out\n".into(),
        stderr: "err\n".into(),
    };
    assert_eq!(ran, expected);
}

#[test]
fn a_dead_supervisor_is_unknown_and_never_success() {
    let fixture = Fixture::new();
    let mut run = crate::fixture::Running::start(&mut fixture.script(&[], "echo ready; sleep 100"));
    assert_eq!(run.line(), "ready\n");
    let running = std::fs::read(fixture.only_exec().join("running.json")).unwrap();
    let running: serde_json::Value = serde_json::from_slice(&running).unwrap();
    let pid = running["supervisor_pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let ran = run.finish();
    assert_eq!(ran.code, Some(123), "{ran:?}");
    assert!(ran.stderr.contains("cogo: unknown: "), "{ran:?}");
    assert_eq!(verdict(&fixture.only_exec())["outcome"]["kind"], "unknown");
}

#[test]
fn a_refused_start_leaves_nothing() {
    let fixture = Fixture::new();
    let ran = finish(&mut fixture.script(&["--memory", "1B"], "true"));
    assert_eq!(ran.code, Some(125), "{ran:?}");
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    assert_eq!(
        std::fs::read_dir(fixture.state().join("execs"))
            .unwrap()
            .count(),
        0
    );
}
