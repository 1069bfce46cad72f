//! `cogo test`: real runners in real sandboxes, with tests that are broken, flaky, too slow and too big.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Fixture, Ran, Running, finish, strongest_tier};

fn write(world: &Fixture, name: &str, text: &str) {
    let path = world.workspace().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn command(world: &Fixture, options: &[&str], argv: &[&str]) -> Command {
    let tier = ["test", "--isolation", strongest_tier()];
    world.cogo([&tier, options, &["--"], argv].concat())
}

fn test(world: &Fixture, options: &[&str], argv: &[&str]) -> Ran {
    finish(&mut command(world, options, argv))
}

/// The last event of JSON output.
fn report(ran: &Ran) -> Value {
    let last = ran.stdout.lines().next_back().unwrap_or_default();
    let event: Value = serde_json::from_str(last).unwrap();
    assert_eq!(event["event"], "tests_finished", "{ran:?}");
    event["report"].clone()
}

/// The class of each test of a report that is not good.
fn classes(report: &Value) -> Vec<String> {
    let tests = report["tests"].as_array().unwrap().iter();
    let mut classes: Vec<String> = tests
        .filter(|test| test["class"] != "good")
        .map(|test| {
            format!(
                "{} {}",
                test["class"].as_str().unwrap(),
                test["name"].as_str().unwrap()
            )
        })
        .collect();
    classes.sort();
    classes
}

/// A test of node that fails the first time, one that always does, and two that never do.
const NODE: &str = "
import {test, describe, it} from 'node:test'; import assert from 'node:assert'; import fs from 'node:fs';
const tries = () => { let n = 0; try { n = +fs.readFileSync('tries', 'utf8'); } catch {} fs.writeFileSync('tries', `${n + 1}`); return n; };
describe('shop', () => { it('opens', () => {}); it('sells (1.5 kg)', () => assert.ok(tries() > 0, 'not yet')); });
test('closes', () => { if (process.env.BROKEN) assert.equal(1, 2); });
";

#[test]
fn a_flaky_test_is_run_again_alone_and_told() {
    let world = Fixture::new();
    write(&world, "shop.mjs", NODE);
    let ran = test(
        &world,
        &["--json", "--junit", "report.xml"],
        &["node", "--test", "shop.mjs"],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found = report(&ran);
    assert_eq!(found["outcome"], "recovered", "{found}");
    assert_eq!(classes(&found), ["flaky shop > sells (1.5 kg)"]);
    let written = std::fs::read_to_string(world.workspace().join("report.xml")).unwrap();
    assert!(
        written.contains("<flakyFailure message=\"not yet\""),
        "{written}"
    );
    // It was the only one that was run again.
    assert_eq!(
        std::fs::read_to_string(world.workspace().join("tries")).unwrap(),
        "2"
    );
    // Later runs know of it.
    std::fs::remove_file(world.workspace().join("tries")).unwrap();
    let ran = test(
        &world,
        &["--fail-on-flaky"],
        &["node", "--test", "shop.mjs"],
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("(2 of 4 tries)"), "{ran:?}");
}

#[test]
fn a_broken_test_fails_each_time_unless_it_is_excused() {
    let world = Fixture::new();
    write(&world, "shop.mjs", NODE);
    let options = ["--quiet", "--env", "BROKEN=1", "--reruns", "2"];
    let ran = test(&world, &options, &["node", "--test", "shop.mjs"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("✗ broken closes: 1 == 2"), "{ran:?}");
    assert!(ran.stderr.contains("failed 3 of 3 times"), "{ran:?}");
    let entry = |expires| {
        format!("[[test]]\nname = 'closes'\nreason = 'issue 41'\nexpires = '{expires}'\n")
    };
    write(&world, "cogo-quarantine.toml", &entry("2999-01-01"));
    let ran = test(&world, &options, &["node", "--test", "shop.mjs"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("excused: issue 41"), "{ran:?}");
    write(&world, "cogo-quarantine.toml", &entry("2020-01-01"));
    let ran = test(&world, &options, &["node", "--test", "shop.mjs"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains("was excused until 2020-01-01"),
        "{ran:?}"
    );
    write(
        &world,
        "cogo-quarantine.toml",
        "[[test]]\nname = 'closes'\n",
    );
    let ran = test(&world, &options, &["node", "--test", "shop.mjs"]);
    assert_eq!(ran.code, Some(125), "{ran:?}");
    assert!(ran.stderr.contains("missing field `reason`"), "{ran:?}");
}

/// A crate whose tests do what their names say.
const CRATE: &str = "
#[test] fn passes() {}
#[test] fn exits() { if std::env::var_os(\"EXITS\").is_some() { std::process::exit(3) } }
#[test] fn hangs() { while std::env::var_os(\"HANGS\").is_some() { std::thread::sleep(std::time::Duration::from_secs(1)) } }
";

/// `cogo` in the world of whoever runs these tests: toolchains are found by it.
fn cargo(world: &Fixture, options: &[&str], argv: &[&str]) -> Ran {
    let mut command = command(world, options, argv);
    for name in [
        "PATH",
        "HOME",
        "RUSTUP_HOME",
        "CARGO_HOME",
        "RUSTUP_TOOLCHAIN",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    finish(&mut command)
}

/// Nothing for a user who cannot reach a Rust toolchain.
fn crate_of_tests() -> Option<Fixture> {
    let version = Command::new("cargo").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user has no cargo");
        return None;
    }
    let world = Fixture::new();
    write(
        &world,
        "Cargo.toml",
        "[package]\nname = 'shop'\nedition = '2024'\n[workspace]\n",
    );
    write(&world, "src/lib.rs", "");
    write(&world, "tests/shop.rs", CRATE);
    let built = cargo(&world, &["--reruns", "0"], &["cargo", "test", "--no-run"]);
    assert_eq!(built.code, Some(0), "{built:?}");
    Some(world)
}

#[test]
fn a_test_that_ends_its_program_does_not_hide_the_others() {
    let Some(world) = crate_of_tests() else {
        return;
    };
    let ran = cargo(
        &world,
        &["--json", "--env", "EXITS=1", "--reruns", "1"],
        &["cargo", "test"],
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let found = report(&ran);
    assert_eq!(classes(&found), ["broken exits"]);
    let passed = |name: &str| {
        let tests = found["tests"].as_array().unwrap();
        tests
            .iter()
            .any(|test| test["name"] == name && test["status"] == "passed")
    };
    assert!(passed("passes") && passed("hangs"), "{found}");
}

#[test]
fn a_test_that_hangs_is_found_and_the_others_are_run() {
    let Some(world) = crate_of_tests() else {
        return;
    };
    let ran = cargo(
        &world,
        &["--json", "--env", "HANGS=1", "--timeout", "10s"],
        &["cargo", "test"],
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let found = report(&ran);
    assert_eq!(found["verdict"]["kind"], "timed_out", "{found}");
    assert_eq!(classes(&found), ["timed-out hangs"]);
}

#[test]
fn too_little_memory_is_doubled() {
    let world = Fixture::new();
    let script = "size=$(head -c 90000000 /dev/zero | tail | wc -c)\n\
        if [ \"$size\" = 90000000 ]; then echo ok 1 - big; else echo not ok 1 - big; exit 1; fi\n";
    write(&world, "suite.sh", script);
    let ran = test(
        &world,
        &["--json", "--memory", "64MiB"],
        &["sh", "suite.sh"],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found = report(&ran);
    assert_eq!(found["verdict"]["kind"], "out_of_memory", "{found}");
    let way = &found["recovered"][0];
    assert_eq!(
        (&way["change"], &way["helped"]),
        (&"memory 128MiB".into(), &true.into())
    );
    let bounded = test(
        &world,
        &["--memory", "64MiB", "--memory-max", "100MiB"],
        &["sh", "suite.sh"],
    );
    assert_ne!(bounded.code, Some(0), "{bounded:?}");
}

#[test]
fn results_of_pytest_are_its_own() {
    let has_pytest = Command::new("python3")
        .args(["-m", "pytest", "--version"])
        .output();
    if !has_pytest.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no pytest");
        return;
    }
    let world = Fixture::new();
    let tests = "import os, pytest\ndef test_ok(): pass\n\
        @pytest.mark.parametrize('x', ['a b'])\ndef test_flaky(x):\n    known = os.path.exists('seen')\n    \
        open('seen', 'w').close()\n    assert known, 'first time'\ndef test_bad(): assert 1 == 2\n";
    write(&world, "test_shop.py", tests);
    let ran = cargo(&world, &["--json"], &["python3", "-m", "pytest", "-x"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(
        classes(&report(&ran)),
        ["broken test_bad", "flaky test_flaky[a b]"]
    );
}

#[test]
fn a_command_that_fails_without_a_test_keeps_its_code() {
    let world = Fixture::new();
    write(&world, "broken.c", "int main(void) { return nothing; }\n");
    let ran = test(
        &world,
        &["--quiet"],
        &["sh", "-c", "cc -c broken.c || exit 7"],
    );
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.stderr.contains("broken.c:1:25: error: "), "{ran:?}");
    assert!(ran.stderr.contains("the command exited with 7"), "{ran:?}");
    let ran = test(&world, &[], &["no-such-program"]);
    assert_eq!(ran.code, Some(127), "{ran:?}");
}

#[test]
fn results_in_files_are_read() {
    let world = Fixture::new();
    let script = "mkdir -p out; if [ -e seen ]; then bad=; else bad='<failure message=\"first\"/>'; fi; touch seen\n\
        echo \"<testsuite name='s'><testcase name='a'/><testcase name='b'>$bad</testcase></testsuite>\" > out/r.xml\n\
        [ -z \"$bad\" ]\n";
    write(&world, "suite.sh", script);
    let ran = test(
        &world,
        &["--json", "--results", "out/*.xml"],
        &["sh", "suite.sh"],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(classes(&report(&ran)), ["flaky b"]);
}

#[test]
fn an_interrupt_ends_the_tests() {
    let world = Fixture::new();
    let mut run = Running::start(&mut command(
        &world,
        &[],
        &["sh", "-c", "echo not ok 1 - a; echo begun; sleep 600"],
    ));
    while run.line() != "begun\n" {}
    run.signal(Signal::INT);
    let ran = run.finish();
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.stderr.contains("cancelled"), "{ran:?}");
    assert_eq!(finish(&mut world.cogo(["ps", "--quiet"])).stdout, "");
}
