//! A process that commits is killed again and again: what it was told of is there, whole.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use cogo_protocol::task::TaskState;
use cogo_store::{Change, Durability, SqliteStore, Store, TaskFilter};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::fixture::{append, begin, put_task, task};

/// Tasks that each commit puts, all with the commit's number.
const TASKS: u64 = 5;
/// Commits that wait together.
const IN_FLIGHT: usize = 7;
const ROUNDS: u32 = 30;
const DATABASE: &str = "COGO_STORE_CRASH_DATABASE";
const DURABILITY: &str = "COGO_STORE_CRASH_DURABILITY";

fn durability(name: &str) -> Durability {
    match name {
        "full" => Durability::Full,
        "normal" => Durability::Normal,
        other => panic!("no durability `{other}`"),
    }
}

/// What commit `number` does: one event, and every task rewritten with that number.
fn changes(number: u64) -> Vec<Change> {
    let mut changes = vec![append(number)];
    for at in 0..TASKS {
        let mut task = task(&format!("t{at}"), at, TaskState::Queued);
        task.created_at_ms = number;
        // Big ones have a second row, which must not stay behind.
        task.request.command.command = Some(number.to_string().repeat(1 + at as usize * 700));
        changes.push(put_task(&task));
    }
    changes
}

/// Not a test by itself: the process that the tests below start and kill.
#[test]
#[ignore = "started by the crash tests"]
fn committer() {
    let path = std::env::var_os(DATABASE).expect("it is started by the crash tests");
    let durability = durability(&std::env::var(DURABILITY).unwrap());
    let store = SqliteStore::open(Path::new(&path), durability).unwrap();
    let mut number = store.event_last().unwrap();
    let mut waiting = std::collections::VecDeque::new();
    // Ends by being killed, or when nobody listens any more.
    loop {
        while waiting.len() < IN_FLIGHT {
            number += 1;
            waiting.push_back((number, begin(&store, changes(number))));
        }
        let (number, answer) = waiting.pop_front().unwrap();
        answer.recv().unwrap().unwrap();
        if writeln!(io::stdout(), "acknowledged {number}").is_err() {
            return;
        }
    }
}

fn start_committer(database: &Path, durability: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::committer", "--ignored", "--nocapture"])
        .env(DATABASE, database)
        .env(DURABILITY, durability)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Reads the numbers that were acknowledged; what the test runner prints is passed over.
fn acknowledged(output: &mut BufReader<ChildStdout>) -> Option<u64> {
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        // A line that was cut short by the kill was not said.
        let number = line.strip_suffix('\n').and_then(|line| {
            let (_, number) = line.split_once("acknowledged ")?;
            number.parse().ok()
        });
        if number.is_some() {
            return number;
        }
        line.clear();
    }
    None
}

/// Lets a process commit, kills it after a random number of commits and returns the last number
/// that it was told of.
fn killed_committer(database: &Path, durability: &str, commits: u32) -> u64 {
    let (mut child, mut output) = start_committer(database, durability);
    let mut last = 0;
    for _ in 0..commits {
        last = acknowledged(&mut output).expect("it commits until it is killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(number) = acknowledged(&mut output) {
        last = number;
    }
    last
}

fn check(database: &Path, durability: Durability, acknowledged: u64) {
    let store = SqliteStore::open(database, durability).unwrap();
    let last = store.event_last().unwrap();
    assert!(last >= acknowledged, "{last} < {acknowledged}");
    assert!(last <= acknowledged + IN_FLIGHT as u64, "{last}");
    let events = store.events_after(0, usize::MAX).unwrap();
    let numbers = events.iter().map(|event| event.number);
    assert!(numbers.eq(1..=last), "events are missing");
    let mut tasks = store.tasks(&TaskFilter::default()).unwrap();
    tasks.reverse();
    let expected: Vec<_> = changes(last)
        .into_iter()
        .filter_map(|change| match change {
            Change::TaskPut(task) => Some(*task),
            _ => None,
        })
        .collect();
    assert_eq!(tasks, expected, "a commit is half there");
}

fn kill_again_and_again(durability_name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("store.db");
    let seed: [u8; 32] = std::array::from_fn(|at| at as u8 ^ std::process::id() as u8);
    println!("seed {seed:?}");
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    for round in 0..ROUNDS {
        let commits = 1 + random.next_u32() % 60;
        let acknowledged = killed_committer(&database, durability_name, commits);
        println!("round {round}: killed after {acknowledged}");
        check(&database, durability(durability_name), acknowledged);
    }
}

#[test]
fn a_full_store_survives_kills() {
    kill_again_and_again("full");
}

#[test]
fn a_normal_store_survives_kills() {
    kill_again_and_again("normal");
}

#[test]
fn another_process_is_told_who_owns_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("store.db");
    let (mut child, mut output) = start_committer(&database, "full");
    acknowledged(&mut output).unwrap();
    let error = SqliteStore::open(&database, Durability::Full).unwrap_err();
    let holder = format!("is in use by process {}", child.id());
    assert!(error.to_string().contains(&holder), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    SqliteStore::open(&database, Durability::Full).unwrap();
}
