//! Programs that say much, and listeners that do not listen: neither the program nor the
//! supervisor's memory notices.

use cogo_sandbox::control::{ControlClient, Notice};
use cogo_sandbox::exec_dir::ExecDir;
use cogo_sandbox::log::{Entry, LogReader};
use cogo_sandbox::spec::Stdin;
use cogo_sandbox::start::Started;

use crate::fixture::{Place, ended, wait_for_output};
use crate::host::until;

/// More than any queue between the program and a listener holds.
const FLOOD: usize = 48 << 20;

/// Promised in `docs/limits.md`.
const PRIVATE_MAX: u64 = 2_000_000;

/// Floods, says so beside the log, and waits to be let go.
fn flood_script() -> String {
    format!(
        "yes 'a line as a build prints it' | head -c {FLOOD}; touch flooded; \
             while [ ! -e go ]; do sleep 0.02; done; exit 4"
    )
}

/// Memory of a process that is not shared with another, in bytes.
fn private_memory(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let kib = |line: &str| -> Option<u64> { line.split_whitespace().nth(1)?.parse().ok() };
    let private =
        |line: &&str| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:");
    let rollup = rollup.expect("a live supervisor");
    rollup.lines().filter(private).filter_map(kib).sum::<u64>() * 1024
}

/// The most private memory a supervisor was seen with until its program has flooded.
fn peak_until_flooded(place: &Place, started: &Started) -> u64 {
    let mut peak = 0;
    until("the flood is over", || {
        peak = peak.max(private_memory(started.running.supervisor_pid));
        place.workspace.join("flooded").exists()
    });
    peak
}

fn let_go(place: &Place) {
    std::fs::write(place.workspace.join("go"), "").expect("a file");
}

/// Bytes in the rest of a log.
fn rest(reader: &mut LogReader) -> usize {
    let mut bytes = 0;
    while let Some(entry) = reader.next().expect("a readable log") {
        match entry {
            Entry::Record(record) => bytes += record.bytes.len(),
            Entry::Cut { .. } => panic!("nothing may be cut"),
        }
    }
    bytes
}

#[test]
fn a_supervisor_keeps_to_two_megabytes() {
    let place = Place::new();
    let mut spec = place.script(&format!(
        "echo ready; while [ ! -e start ]; do sleep 0.02; done; {}",
        flood_script()
    ));
    spec.stdin = Stdin::Open;
    let started = place.start(&spec);
    wait_for_output(&started.exec, "ready\n");
    let idle = private_memory(started.running.supervisor_pid);
    std::fs::write(place.workspace.join("start"), "").expect("a file");
    let flooding = peak_until_flooded(&place, &started);
    let after = private_memory(started.running.supervisor_pid);
    println!("private memory: idle {idle}, flooding {flooding}, after {after}");
    assert!(
        idle < PRIVATE_MAX && flooding < PRIVATE_MAX && after < PRIVATE_MAX,
        "{idle} {flooding} {after}"
    );
    let_go(&place);
    ended(&started.exec).expect_exit(4);
}

#[test]
fn a_log_reader_that_stops_reading_holds_nobody_up() {
    let place = Place::new();
    let started = place.start(&place.script(&flood_script()));
    let mut stalled = LogReader::open(&started.exec.log_dir(), 0).expect("a log");
    let mut seen = 0;
    until("the first output", || {
        if let Some(Entry::Record(record)) = stalled.next().expect("a readable log") {
            seen = record.bytes.len();
        }
        seen > 0
    });
    assert!(peak_until_flooded(&place, &started) < PRIVATE_MAX);
    let_go(&place);
    ended(&started.exec).expect_exit(4);
    assert_eq!(seen + rest(&mut stalled), FLOOD);
}

#[test]
fn clients_that_stop_reading_hold_nobody_up() {
    let place = Place::new();
    let started = place.start(&place.script(&flood_script()));
    let stalled: Vec<_> = (0..40).map(|_| connect(&started.exec)).collect();
    assert!(peak_until_flooded(&place, &started) < PRIVATE_MAX);
    let listening = connect(&started.exec);
    let_go(&place);
    let ended = ended(&started.exec);
    assert_eq!(ended.expect_exit(4).stdout.len(), FLOOD);
    // Whoever listens is told the end; who did not finds old news and then the end of the line.
    assert_eq!(notices(&listening).last(), Some(&Notice::Ended));
    for client in stalled {
        assert_eq!(notices(&client).first(), Some(&Notice::Running));
    }
}

fn connect(exec: &ExecDir) -> ControlClient {
    ControlClient::connect(exec).expect("a supervisor")
}

fn notices(client: &ControlClient) -> Vec<Notice> {
    std::iter::from_fn(|| client.receive().expect("a working socket")).collect()
}
