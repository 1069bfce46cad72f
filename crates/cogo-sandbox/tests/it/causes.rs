//! Why a command failed, in the kernel's words: limits that were hit, by whom, and whether it
//! mattered.

use cogo_sandbox::verdict::{ExitStatus, Incident, Outcome};

use crate::fixture::{Ended, Place, has_cgroups, strongest};

const MIB: u64 = 1 << 20;

/// Runs a script that may use so much memory. `None` where nobody limits process trees.
fn run_in_memory(limit: u64, script: &str) -> Option<Ended> {
    if !has_cgroups() {
        eprintln!("skipped: no control groups for this user");
        return None;
    }
    let place = Place::new();
    let mut spec = place.script(script);
    spec.limits.memory = Some(limit);
    Some(place.run(&spec))
}

/// The peak of an OOM kill is the limit, but for what the kernel had in hand.
#[track_caller]
fn expect_near(peak: u64, limit: u64) {
    assert!(peak <= limit && peak >= limit - MIB, "{peak} of {limit}");
}

#[track_caller]
fn expect_oom(ended: &Ended, limit: u64, expected: ExitStatus) {
    let Outcome::OutOfMemory {
        limit: told,
        peak,
        status,
    } = ended.verdict.outcome
    else {
        panic!("{ended:?}")
    };
    assert_eq!((told, status), (limit, expected));
    expect_near(peak, limit);
    expect_oom_kills(ended, limit);
}

#[track_caller]
fn expect_oom_kills(ended: &Ended, expected: u64) {
    let [Incident::OomKills { count, limit, peak }] = ended.verdict.incidents[..] else {
        panic!("{ended:?}")
    };
    assert_eq!((count, limit), (1, expected));
    expect_near(peak, limit);
}

#[test]
fn a_command_killed_at_the_memory_limit_is_out_of_memory() {
    let Some(ended) = run_in_memory(32 * MIB, "echo before; exec tail /dev/zero") else {
        return;
    };
    expect_oom(&ended, 32 * MIB, ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(ended.text(), "before");
}

#[test]
fn a_command_that_failed_by_a_grandchilds_oom_is_out_of_memory() {
    let script = "sh -c 'tail /dev/zero; exit $?' || exit 7";
    let Some(ended) = run_in_memory(32 * MIB, script) else {
        return;
    };
    expect_oom(&ended, 32 * MIB, ExitStatus::Exited(7));
}

#[test]
fn a_command_that_survived_a_grandchilds_oom_succeeded() {
    let script = "sh -c 'tail /dev/zero; exit $?'; echo $?; exit 0";
    let Some(ended) = run_in_memory(32 * MIB, script) else {
        return;
    };
    assert_eq!(ended.expect_exit(0).text(), "137");
    expect_oom_kills(&ended, 32 * MIB);
}

#[test]
fn memory_left_over_is_no_incident() {
    let Some(ended) = run_in_memory(
        64 * MIB,
        "dd if=/dev/zero of=/dev/null bs=32M count=1; exit 3",
    ) else {
        return;
    };
    ended.expect_exit(3);
    assert_eq!(ended.verdict.incidents, []);
}

#[test]
fn a_command_refused_a_process_has_exhausted_its_pids() {
    if !has_cgroups() {
        eprintln!("skipped: no control groups for this user");
        return;
    }
    let place = Place::new();
    let mut spec = place.script("for i in 1 2 3 4 5 6; do sleep 100 & done; echo all; exit 0");
    spec.limits.pids = Some(4);
    let ended = place.run(&spec);
    let Outcome::PidsExhausted {
        limit: 4,
        status: ExitStatus::Exited(code),
    } = ended.verdict.outcome
    else {
        panic!("{ended:?}")
    };
    assert_ne!(code, 0);
    assert_eq!(ended.text(), "", "the shell gives up at once");
    let hits = |incident: &Incident| {
        matches!(
            incident,
            Incident::PidsLimitHits {
                limit: 4,
                count: 1..
            }
        )
    };
    assert!(ended.verdict.incidents.iter().any(hits), "{ended:?}");
    assert_eq!(ended.verdict.survivors, 0);
}

#[test]
fn as_many_processes_as_the_limit_says_may_run() {
    if !has_cgroups() {
        return;
    }
    let place = Place::new();
    let mut spec = place.script("sleep 0.1 & sleep 0.1 & sleep 0.1 & wait; echo all");
    spec.limits.pids = Some(4);
    let ended = place.run(&spec);
    assert_eq!(ended.expect_exit(0).text(), "all");
    assert_eq!(ended.verdict.incidents, []);
}

#[test]
fn a_full_private_disk_is_the_cause() {
    let place = Place::new();
    for file in ["/tmp/x", "$HOME/x"] {
        let mut spec = place.script(&format!("head -c 4M /dev/zero > {file} || exit 9"));
        spec.limits.disk = Some(2 * MIB);
        let ended = place.run(&spec);
        let expected = Outcome::DiskFull {
            limit: 2 * MIB,
            status: ExitStatus::Exited(9),
        };
        assert_eq!(ended.verdict.outcome, expected, "{file}");
        assert_eq!(
            ended.verdict.incidents,
            [Incident::DiskFull { limit: 2 * MIB }]
        );
    }
}

#[test]
fn a_core_dump_is_told() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with(['|', '/']) {
        eprintln!("skipped: core dumps of this host go to {pattern}");
        return;
    }
    let place = Place::new();
    let ended = place.run_script("ulimit -c unlimited || exit 99; kill -ABRT $$");
    if ended.verdict.outcome == (Outcome::Exited { code: 99 }) {
        eprintln!("skipped: this user may not dump core");
        return;
    }
    let expected = Outcome::Signaled {
        signal: libc::SIGABRT,
        core_dumped: true,
    };
    assert_eq!(
        ended.verdict.outcome,
        expected,
        "{ended:?} at {:?}",
        strongest()
    );
}
