//! `cogo watch`: edits begin runs, end stale ones, and are told of.

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Fixture, Running, finish, strongest_tier};

fn write(world: &Fixture, name: &str, text: &str) {
    let path = world.workspace().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn watch(world: &Fixture, options: &[&str], argv: &[&str]) -> Running {
    let tier = ["watch", "--json", "--isolation", strongest_tier()];
    Running::start(&mut world.cogo([&tier, options, &["--"], argv].concat()))
}

/// The next event of a kind.
fn event(run: &mut Running, kind: &str) -> Value {
    loop {
        let line = run.line();
        assert!(!line.is_empty(), "the output ended before `{kind}`");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == kind {
            return event;
        }
    }
}

fn interrupt(world: &Fixture, run: Running) {
    run.signal(Signal::INT);
    let ran = run.finish();
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert_eq!(finish(&mut world.cogo(["ps", "--quiet"])).stdout, "");
}

#[test]
fn an_edit_begins_a_run_whose_findings_are_told() {
    let world = Fixture::new();
    write(&world, ".gitignore", "*.o\n/out/\n");
    write(&world, "a.c", "int a;\n");
    let mut run = watch(&world, &[], &["cc", "-c", "a.c"]);
    assert_eq!(event(&mut run, "run_ended")["outcome"]["code"], 0);
    // Neither what git ignores nor what the command makes begins a run.
    write(&world, "out/x.c", "int x;\n");
    write(&world, "b.o", "");
    write(&world, "a.c", "int a = nothing;\n");
    let begun = event(&mut run, "run_started");
    assert_eq!(begun["changed"], serde_json::json!(["a.c"]), "{begun}");
    let found = event(&mut run, "run_diagnostic");
    assert_eq!(
        (&found["diagnostic"]["file"], &found["diagnostic"]["line"]),
        (&"a.c".into(), &1.into())
    );
    let ended = event(&mut run, "run_ended");
    assert_eq!(
        (&ended["outcome"]["code"], &ended["errors"]),
        (&1.into(), &1.into())
    );
    // A new folder is watched, too.
    write(&world, "new/deep/b.h", "");
    assert_eq!(event(&mut run, "run_started")["run"], 3);
    event(&mut run, "run_ended");
    write(&world, "new/deep/b.h", "int b;\n");
    assert_eq!(event(&mut run, "run_started")["changed"][0], "new/deep/b.h");
    interrupt(&world, run);
}

#[test]
fn an_edit_ends_the_stale_run() {
    let world = Fixture::new();
    write(&world, "n", "1\n");
    // The first one takes no notice of a polite signal.
    let script = "trap '' TERM; echo begun; if grep -q 1 n; then while :; do sleep 1; done; fi";
    let mut run = watch(&world, &["--output"], &["sh", "-c", script]);
    event(&mut run, "run_output");
    write(&world, "n", "2\n");
    assert_eq!(event(&mut run, "run_ended")["stale"], true);
    event(&mut run, "run_started");
    let ended = event(&mut run, "run_ended");
    assert_eq!(
        (&ended["stale"], &ended["outcome"]["code"]),
        (&false.into(), &0.into())
    );
    interrupt(&world, run);
}

#[test]
fn what_an_edit_affects_is_run_first() {
    let world = Fixture::new();
    for name in ["a", "b"] {
        let test = format!("import {{test}} from 'node:test'; test('{name}', () => {{}});\n");
        write(&world, &format!("{name}.test.mjs"), &test);
    }
    let mut run = watch(&world, &[], &["node", "--test"]);
    assert_eq!(event(&mut run, "run_ended")["passed"], 2);
    let broken = "import {test} from 'node:test'; test('b', () => { throw new Error('no'); });\n";
    write(&world, "b.test.mjs", broken);
    let part = event(&mut run, "run_started");
    assert_eq!(
        part["argv"],
        serde_json::json!(["node", "--test", "b.test.mjs"])
    );
    assert_eq!(event(&mut run, "run_ended")["failed"], 1);
    write(
        &world,
        "b.test.mjs",
        &broken.replace("throw new Error('no');", ""),
    );
    assert_eq!(event(&mut run, "run_started")["part"], true);
    assert_eq!(event(&mut run, "run_ended")["passed"], 1);
    assert_eq!(event(&mut run, "run_started")["part"], false);
    assert_eq!(event(&mut run, "run_ended")["passed"], 2);
    interrupt(&world, run);
}

#[test]
fn a_file_that_the_command_writes_does_not_begin_runs_for_ever() {
    let world = Fixture::new();
    let script = "cat /proc/sys/kernel/random/uuid > stamp";
    let mut run = watch(&world, &[], &["sh", "-c", script]);
    let mut runs = 0;
    // It writes once in each run, until that is understood.
    while runs < 5 {
        event(&mut run, "run_ended");
        runs += 1;
    }
    write(&world, "source", "");
    loop {
        let begun = event(&mut run, "run_started");
        if begun["changed"]
            .as_array()
            .unwrap()
            .contains(&"source".into())
        {
            break;
        }
        assert!(begun["run"].as_u64().unwrap() < 12, "{begun}");
    }
    interrupt(&world, run);
}
