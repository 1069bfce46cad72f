//! `cogo ps`, `kill`, `wait` and `prune` on execs in the background.

use crate::fixture::{Fixture, await_condition, finish, verdict};

#[test]
fn a_detached_exec_is_listed_killed_and_remembered() {
    let fixture = Fixture::new();
    let id = fixture.detached("touch up; exec sleep 100");
    fixture.await_file("up");

    let listed = finish(&mut fixture.cogo(["ps"])).stdout;
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], [&id[id.len() - 12..], "running"]);
    assert_eq!(row.last().copied(), fixture.workspace().to_str());
    assert_eq!(
        finish(&mut fixture.cogo(["ps", "-q"])).stdout,
        format!("{id}\n")
    );

    let killed = finish(&mut fixture.cogo(["kill", &id[id.len() - 6..]]));
    assert_eq!(killed.code, Some(0), "{killed:?}");
    let expected = format!("{} cancelled · in ", &id[id.len() - 12..]);
    assert!(killed.stdout.starts_with(&expected), "{killed:?}");
    assert_eq!(verdict(&fixture.only_exec())["survivors"], 0);

    assert_eq!(finish(&mut fixture.cogo(["ps", "-q"])).stdout, "");
    let all = finish(&mut fixture.cogo(["ps", "--all"])).stdout;
    assert!(all.contains("cancelled"), "{all}");
    let again = finish(&mut fixture.cogo(["kill", "last"]));
    assert_eq!(again.code, Some(0));
    assert!(
        again.stderr.contains("had ended before: cancelled"),
        "{again:?}"
    );
}

#[test]
fn ps_json_tells_programs() {
    let fixture = Fixture::new();
    let id = fixture.detached("exit 4");
    assert_eq!(finish(&mut fixture.cogo(["wait", "last"])).code, Some(4));
    let line = finish(&mut fixture.cogo(["ps", "--all", "--json"])).stdout;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["execId"], id);
    assert_eq!(line["state"], "ended");
    assert_eq!(line["outcome"]["code"], 4);
    assert_eq!(line["argv"][0], "sh");
}

#[test]
fn a_signal_alone_goes_to_the_command() {
    let fixture = Fixture::new();
    fixture.detached("trap 'touch got' USR1; touch up; while :; do sleep 0.02; done");
    fixture.await_file("up");
    let sent = finish(&mut fixture.cogo(["kill", "--signal", "USR1", "last"]));
    assert_eq!((sent.code, sent.stdout.as_str()), (Some(0), ""), "{sent:?}");
    fixture.await_file("got");
    assert_eq!(finish(&mut fixture.cogo(["ps"])).stdout.lines().count(), 2);
}

#[test]
fn all_of_them_end_together() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        fixture.detached("exec sleep 100");
    }
    let killed = finish(&mut fixture.cogo(["kill", "--all", "--now"]));
    assert_eq!(killed.stdout.lines().count(), 3, "{killed:?}");
    assert_eq!(finish(&mut fixture.cogo(["ps", "-q"])).stdout, "");
}

#[test]
fn kill_reaches_those_who_left_the_group() {
    let fixture = Fixture::new();
    fixture
        .detached("trap '' TERM; (setsid sleep 4242 &) ; touch up; while :; do sleep 0.02; done");
    fixture.await_file("up");
    let killed = finish(&mut fixture.cogo(["kill", "last", "--grace", "50ms"]));
    assert_eq!(killed.code, Some(0), "{killed:?}");
    assert_eq!(verdict(&fixture.only_exec())["survivors"], 0);
    await_condition("the end of all", || {
        !command_lines().iter().any(|line| line == "sleep 4242")
    });
}

fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .map(|line| {
            String::from_utf8_lossy(&line)
                .trim_end_matches('\0')
                .replace('\0', " ")
        })
        .collect()
}

#[test]
fn prune_removes_the_ended_and_spares_the_running() {
    let fixture = Fixture::new();
    let ended = fixture.detached("true");
    assert_eq!(
        finish(&mut fixture.cogo(["wait", "-q", &ended])).code,
        Some(0)
    );
    let running = fixture.detached("exec sleep 100");
    let old = finish(&mut fixture.cogo(["prune", "--older-than", "1h"]));
    assert!(old.stdout.starts_with("removed 0 execs,"), "{old:?}");
    let dry = finish(&mut fixture.cogo(["prune", "--dry-run"]));
    assert_eq!(dry.stdout, format!("{ended}\n"));
    let pruned = finish(&mut fixture.cogo(["prune"]));
    assert!(pruned.stdout.starts_with("removed 1 exec,"), "{pruned:?}");
    let left = finish(&mut fixture.cogo(["ps", "--all", "-q"]));
    assert_eq!(left.stdout, format!("{running}\n"));
}

#[test]
fn a_stop_counts_even_if_its_sender_leaves_at_once() {
    use cogo_sandbox::control::{ControlClient, Request};
    use cogo_sandbox::exec_dir::ExecDir;
    let fixture = Fixture::new();
    for _ in 0..20 {
        let id = fixture.detached("echo busy; exec sleep 100");
        let exec = ExecDir::at(fixture.state().join("execs").join(&id));
        let grace_period = std::time::Duration::from_secs(5);
        let control = ControlClient::connect(&exec).unwrap();
        control.send(&Request::Stop { grace_period }).unwrap();
        drop(control);
        assert_eq!(
            finish(&mut fixture.cogo(["wait", "-q", &id])).code,
            Some(143)
        );
    }
}
