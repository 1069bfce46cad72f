//! What an exec used, compared with what its programs say of themselves.

use std::time::{Duration, Instant};

use cogo_sandbox::verdict::{Usage, UsageSource};

use cogo_sandbox::start::Start;
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::fixture::{Ended, Place, ended, has_cgroups};

const MIB: u64 = 1 << 20;

/// Counts up and prints what the shell and its children used, as `getrusage` told them.
const COUNT: &str = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; times";

fn cpu(usage: &Usage) -> Duration {
    usage.cpu_user + usage.cpu_system
}

/// Sums all times of the form `0m1.250000s`.
fn told_by_times(output: &str) -> Duration {
    let seconds = output.split_whitespace().map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').expect("minutes");
        let minutes: f64 = minutes.parse().expect("a number");
        minutes * 60.0 + seconds.parse::<f64>().expect("a number")
    });
    Duration::from_secs_f64(seconds.sum())
}

/// All that the programs had, and little more: what the sandbox itself and the shell's start used.
#[track_caller]
fn expect_cpu(ended: &Ended) {
    let told = told_by_times(&ended.text());
    let counted = cpu(&ended.verdict.usage);
    assert!(counted >= told.mul_f64(0.97), "{counted:?} of {told:?}");
    assert!(
        counted <= told.mul_f64(1.15) + Duration::from_millis(100),
        "{counted:?} of {told:?}"
    );
}

#[test]
fn cpu_time_is_what_the_program_had() {
    let ended = Place::new().run_script(COUNT);
    ended.expect_exit(0);
    assert!(told_by_times(&ended.text()) > Duration::from_millis(20));
    expect_cpu(&ended);
}

#[test]
fn cpu_time_of_all_processes_is_counted() {
    let place = Place::new();
    let ended = place.run_script(&format!(
        "({COUNT}) & ({COUNT}) & (setsid sh -c '{COUNT}') & wait"
    ));
    ended.expect_exit(0);
    expect_cpu(&ended);
}

#[test]
fn cpu_time_of_daemons_is_counted() {
    if !has_cgroups() {
        eprintln!("skipped: without control groups only what was waited for is counted");
        return;
    }
    let place = Place::new();
    let script = format!(
        "setsid sh -c '{COUNT} > told; mv told daemon; exec sleep 1000' & \
                          while [ ! -e daemon ]; do sleep 0.02; done; cat daemon; exit 0"
    );
    let ended = place.run_script(&script);
    ended.expect_exit(0);
    let told = told_by_times(&ended.text());
    assert!(cpu(&ended.verdict.usage) >= told.mul_f64(0.97), "{ended:?}");
}

#[test]
fn peak_memory_is_what_was_touched() {
    let place = Place::new();
    for mib in [24, 96] {
        let ended = place.run_script(&format!("dd if=/dev/zero of=/dev/null bs={mib}M count=1"));
        ended.expect_exit(0);
        let peak = ended.verdict.usage.memory_peak;
        assert!(
            peak >= mib * MIB && peak <= (mib + 12) * MIB,
            "{peak} for {mib} MiB"
        );
    }
}

#[test]
fn the_most_processes_at_once_are_counted() {
    let place = Place::new();
    // None of them ends before all are there.
    let ended = place.run_script(
        "mkfifo gate; exec 3<>gate; for i in 1 2 3 4 5; do (read line) <&3 & done; \
         for i in 1 2 3 4 5; do echo >&3; done; wait",
    );
    ended.expect_exit(0);
    match ended.verdict.usage.pids_peak {
        // The shell, five of its children, and process 1.
        Some(peak) => assert_eq!(peak, 7),
        None => eprintln!("skipped: this kernel does not count processes"),
    }
}

#[test]
fn bytes_written_to_storage_are_counted() {
    let place = Place::new();
    let ended = place.run_script("dd if=/dev/zero of=file bs=1M count=8 conv=fsync 2>/dev/null");
    ended.expect_exit(0);
    let memory_only = rustix::fs::statfs(&place.workspace)
        .expect("a file system")
        .f_type
        == libc::TMPFS_MAGIC;
    if memory_only {
        eprintln!("skipped: the workspace is not on storage");
        return;
    }
    let written = ended.verdict.usage.io_write;
    assert!((8 * MIB..=10 * MIB).contains(&written), "{written}");
}

#[test]
fn wall_time_spans_the_command() {
    let place = Place::new();
    let begin = Instant::now();
    let ended = place.run_script("sleep 0.3");
    let around = begin.elapsed();
    let wall = ended.verdict.usage.wall;
    assert!(
        wall >= Duration::from_millis(300) && wall <= around,
        "{wall:?} in {around:?}"
    );
}

#[test]
fn figures_name_their_source() {
    let place = Place::new();
    let mut started = place.start(&place.script("true"));
    let expected = match started.running.enforced.cgroup.as_str() {
        "v2" => UsageSource::CgroupV2,
        "v1" | "hybrid" => UsageSource::CgroupV1,
        "none" => UsageSource::Rusage,
        other => panic!("{other}"),
    };
    let ended = ended(&started.exec);
    started.reap().expect("a supervisor");
    assert_eq!(ended.verdict.usage.source, expected);
    assert_eq!(has_cgroups(), expected != UsageSource::Rusage);
}

#[test]
fn an_exec_of_a_session_is_told_apart_from_the_others() {
    let place = Place::new();
    let zygote = Zygote::start(place.launcher(), ZygoteOptions::default()).expect("a zygote");
    let session = zygote
        .open_session(&place.state, "session", &place.script("true"))
        .expect("a session");
    let run = |script: &str| {
        let spec = place.script(script);
        match session.start_exec(&place.state, &place.next_id(), &spec, &[]) {
            Ok(Start::Running(started)) => ended(&started.exec),
            other => panic!("{other:?}"),
        }
    };
    expect_cpu(run(COUNT).expect_exit(0));
    let idle = run("true");
    assert!(
        cpu(&idle.verdict.usage) < Duration::from_millis(100),
        "{idle:?}"
    );
    // The group's counters are the session's.
    assert_eq!(idle.verdict.usage.source, UsageSource::Rusage);
}
