//! Processes outside, process 1, and ways to outlive or outgrow an exec.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cogo_sandbox::verdict::{ExitStatus, Incident, Outcome, TimeoutClock};

use super::attempt::Control::{
    Absent, Free, FreeAsRoot, FreeAsRootUnlessForbidden, FreeUnlessForbidden,
};
use super::attempt::{Arena, Control, expect_refused};
use crate::fixture::has_cgroups;
use crate::host;

/// A process outside that is not to be touched.
struct Victim {
    child: Child,
    pid: i32,
    /// Where its memory holds [`SECRET`].
    address: String,
}

/// What the victim's memory holds.
const SECRET: &str = "the-victims-secret";
/// What its environment holds.
const VARIABLE: &str = "the-victims-variable";

impl Victim {
    fn new(arena: &Arena) -> Self {
        let mut child = Command::new(arena.program())
            .arg("victim")
            .env("COGO_VICTIM", VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a victim");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let (pid, address) = line.trim().split_once(' ').expect("two words");
        Self {
            pid: pid.parse().expect("a process id"),
            address: address.to_owned(),
            child,
        }
    }

    /// Fails unless it lives, runs and is traced by nobody.
    #[track_caller]
    fn expect_untouched(&self) {
        let found = host::process(self.pid).expect("a living victim");
        assert!(matches!(found.state, 'S' | 'R'), "{found:?}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.expect("a status");
        assert!(status.contains("TracerPid:\t0\n"), "{status}");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A name of at most 15 bytes, by which processes are found on the host.
fn marked_name(prefix: &str) -> String {
    format!("{prefix}{}", std::process::id())
}

/// Makes one attempt inside and its control.
fn check(attempt: &str, errors: &[&str], control: Control) {
    let Some(arena) = Arena::new() else {
        return;
    };
    arena.expect_refused(attempt, errors);
    arena.check_control(attempt, control);
}

/// Makes an attempt on a victim, and another one on the next victim without a sandbox.
fn check_on_victim(attempt: impl Fn(&Victim) -> String, errors: &[&str]) {
    let Some(arena) = Arena::new() else {
        return;
    };
    let victim = Victim::new(&arena);
    arena.expect_refused(&attempt(&victim), errors);
    victim.expect_untouched();
    let other = Victim::new(&arena);
    arena.check_control(&attempt(&other), Free);
}

#[test]
fn kill_a_process_of_the_host() {
    check_on_victim(|victim| format!("kill {}", victim.pid), &["ESRCH"]);
}

#[test]
fn kill_a_process_of_the_host_by_pidfd() {
    check_on_victim(|victim| format!("pidfd-kill {}", victim.pid), &["ESRCH"]);
}

#[test]
fn trace_a_process_of_the_host() {
    check_on_victim(|victim| format!("trace {}", victim.pid), &["ESRCH"]);
}

#[test]
fn read_the_memory_of_a_process_of_the_host() {
    check_on_victim(
        |victim| format!("read-memory {} {}", victim.pid, victim.address),
        &["ESRCH"],
    );
}

#[test]
fn see_the_command_line_of_a_process_of_the_host() {
    check_on_victim(
        |victim| format!("read /proc/{}/cmdline", victim.pid),
        &["ENOENT"],
    );
}

#[test]
fn take_a_descriptor_of_a_process_of_the_host() {
    check_on_victim(
        |victim| format!("take-descriptor {}", victim.pid),
        &["ESRCH"],
    );
}

#[test]
fn limit_a_process_of_the_host() {
    check_on_victim(
        |victim| format!("limit-other {}", victim.pid),
        &["EPERM", "ESRCH"],
    );
}

#[test]
fn slow_a_process_of_the_host_down() {
    check_on_victim(|victim| format!("renice-other {}", victim.pid), &["ESRCH"]);
}

#[test]
fn find_a_secret_in_the_environment_of_any_process() {
    check_on_victim(
        |victim| format!("find-environment {VARIABLE} {}", victim.pid),
        &["ESRCH"],
    );
}

#[test]
fn signal_every_process_of_the_host_in_turn() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let victim = Victim::new(&arena);
    arena.expect_refused(&format!("kill-range {}", victim.pid + 1000), &["ESRCH"]);
    victim.expect_untouched();
}

#[test]
fn kill_minus_one_stays_inside() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let victim = Victim::new(&arena);
    let ended = arena.inside("kill-all");
    assert_eq!(ended.expect_exit(0).text(), "REACHED: own child");
    victim.expect_untouched();
}

#[test]
fn memory_that_processes_of_the_host_share() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let key = std::process::id();
    let made = arena.outside(&format!("make-segment {key}"));
    let attempt = format!("shared-segment {key}");
    let inside = arena.inside(&attempt);
    let outside = arena.outside(&attempt);
    arena.outside(&format!("remove-segment {key}"));
    assert!(made.starts_with("REACHED"), "{made}");
    expect_refused(&inside, &["ENOENT"]);
    assert!(outside.starts_with("REACHED"), "{outside}");
}

#[test]
fn no_signal_from_inside_touches_process_1() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.inside("signal-init");
    assert_eq!(ended.expect_exit(1).text(), "still there");
}

#[test]
fn process_1_cannot_be_traced() {
    check("trace 1", &["EPERM"], Absent("there is none outside"));
}

#[test]
fn process_1_cannot_be_limited() {
    check(
        "limit-other 1",
        &["EPERM"],
        Absent("it would harm the machine"),
    );
}

#[test]
fn process_1_keeps_its_descriptors() {
    check(
        "take-descriptor 1",
        &["EPERM"],
        Absent("there is none outside"),
    );
}

#[test]
fn a_namespace_of_another_process() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for kind in ["mnt", "net", "user", "pid", "ipc", "uts", "cgroup"] {
        arena.expect_refused(&format!("setns /proc/1/ns/{kind}"), &["EACCES"]);
        arena.expect_refused(&format!("setns /proc/self/ns/{kind}"), &["EPERM"]);
    }
    arena.check_control("setns /proc/self/ns/uts", FreeAsRoot);
}

#[test]
fn a_user_namespace_with_all_capabilities() {
    check("unshare", &["EPERM"], FreeUnlessForbidden);
}

#[test]
fn a_user_namespace_by_clone() {
    check("clone", &["EPERM"], FreeUnlessForbidden);
}

#[test]
fn a_user_namespace_by_clone3() {
    check("clone3", &["ENOSYS"], FreeUnlessForbidden);
}

#[test]
fn a_user_namespace_by_the_usual_tool() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena
        .place
        .run_script("unshare --user --map-root-user id -u; echo after");
    assert_eq!(ended.expect_exit(0).text(), "after");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_tracer_does_not_get_around_the_filter() {
    check("trace-around-filter", &["EPERM"], FreeUnlessForbidden);
}

#[test]
fn a_program_in_memory_is_confined_too() {
    check("memory-program unshare", &["EPERM"], FreeUnlessForbidden);
    check("memory-program chroot", &["EPERM"], FreeAsRoot);
}

#[test]
fn capabilities_cannot_be_raised() {
    check("raise-capability", &["EPERM"], FreeAsRoot);
}

#[test]
fn a_program_has_no_privileges() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.inside("privileges");
    let text = ended.expect_exit(0).text();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim_start_matches(':').trim()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!((value("NoNewPrivs"), value("Seccomp")), ("1", "2"));
}

/// A set-user-id program of root's, and someone else who runs it.
#[test]
fn a_setuid_program_gives_nothing() {
    const SOMEONE: u32 = 12_345;
    let Some(arena) = Arena::new() else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can make such a program and be someone else");
        return;
    }
    let place = &arena.place;
    let program = place.outside().join("setuid");
    std::fs::copy(arena.program(), &program).expect("a copy");
    for (path, mode) in [(place.outside(), 0o755), (&program, 0o4755)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    chown(&place.workspace, Some(SOMEONE), Some(SOMEONE)).expect("another owner");
    let mut spec = arena.spec("be-root");
    spec.argv[0] = program.to_str().expect("UTF-8").to_owned();
    spec.read_only_paths.push(program.clone());
    expect_refused(&place.run(&spec), &["EPERM"]);

    let outside = Command::new(&program)
        .arg("be-root")
        .uid(SOMEONE)
        .output()
        .expect("a run");
    let outside = String::from_utf8_lossy(&outside.stdout);
    assert!(outside.starts_with("REACHED"), "{outside}");
}

#[test]
fn limits_cannot_be_raised() {
    for resource in [libc::RLIMIT_NOFILE, libc::RLIMIT_CORE] {
        let control = if resource == libc::RLIMIT_CORE {
            Absent("outside there may be no bound")
        } else {
            FreeAsRootUnlessForbidden
        };
        check(&format!("raise-limit {resource}"), &["EPERM"], control);
    }
}

#[test]
fn real_time_priority() {
    check("real-time", &["EPERM"], FreeAsRoot);
}

#[test]
fn better_priority() {
    check("be-favored", &["EACCES", "EPERM"], FreeAsRoot);
}

#[test]
fn be_spared_when_memory_runs_out() {
    let refused = ["EACCES", "EPERM"];
    check("spare-from-oom", &refused, FreeAsRootUnlessForbidden);
}

#[test]
fn a_fork_bomb_stays_within_its_limit() {
    const LIMIT: u32 = 64;
    let Some(arena) = Arena::new() else {
        return;
    };
    if !has_cgroups() {
        println!("not tested: nothing here bounds the number of processes of a tree");
        return;
    }
    let victim = Victim::new(&arena);
    let name = marked_name("bomb");
    let mut spec = arena.spec(&format!("fork-bomb {name}"));
    spec.limits.pids = Some(LIMIT);
    // A safety net for the machine, should the limit not hold.
    spec.limits.timeout = Some(Duration::from_secs(10));
    let ended = arena.place.run(&spec);
    let expected = Outcome::PidsExhausted {
        limit: LIMIT,
        status: ExitStatus::Exited(1),
    };
    assert_eq!(ended.verdict.outcome, expected, "{ended:?}");
    assert_eq!(ended.verdict.survivors, 0);
    let peak = ended.verdict.usage.pids_peak;
    assert!(
        peak.is_none_or(|peak| peak <= u64::from(LIMIT) + 1),
        "{peak:?}"
    );
    assert!(host::named(&name).is_empty());
    victim.expect_untouched();
}

#[test]
fn daemons_of_every_kind_are_ended() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let name = marked_name("daem");
    let ended = arena.inside(&format!("daemons {name}"));
    assert_eq!(ended.expect_exit(0).text(), "started");
    assert_eq!(ended.verdict.survivors, 0);
    let left = |incident: &Incident| matches!(incident, Incident::LeftoversKilled { .. });
    assert!(ended.verdict.incidents.iter().any(left), "{ended:?}");
    assert!(host::named(&name).is_empty());
}

#[test]
fn a_program_deaf_to_signals_is_ended() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let name = marked_name("deaf");
    let mut spec = arena.spec(&format!("deaf {name}"));
    let after = Duration::from_millis(300);
    spec.limits.timeout = Some(after);
    spec.grace_period = Duration::from_millis(100);
    let ended = arena.place.run(&spec);
    let expected = Outcome::TimedOut {
        after,
        clock: TimeoutClock::Wall,
    };
    assert_eq!(ended.verdict.outcome, expected);
    assert_eq!(ended.verdict.survivors, 0);
    assert!(host::named(&name).is_empty());
}

#[test]
fn the_victims_secret_can_be_read_where_nothing_forbids_it() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let victim = Victim::new(&arena);
    let text = arena.outside(&format!("read-memory {} {}", victim.pid, victim.address));
    assert_eq!(text, format!("REACHED: {SECRET}"));
}
