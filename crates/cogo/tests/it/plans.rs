//! `cogo plan`: steps in real sandboxes, through deaths and mistakes.

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Fixture, Ran, Running, finish, strongest_tier};
use crate::server::fixture::Server;

/// Writes a plan of these steps.
fn write(world: &Fixture, steps: &str) {
    let text = format!("parallel: 4\nsteps:\n{steps}");
    std::fs::write(world.workspace().join("cogo.yaml"), text).unwrap();
}

fn read(world: &Fixture, name: &str) -> String {
    std::fs::read_to_string(world.workspace().join(name)).unwrap_or_default()
}

fn arguments<'a>(command: &[&'a str], options: &[&'a str]) -> Vec<&'a str> {
    let tier = ["--isolation", strongest_tier()];
    [&["plan"], command, &tier, options].concat()
}

fn run(world: &Fixture, options: &[&str]) -> Ran {
    finish(&mut world.cogo(arguments(&["run"], options)))
}

fn resume(world: &Fixture, options: &[&str]) -> Ran {
    finish(&mut world.cogo(arguments(&["resume", "last"], options)))
}

/// The events of a kind in JSON output, by the step they are of.
fn steps_with(ran: &Ran, kind: &str) -> Vec<String> {
    let events = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["event"] == kind)
        .map(|event| event["step"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_generated_project_is_planned_built_and_tested() {
    let world = Fixture::new();
    let makefile = "greeting: greeting.c\n\tcc -o greeting greeting.c\n\ntest: greeting\n\t./greeting | grep -q hello\n";
    std::fs::write(world.workspace().join("Makefile"), makefile).unwrap();
    let program = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";
    std::fs::write(world.workspace().join("greeting.c"), program).unwrap();
    let init = finish(&mut world.cogo(["plan", "init"]));
    assert_eq!(init.code, Some(0), "{init:?}");
    let again = finish(&mut world.cogo(["plan", "init"]));
    assert!(again.stderr.contains("--print"), "{again:?}");
    let ran = run(&world, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("the plan succeeded"), "{ran:?}");
    assert!(world.workspace().join("greeting").exists());
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_nothing_runs() {
    let world = Fixture::new();
    write(
        &world,
        "  - {id: a, type: build, run: 'touch ran'}\n  - {id: b, type: test, run: x, needs: [aa, b]}\n",
    );
    for command in [["plan", "validate"], ["plan", "run"]] {
        let ran = finish(&mut world.cogo(command));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(
            ran.stderr.contains("cogo.yaml:4:41: there is no step `aa`"),
            "{ran:?}"
        );
        assert!(ran.stderr.contains("is `a` meant?"), "{ran:?}");
    }
    assert!(!world.workspace().join("ran").exists());
    let missing = finish(&mut world.cogo(["plan", "run", "nowhere.yaml"]));
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("cogo plan init"), "{missing:?}");
}

#[test]
fn steps_are_sandboxed_bounded_and_told_as_they_end() {
    let world = Fixture::new();
    write(
        &world,
        "
  - {id: home, type: custom, run: 'test -z \"$(ls -A ~)\" && echo ::output kind=bare', outputs: [kind]}
  - {id: told, type: custom, argv: [sh, -c, 'test $KIND = bare'], needs: [home], env: {KIND: '${{ needs.home.outputs.kind }}'}}
  - {id: slow, type: test, run: 'sleep 60', timeout: 200ms, on-failure: continue}
",
    );
    std::fs::write(world.home().join("secret"), "").unwrap();
    let ran = run(&world, &["--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let slow = ran.stdout.lines().find(|line| line.contains("timed_out"));
    assert!(slow.is_some_and(|line| line.contains("slow")), "{ran:?}");
    let mut ended = steps_with(&ran, "step_ended");
    ended.sort();
    assert_eq!(ended, ["home", "slow", "told"]);
    let last: Value = serde_json::from_str(ran.stdout.lines().next_back().unwrap()).unwrap();
    assert_eq!(last["outcome"], "failed");
}

const GATED: &str = "
  - {id: first, type: build, run: 'echo x >> firsts'}
  - {id: gated, type: test, run: 'echo x >> gateds; echo begun; until [ -e go ]; do sleep 0.01; done; echo over', needs: [first]}
  - {id: last, type: custom, run: 'echo x >> lasts', needs: [gated]}
";

/// Reads output until a line has this in it.
fn await_line(run: &mut Running, part: &str) {
    loop {
        let line = run.line();
        assert!(!line.is_empty(), "the output ended before `{part}`");
        if line.contains(part) {
            return;
        }
    }
}

#[test]
fn a_killed_run_goes_on_with_the_very_same_execs() {
    let world = Fixture::new();
    write(&world, GATED);
    let mut run = Running::start(&mut world.cogo(arguments(&["run"], &[])));
    await_line(&mut run, "begun");
    run.signal(Signal::KILL);
    run.status();
    std::fs::write(world.workspace().join("go"), "").unwrap();
    let ran = resume(&world, &["--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(steps_with(&ran, "step_started"), ["gated", "last"]);
    assert!(ran.stdout.contains("over"), "{ran:?}");
    for file in ["firsts", "gateds", "lasts"] {
        assert_eq!(read(&world, file), "x\n", "{file}");
    }
}

#[test]
fn an_interrupted_run_stops_its_steps_and_can_go_on() {
    let world = Fixture::new();
    write(&world, GATED);
    let mut run = Running::start(&mut world.cogo(arguments(&["run"], &[])));
    await_line(&mut run, "begun");
    run.signal(Signal::INT);
    let ran = run.finish();
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.stdout.contains("was cancelled"), "{ran:?}");
    let running = finish(&mut world.cogo(["ps", "--quiet"]));
    assert_eq!(running.stdout, "");
    std::fs::write(world.workspace().join("go"), "").unwrap();
    assert_eq!(resume(&world, &[]).code, Some(0));
    assert_eq!(read(&world, "firsts"), "x\n");
    assert_eq!(read(&world, "gateds"), "x\nx\n");
}

#[test]
fn two_processes_do_not_work_on_one_run() {
    let world = Fixture::new();
    write(&world, GATED);
    let mut run = Running::start(&mut world.cogo(arguments(&["run"], &[])));
    await_line(&mut run, "begun");
    let second = resume(&world, &[]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("another process"), "{second:?}");
    std::fs::write(world.workspace().join("go"), "").unwrap();
    assert_eq!(run.finish().code, Some(0));
}

#[test]
fn a_servers_workers_take_the_sandbox_steps() {
    let server = Server::start(&[]);
    let world = &server.world;
    write(
        world,
        "
  - {id: note, type: file-operation, run: 'echo 5 > number'}
  - {id: test, type: test, run: 'echo here; test $(cat number) = 5; exit 3', needs: [note]}
",
    );
    let url = format!("http://{}", server.address);
    let ran = run(world, &["--json", "--server", &url]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("here"), "{ran:?}");
    let tasks = finish(&mut world.cogo(["ps", "--all", "--quiet", "--server", &url]));
    assert_eq!(tasks.stdout.lines().count(), 1, "{tasks:?}");
    assert_eq!(server.task(tasks.stdout.trim())["verdict"]["code"], 3);
}

#[test]
fn what_compilers_find_is_told_in_short_and_as_sarif() {
    let world = Fixture::new();
    std::fs::write(
        world.workspace().join("broken.c"),
        "int main(void) { return nothing; }\n",
    )
    .unwrap();
    write(
        &world,
        "  - {id: compile, type: compilation, run: cc -c broken.c}\n",
    );
    let ran = run(&world, &["--quiet", "--sarif", "found.sarif"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let short = "compile │ broken.c:1:25: error: ";
    assert!(ran.stdout.contains(short), "{ran:?}");
    let sarif: Value = serde_json::from_str(&read(&world, "found.sarif")).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 1, "{sarif}");
    let ran = run(&world, &["--json"]);
    assert_eq!(steps_with(&ran, "step_diagnostic"), ["compile"]);
}

#[test]
fn a_flaky_test_does_not_fail_its_step() {
    let world = Fixture::new();
    let test = "import {test} from 'node:test'; import fs from 'node:fs';\n\
        test('sells', () => { const known = fs.existsSync('seen'); fs.writeFileSync('seen', ''); if (!known) throw new Error('not yet'); });\n";
    std::fs::write(world.workspace().join("shop.mjs"), test).unwrap();
    write(
        &world,
        "  - {id: test, type: test, run: node --test shop.mjs}\n",
    );
    let ran = run(&world, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout
            .contains("test │ flaky sells: failed 1 of 2 times"),
        "{ran:?}"
    );
    std::fs::remove_file(world.workspace().join("seen")).unwrap();
    write(
        &world,
        "  - {id: test, type: test, run: node --test shop.mjs, reruns: 0}\n",
    );
    assert_eq!(run(&world, &[]).code, Some(1));
}
