//! Real groups with real processes, on whatever control groups the host has.
//!
//! Each test runs on every variant that the host can show: its hierarchies as they are, and with
//! some of them hidden. What cannot run says so through [`skipped`].

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};

use super::kill::Method;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const MIB: u64 = 1 << 20;
const NOBODY: u32 = 65_534;
const ACTOR_ENV: &str = "COGO_TEST_CGROUP_ACTOR";

fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// A way to see this host's control groups.
struct Variant {
    name: &'static str,
    cgroups: Cgroups,
}

/// The host as it is, and with some of its hierarchies hidden.
fn variants() -> Vec<Variant> {
    let mounts = Mounts::read().unwrap();
    let shown = |keep: &dyn Fn(&mounts::Hierarchy) -> bool| {
        let mut mounts = mounts.clone();
        mounts.hierarchies.retain(keep);
        mounts
    };
    let is_v1 = |found: &mounts::Hierarchy| found.version == Version::V1;
    let candidates = [
        ("host", mounts.clone()),
        ("v1 with freezer", shown(&|found| is_v1(found))),
        (
            "v1 without freezer",
            shown(&|found| is_v1(found) && !found.controllers.contains(&Controller::Freezer)),
        ),
        ("cgroup2 alone", shown(&|found| !is_v1(found))),
    ];
    let mut variants = Vec::new();
    let mut known: Vec<Mounts> = Vec::new();
    for (name, mounts) in candidates {
        let cgroups = Cgroups::from_mounts(&mounts, None);
        if cgroups.capabilities().version == CgroupVersion::None {
            skipped(&format!(
                "variant `{name}`: {}",
                cgroups.capabilities().reasons.join("; ")
            ));
        } else if !known.contains(&mounts) {
            variants.push(Variant { name, cgroups });
        }
        known.push(mounts);
    }
    variants
}

/// Variants that have what a test needs.
fn variants_with(what: &str, has: impl Fn(&CgroupCapabilities) -> bool) -> Vec<Variant> {
    let (fit, rest): (Vec<_>, Vec<_>) = variants()
        .into_iter()
        .partition(|variant| has(variant.cgroups.capabilities()));
    for variant in rest {
        skipped(&format!("variant `{}` has no {what}", variant.name));
    }
    fit
}

/// Kill methods that work on a group of this host.
fn methods(group: &Cgroup) -> Vec<Method> {
    let has = |name: &str| group.path_with(name).exists();
    let all = [
        (Method::Atomic, has("cgroup.kill")),
        (Method::FreezeV2, has("cgroup.freeze")),
        (Method::FreezeV1, has("freezer.state")),
        (Method::Signals, true),
    ];
    all.into_iter()
        .filter(|(_, works)| *works)
        .map(|(method, _)| method)
        .collect()
}

fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

impl Variant {
    fn group(&self) -> Cgroup {
        let group = self.cgroups.create(&unique_name());
        group.unwrap_or_else(|error| panic!("{}: {error:?}", self.name))
    }
}

fn memory(limit: u64) -> CgroupLimits {
    CgroupLimits {
        memory: Some(limit),
        ..CgroupLimits::default()
    }
}

fn pids(limit: u32) -> CgroupLimits {
    CgroupLimits {
        pids: Some(limit),
        ..CgroupLimits::default()
    }
}

/// Starts a command that joins the group between fork and exec, as the sandbox does.
fn spawn(group: &Cgroup, command: &mut Command) -> Child {
    let files = group.join_files().unwrap();
    join_before_exec(command, files);
    command.stderr(Stdio::null()).spawn().unwrap()
}

fn join_before_exec(command: &mut Command, files: Vec<OwnedFd>) {
    let join = move || {
        files
            .iter()
            .try_for_each(|file| rustix::io::write(file, b"0").map(drop))
    };
    // SAFETY: the closure only writes to descriptors that were opened before the fork.
    unsafe { command.pre_exec(move || Ok(join()?)) };
}

fn shell(group: &Cgroup, script: &str) -> Child {
    spawn(group, Command::new("sh").args(["-c", script]))
}

fn sleeper(group: &Cgroup) -> Child {
    spawn(group, Command::new("sleep").arg("1000"))
}

/// Starts `count` sleeping processes below one shell.
fn sleepers(group: &Cgroup, count: usize) -> Child {
    let script = format!(
        "i=1; while [ $i -lt {count} ]; do sleep 1000 & i=$((i+1)); done; echo; exec sleep 1000"
    );
    let mut child = spawn(
        group,
        Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::piped()),
    );
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "\n");
    child
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        let _ = poll(
            &mut [],
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 1_000_000,
            }),
        );
    }
}

fn wakes(event: &LimitEvent, within: Duration) -> bool {
    let timeout = Timespec::try_from(within).unwrap();
    poll(
        &mut [PollFd::new(event, event.poll_flags())],
        Some(&timeout),
    )
    .unwrap()
        > 0
}

fn directories(group: &Cgroup) -> Vec<PathBuf> {
    group
        .made()
        .map(|directory| directory.path.clone())
        .collect()
}

fn assert_nothing_left(directories: &[PathBuf]) {
    assert!(!directories.is_empty());
    for directory in directories {
        assert!(!directory.exists(), "{} is left", directory.display());
    }
}

/// Kills, reaps the direct child, removes, and proves that nothing is left.
fn end(group: Cgroup, mut child: Child) {
    let killed = group.kill(PATIENCE).unwrap();
    assert_eq!(killed.survivors, 0);
    child.wait().unwrap();
    let directories = directories(&group);
    group.remove().unwrap();
    assert_nothing_left(&directories);
}

#[test]
fn memory_limit_kills_and_is_counted() {
    for variant in variants_with("memory controller", |found| found.memory) {
        let mut group = variant.group();
        group.set_limits(&memory(32 * MIB)).unwrap();
        let event = group.oom_event().unwrap();
        assert_eq!(group.events().unwrap().oom_kills, 0);

        let mut eat = Command::new("dd");
        eat.args(["if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"]);
        let status = spawn(&group, &mut eat).wait().unwrap();

        assert_eq!(status.signal(), Some(libc::SIGKILL), "{}", variant.name);
        assert!(
            wakes(&event, Duration::from_millis(100)),
            "{}: no oom event",
            variant.name
        );
        event.acknowledge().unwrap();
        assert_eq!(group.events().unwrap().oom_kills, 1, "{}", variant.name);
        let peak = group.usage().memory_peak.unwrap();
        assert!(
            (16 * MIB..=32 * MIB).contains(&peak),
            "{}: peak {peak}",
            variant.name
        );
        group.remove().unwrap();
    }
}

#[test]
fn quiet_group_has_no_limit_event() {
    for variant in variants_with("memory controller", |found| found.memory && found.pids) {
        let mut group = variant.group();
        group
            .set_limits(&CgroupLimits {
                pids: Some(10),
                ..memory(64 * MIB)
            })
            .unwrap();
        let (oom, refused) = (group.oom_event().unwrap(), group.pids_event());
        assert!(shell(&group, ":").wait().unwrap().success());
        assert!(!wakes(&oom, Duration::ZERO));
        assert!(!refused.is_some_and(|event| wakes(&event, Duration::ZERO)));
        assert_eq!(group.events().unwrap(), CgroupEvents::default());
    }
}

#[test]
fn memory_limit_can_rise_fall_and_go() {
    for variant in variants_with("memory controller", |found| found.memory) {
        let mut group = variant.group();
        let read = |group: &Cgroup| {
            let v2 = group.path_with("memory.max");
            let path = if v2.exists() {
                v2
            } else {
                group.path_with("memory.limit_in_bytes")
            };
            fs::read_to_string(path).unwrap().trim().parse::<u64>().ok()
        };
        let unlimited = read(&group);
        for limit in [64 * MIB, 256 * MIB, 32 * MIB] {
            group.set_limits(&memory(limit)).unwrap();
            assert_eq!(read(&group), Some(limit), "{}", variant.name);
            let memsw = group.path_with("memory.memsw.limit_in_bytes");
            if memsw.exists() {
                assert_eq!(file::read_number(&memsw).unwrap(), limit);
            }
            let swap = group.path_with("memory.swap.max");
            if swap.exists() {
                assert_eq!(file::read_number(&swap).unwrap(), 0);
            }
        }
        group.set_limits(&CgroupLimits::default()).unwrap();
        assert_eq!(read(&group), unlimited, "{}", variant.name);
    }
}

#[test]
fn least_memory_limit_is_accepted() {
    for variant in variants_with("memory controller", |found| found.memory) {
        variant.group().set_limits(&memory(MEMORY_MIN)).unwrap();
    }
}

#[test]
fn pids_limit_refuses_forks_and_counts_them() {
    for variant in variants_with("pids controller", |found| found.pids) {
        let mut group = variant.group();
        group.set_limits(&pids(4)).unwrap();
        let event = group.pids_event();
        let mut child = shell(&group, "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait");
        match event {
            Some(event) => assert!(wakes(&event, PATIENCE), "{}", variant.name),
            None => skipped(&format!(
                "variant `{}` tells of no refused fork",
                variant.name
            )),
        }
        wait_until("it is counted", || {
            group.events().unwrap().pids_limit_hits >= 1
        });
        let peak = group.usage().pids_peak;
        assert!(
            peak.is_none_or(|peak| peak == 4),
            "{}: peak {peak:?}",
            variant.name
        );
        let killed = group.kill(PATIENCE).unwrap();
        assert!(
            killed.seen <= 4 && killed.survivors == 0,
            "{}: {killed:?}",
            variant.name
        );
        child.wait().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn fork_bomb_is_killed_by_every_method() {
    for variant in variants_with("pids controller", |found| found.pids) {
        for method in methods(&variant.group()) {
            let mut group = variant.group();
            group.set_limits(&pids(2_000)).unwrap();
            let mut child = shell(&group, "f() { f | f & f | f; }; f");
            wait_until("the bomb has grown", || group.pids().unwrap().len() > 100);
            let killed = group.kill_by(method, PATIENCE).unwrap();
            assert_eq!(killed.survivors, 0, "{} by {method:?}", variant.name);
            assert!(
                killed.seen > 10,
                "{} by {method:?}: {killed:?}",
                variant.name
            );
            assert_eq!(group.pids_everywhere().unwrap(), [] as [i32; 0]);
            assert_eq!(group.kill(PATIENCE).unwrap(), Killed::default());
            child.wait().unwrap();
            let directories = directories(&group);
            group.remove().unwrap();
            assert_nothing_left(&directories);
        }
    }
}

#[test]
fn every_method_kills_and_leaves_the_group_usable() {
    for variant in variants() {
        for method in methods(&variant.group()) {
            let group = variant.group();
            for _ in 0..2 {
                let mut child = sleepers(&group, 20);
                let killed = group.kill_by(method, PATIENCE).unwrap();
                assert_eq!(
                    killed,
                    Killed {
                        seen: 20,
                        survivors: 0
                    },
                    "{} {method:?}",
                    variant.name
                );
                assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
            }
            assert!(shell(&group, "sleep 0 & wait").wait().unwrap().success());
            group.remove().unwrap();
        }
    }
}

#[test]
fn group_larger_than_the_pidfd_batch_is_killed_without_cgroup_kill() {
    for variant in variants() {
        let group = variant.group();
        let mut child = sleepers(&group, 400);
        let killed = group.kill_by(Method::Signals, PATIENCE).unwrap();
        assert_eq!(
            killed,
            Killed {
                seen: 400,
                survivors: 0
            },
            "{}",
            variant.name
        );
        child.wait().unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn own_kill_is_not_taken_for_a_pids_limit_hit() {
    for variant in variants_with("pids controller", |found| found.pids) {
        for method in methods(&variant.group()) {
            let mut group = variant.group();
            group.set_limits(&pids(1_000)).unwrap();
            let script = "for i in 1 2 3 4; do while :; do sleep 0; done & done; wait";
            let mut child = shell(&group, script);
            wait_until("it forks", || group.pids().unwrap().len() >= 5);
            assert_eq!(group.kill_by(method, PATIENCE).unwrap().survivors, 0);
            child.wait().unwrap();
            assert_eq!(group.events().unwrap().pids_limit_hits, 0, "{method:?}");
            let limit = fs::read_to_string(group.path_with("pids.max")).unwrap();
            assert_eq!(limit.trim(), "1000", "{method:?}");
        }
    }
}

#[test]
fn process_that_joined_half_way_is_killed() {
    for variant in variants() {
        let group = variant.group();
        for directory in directories(&group) {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            file::write(&directory.join("cgroup.procs"), &child.id().to_string()).unwrap();
            let killed = group.kill(PATIENCE).unwrap();
            assert_eq!(
                killed,
                Killed {
                    seen: 1,
                    survivors: 0
                },
                "in {}",
                directory.display()
            );
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        }
    }
}

#[test]
fn member_and_half_way_process_are_killed_together() {
    for variant in variants() {
        let group = variant.group();
        for directory in directories(&group) {
            let mut member = sleeper(&group);
            let mut half_way = Command::new("sleep").arg("1000").spawn().unwrap();
            let members = directory.join("cgroup.procs");
            file::write(&members, &half_way.id().to_string()).unwrap();
            assert_eq!(
                group.kill(PATIENCE).unwrap(),
                Killed {
                    seen: 2,
                    survivors: 0
                }
            );
            member.wait().unwrap();
            half_way.wait().unwrap();
        }
    }
}

#[test]
fn kill_from_inside_is_refused() {
    for variant in variants() {
        let group = variant.group();
        // SAFETY: the child only uses memory of its own copy and ends with `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let own = std::process::id().cast_signed();
            let refused = group.add(own).is_ok()
                && matches!(group.kill(PATIENCE), Err(CgroupError::OwnGroup { .. }));
            // SAFETY: ends the child without running anything of the test harness.
            unsafe { libc::_exit(i32::from(!refused)) };
        }
        assert_eq!(wait_for_exit_code(pid), Some(0), "{}", variant.name);
    }
}

fn wait_for_exit_code(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

#[test]
fn cpu_limit_reaches_processes_that_joined_before() {
    for variant in variants_with("cpu controller", |found| found.cpu) {
        let mut group = variant.group();
        let child = shell(&group, "while :; do :; done");
        group
            .set_limits(&CgroupLimits {
                cpus: Some(0.1),
                ..CgroupLimits::default()
            })
            .unwrap();
        let stat = group
            .made_with(Controller::Cpu)
            .unwrap()
            .path
            .join("cpu.stat");
        wait_until("it is throttled", || {
            let text = fs::read_to_string(&stat).unwrap();
            file::keyed_number(&text, "nr_throttled").unwrap() > 2
        });
        let late = shell(&group, "while :; do :; done");
        let listed = fs::read_to_string(stat.with_file_name("cgroup.procs")).unwrap();
        assert!(file::parse_pids(&listed).any(|pid| pid == late.id().cast_signed()));
        group.set_limits(&CgroupLimits::default()).unwrap();
        group
            .set_limits(&CgroupLimits {
                cpus: Some(1.5),
                ..CgroupLimits::default()
            })
            .unwrap();
        let quota = group.path_with("cpu.max");
        if quota.exists() {
            assert_eq!(fs::read_to_string(quota).unwrap(), "150000 100000\n");
        } else {
            let quota = group.path_with("cpu.cfs_quota_us");
            assert_eq!(file::read_number(&quota).unwrap(), 150_000);
        }
        end(group, child);
        reap(late);
    }
}

fn reap(mut child: Child) {
    child.wait().unwrap();
}

#[test]
fn cpu_directory_is_made_only_for_a_limit() {
    for variant in variants_with("cpu controller", |found| found.cpu) {
        let mut group = variant.group();
        let before = directories(&group).len();
        group.set_limits(&CgroupLimits::default()).unwrap();
        assert_eq!(directories(&group).len(), before);
    }
}

#[test]
fn usage_counts_the_whole_tree() {
    for variant in variants() {
        let group = variant.group();
        let child = shell(&group, "(while :; do :; done) & wait");
        let cpu = || {
            let usage = group.usage();
            usage.cpu_user.unwrap_or_default() + usage.cpu_system.unwrap_or_default()
        };
        if group.usage().cpu_user.is_none() {
            skipped(&format!("variant `{}` counts no cpu time", variant.name));
        } else {
            wait_until("cpu time is counted", || cpu() > Duration::from_millis(50));
        }
        let usage = group.usage();
        if variant.cgroups.capabilities().memory {
            assert!(usage.memory.unwrap() > 0 && usage.memory_peak >= usage.memory);
        }
        if variant.cgroups.capabilities().pids {
            assert_eq!(usage.pids, Some(2));
        }
        end(group, child);
    }
}

#[test]
fn storage_writes_are_counted_where_the_host_counts_them() {
    for variant in variants_with("io controller", |found| found.io) {
        let group = variant.group();
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let script = format!(
            "dd if=/dev/zero of={}/x bs=1M count=4 conv=fsync",
            dir.path().display()
        );
        assert!(shell(&group, &script).wait().unwrap().success());
        let written = group.usage().io_write;
        // A directory in memory or on a network has no device; the file must be there at least.
        assert!(written.is_some(), "{}", variant.name);
    }
}

#[test]
fn session_children_live_and_die_apart() {
    for variant in variants() {
        let session = variant.group();
        let init_group = session.child("init").unwrap();
        let exec_group = session.child("exec-1").unwrap();
        let mut init = sleeper(&init_group);
        let mut exec = sleepers(&exec_group, 3);
        assert_eq!(session.pids().unwrap().len(), 4, "{}", variant.name);

        assert_eq!(
            exec_group.kill(PATIENCE).unwrap(),
            Killed {
                seen: 3,
                survivors: 0
            }
        );
        exec.wait().unwrap();
        exec_group.remove().unwrap();
        assert_eq!(session.pids().unwrap(), [init.id().cast_signed()]);

        let exec_group = session.child("exec-2").unwrap();
        let mut exec = sleeper(&exec_group);
        assert_eq!(
            session.kill(PATIENCE).unwrap(),
            Killed {
                seen: 2,
                survivors: 0
            }
        );
        init.wait().unwrap();
        exec.wait().unwrap();
        let directories = directories(&session);
        session.remove().unwrap();
        assert_nothing_left(&directories);
    }
}

#[test]
fn session_limits_bound_its_children() {
    for variant in variants_with("memory and pids controllers", |found| {
        found.memory && found.pids
    }) {
        let mut session = variant.group();
        let limits = CgroupLimits {
            pids: Some(3),
            ..memory(32 * MIB)
        };
        session.set_limits(&limits).unwrap();
        let exec = session.child("exec").unwrap();
        let oom = session.oom_event().unwrap();
        let mut eat = Command::new("dd");
        eat.args(["if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"]);
        assert_eq!(
            spawn(&exec, &mut eat).wait().unwrap().signal(),
            Some(libc::SIGKILL)
        );
        assert_eq!(exec.events().unwrap().oom_kills, 1, "{}", variant.name);
        assert!(wakes(&oom, Duration::from_millis(100)), "{}", variant.name);
        let script = "for i in 1 2 3 4 5; do sleep 1000 & done; wait";
        let mut child = shell(&exec, script);
        let hits = |group: &Cgroup| group.events().unwrap().pids_limit_hits;
        wait_until("a fork is refused", || hits(&session) + hits(&exec) >= 1);
        assert_eq!(session.kill(PATIENCE).unwrap().survivors, 0);
        child.wait().unwrap();
    }
}

#[test]
fn session_cpu_limit_holds_for_a_child_made_before() {
    for variant in variants_with("cpu controller", |found| found.cpu) {
        let mut session = variant.group();
        let exec = session.child("exec").unwrap();
        session
            .set_limits(&CgroupLimits {
                cpus: Some(0.1),
                ..CgroupLimits::default()
            })
            .unwrap();
        let mut child = shell(&exec, "while :; do :; done");
        let stat = session
            .made_with(Controller::Cpu)
            .unwrap()
            .path
            .join("cpu.stat");
        wait_until("it is throttled", || {
            let text = fs::read_to_string(&stat).unwrap();
            file::keyed_number(&text, "nr_throttled").unwrap() > 0
        });
        assert_eq!(session.kill(PATIENCE).unwrap().survivors, 0);
        child.wait().unwrap();
        drop(exec);
        session.remove().unwrap();
    }
}

#[test]
fn v2_group_with_processes_takes_no_children() {
    for variant in variants_with("controller given by cgroup2 alone", |found| {
        found.version == CgroupVersion::V2 && found.memory
    }) {
        let group = variant.group();
        let child = sleeper(&group);
        assert!(matches!(
            group.child("exec"),
            Err(CgroupError::Enable { .. })
        ));
        end(group, child);
    }
}

#[test]
fn drop_kills_and_removes() {
    for variant in variants() {
        let group = variant.group();
        let mut child = sleeper(&group);
        let directories = directories(&group);
        drop(group);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_nothing_left(&directories);
    }
}

#[test]
fn forked_copy_does_nothing_when_dropped() {
    for variant in variants() {
        let group = variant.group();
        let child = sleeper(&group);
        // SAFETY: the child drops its own copy of the group and ends with `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            drop(group);
            // SAFETY: ends the child without running anything of the test harness.
            unsafe { libc::_exit(0) };
        }
        assert_eq!(wait_for_exit_code(pid), Some(0));
        assert_eq!(group.pids().unwrap(), [child.id().cast_signed()]);
        end(group, child);
    }
}

#[test]
fn removal_tells_when_processes_are_left() {
    for variant in variants() {
        let group = variant.group();
        let mut child = sleeper(&group);
        let directories = directories(&group);
        assert!(
            matches!(group.remove(), Err(CgroupError::Remove { .. })),
            "{}",
            variant.name
        );
        // The failed removal fell back to what dropping does.
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_nothing_left(&directories);
    }
}

#[test]
fn same_name_twice_is_refused_and_harms_nobody() {
    for variant in variants() {
        let name = unique_name();
        let group = variant.cgroups.create(&name).unwrap();
        let child = sleeper(&group);
        assert!(matches!(
            variant.cgroups.create(&name),
            Err(CgroupError::Create { .. })
        ));
        assert_eq!(group.pids_everywhere().unwrap(), [child.id().cast_signed()]);
        end(group, child);
    }
}

#[test]
fn reopened_group_is_cleaned_up() {
    for variant in variants() {
        let mut group = variant.group();
        if variant.cgroups.capabilities().cpu {
            group
                .set_limits(&CgroupLimits {
                    cpus: Some(1.0),
                    ..CgroupLimits::default()
                })
                .unwrap();
        }
        let mut child = sleeper(&group);
        let directories = directories(&group);
        let text = serde_json::to_string(&group.release()).unwrap();
        let record: CgroupRecord = serde_json::from_str(&text).unwrap();

        drop(Cgroup::reopen(&record).unwrap());
        let found = Cgroup::reopen(&record).unwrap();
        assert_eq!(
            found.pids().unwrap(),
            [child.id().cast_signed()],
            "dropping did nothing"
        );
        assert_eq!(
            found.kill(PATIENCE).unwrap(),
            Killed {
                seen: 1,
                survivors: 0
            }
        );
        child.wait().unwrap();
        found.remove().unwrap();
        assert_nothing_left(&directories);

        let gone = Cgroup::reopen(&record).unwrap();
        assert_eq!(gone.kill(PATIENCE).unwrap(), Killed::default());
        gone.remove().unwrap();
    }
}

#[test]
fn record_made_before_a_cpu_limit_finds_its_directory() {
    for variant in variants_with("cpu controller", |found| found.cpu) {
        let mut group = variant.group();
        let record = group.record();
        group
            .set_limits(&CgroupLimits {
                cpus: Some(1.0),
                ..CgroupLimits::default()
            })
            .unwrap();
        let directories = directories(&group);
        let _ = group.release();
        Cgroup::reopen(&record).unwrap().remove().unwrap();
        assert_nothing_left(&directories);
    }
}

#[test]
fn forged_records_are_refused() {
    let Some(variant) = variants().into_iter().next() else {
        return;
    };
    let group = variant.group();
    let mut honest = group.record();
    honest
        .directories
        .retain(|directory| directory.path.exists());
    let real = honest.directories[0].path.clone();
    let base = honest.directories[0].base.clone();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("cogo-link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let plain = elsewhere.path().join("cogo-plain");
    fs::create_dir(&plain).unwrap();
    let forged = [
        (base.clone(), base.clone()),
        (base.clone(), base.join("other")),
        (base.clone(), base.join("cogo-x/../other")),
        (base.clone(), base.join("../cogo-x")),
        (base.join("sub"), real.clone()),
        (PathBuf::new(), PathBuf::from("cogo-x")),
        (elsewhere.path().to_owned(), link),
        (elsewhere.path().to_owned(), plain),
    ];
    for (base, path) in forged {
        let mut record = honest.clone();
        record.directories[0].base = base;
        record.directories[0].path.clone_from(&path);
        let refused = Cgroup::reopen(&record);
        assert!(
            matches!(refused, Err(CgroupError::ForeignRecord { .. })),
            "{}",
            path.display()
        );
    }
    Cgroup::reopen(&honest).unwrap();
}

#[test]
fn nothing_usable_is_a_valid_answer() {
    let cgroups = Cgroups::from_mounts(&Mounts::default(), None);
    let found = cgroups.capabilities();
    assert_eq!(found.version, CgroupVersion::None);
    assert!(!found.memory && !found.pids && !found.cpu && !found.atomic_kill && !found.freezer);
    assert!(!found.reasons.is_empty());
    assert!(matches!(
        cgroups.create("x"),
        Err(CgroupError::Unavailable { .. })
    ));
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    for variant in variants_with("gap in its controllers", |found| !found.memory) {
        let mut group = variant.group();
        group.set_limits(&CgroupLimits::default()).unwrap();
        for limits in [
            memory(64 * MIB),
            pids(10),
            CgroupLimits {
                cpus: Some(1.0),
                ..CgroupLimits::default()
            },
        ] {
            let refused = group.set_limits(&limits);
            assert!(
                matches!(refused, Err(CgroupError::Unenforceable { .. })),
                "{refused:?}"
            );
        }
        assert!(!variant.cgroups.capabilities().reasons.is_empty());
    }
}

#[test]
fn missing_controller_is_refused_even_if_the_host_has_it() {
    for mut variant in variants() {
        for place in &mut variant.cgroups.places {
            place
                .controllers
                .retain(|found| *found == Controller::Freezer);
        }
        let refused = variant.group().set_limits(&memory(64 * MIB));
        assert!(matches!(
            refused,
            Err(CgroupError::Unenforceable {
                limit: "memory",
                ..
            })
        ));
    }
}

#[test]
fn limits_too_low_and_names_too_strange_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let places = [place_at(dir.path())];
    let mut group = Cgroup::create(&places, "x").unwrap();
    let cpus = |cpus| CgroupLimits {
        cpus: Some(cpus),
        ..CgroupLimits::default()
    };
    for limits in [
        memory(MEMORY_MIN - 1),
        pids(0),
        cpus(0.0),
        cpus(f64::NAN),
        cpus(f64::INFINITY),
        cpus(-1.0),
    ] {
        let refused = group.set_limits(&limits);
        assert!(
            matches!(refused, Err(CgroupError::LimitTooLow { .. })),
            "{limits:?}: {refused:?}"
        );
    }
    for name in [
        "",
        ".",
        "..",
        ".x",
        "a/b",
        "a b",
        "ä",
        "a\n",
        &"a".repeat(129),
    ] {
        assert!(matches!(
            Cgroup::create(&places, name),
            Err(CgroupError::InvalidName { .. })
        ));
        assert!(matches!(
            group.child(name),
            Err(CgroupError::InvalidName { .. })
        ));
    }
}

fn place_at(base: &Path) -> Place {
    let controllers = vec![Controller::Memory];
    Place {
        version: Version::V2,
        controllers,
        base: base.to_owned(),
        need: Need::Always,
    }
}

#[test]
fn peak_is_sampled_where_the_kernel_keeps_none() {
    let dir = tempfile::tempdir().unwrap();
    let group = Cgroup::create(&[place_at(dir.path())], "old").unwrap();
    let current = dir.path().join("cogo-old/memory.current");
    for (now, peak) in [(4096, 4096), (8192, 8192), (100, 8192)] {
        fs::write(&current, format!("{now}\n")).unwrap();
        let usage = group.usage();
        assert_eq!((usage.memory, usage.memory_peak), (Some(now), Some(peak)));
    }
}

#[test]
fn explicit_base_is_used_and_made() {
    let base = PathBuf::from(format!("/{}", unique_name()));
    let cgroups = Cgroups::discover(Some(&base.join("deep")));
    if cgroups.capabilities().version == CgroupVersion::None {
        return skipped(&cgroups.capabilities().reasons.join("; "));
    }
    let mounts = Mounts::read().unwrap();
    let group = cgroups.create("x").unwrap();
    for directory in directories(&group) {
        assert!(directory.ends_with(base.join("deep/cogo-x").strip_prefix("/").unwrap()));
    }
    end_with_base(group, &mounts, &base);
}

fn end_with_base(group: Cgroup, mounts: &Mounts, base: &Path) {
    let child = sleeper(&group);
    end(group, child);
    for hierarchy in &mounts.hierarchies {
        let base = hierarchy.mount.join(base.strip_prefix("/").unwrap());
        let _ = fs::remove_dir(base.join("deep"));
        let _ = fs::remove_dir(&base);
        assert!(!base.exists(), "{} is left", base.display());
    }
}

#[test]
fn base_outside_of_the_mount_is_refused() {
    let cgroups = Cgroups::discover(Some(Path::new("/../../tmp")));
    assert_eq!(cgroups.capabilities().version, CgroupVersion::None);
}

/// The whole life of a group as another user, in groups that root gave away.
#[test]
fn unprivileged_user_works_in_a_delegated_group() {
    with_delegated_groups(|delegated, expected| {
        act_as_nobody("unprivileged_actor", expected, delegated);
    });
}

/// As in a terminal: the user's shell lives in the same group, which therefore cannot be
/// divided, but the group above it can.
#[test]
fn unprivileged_user_beside_a_shell_works_in_the_group_above() {
    with_delegated_groups(|delegated, expected| {
        let is_v2 = |path: &&PathBuf| path.join("cgroup.subtree_control").exists();
        let Some(slice) = delegated.iter().find(is_v2) else {
            return skipped("no cgroup2 mount");
        };
        let scope = delegate(slice, "terminal.scope");
        let mut shell = Command::new("sleep").arg("1000").spawn().unwrap();
        file::write(&scope.join("cgroup.procs"), &shell.id().to_string()).unwrap();
        let replaced = |path: &PathBuf| {
            if path == slice {
                scope.clone()
            } else {
                path.clone()
            }
        };
        let members: Vec<_> = delegated.iter().map(replaced).collect();
        act_as_nobody("unprivileged_actor", expected, &members);
        shell.kill().unwrap();
        shell.wait().unwrap();
        fs::remove_dir(&scope).unwrap();
    });
}

/// Gives a group in every hierarchy away, and takes them back afterwards.
fn with_delegated_groups(act: impl FnOnce(&[PathBuf], &str)) {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can delegate groups to another user");
    }
    let top = unique_name();
    let root = Cgroups::discover(Some(Path::new(&format!("/{top}"))));
    if root.capabilities().version == CgroupVersion::None {
        return skipped(&root.capabilities().reasons.join("; "));
    }
    let mounts = Mounts::read().unwrap();
    let delegated: Vec<_> = mounts
        .hierarchies
        .iter()
        .map(|hierarchy| delegate(&hierarchy.mount.join(&top), "user"))
        .collect();
    let expected = serde_json::to_string(&unreasoned(root.capabilities())).unwrap();
    act(&delegated, &expected);
    for path in delegated {
        let _ = fs::remove_dir(path.join("supervisor"));
        fs::remove_dir(&path).unwrap();
        fs::remove_dir(path.parent().unwrap()).unwrap();
    }
}

/// Runs an ignored test of this module as another user, in the given groups.
fn act_as_nobody(test: &str, expected: &str, groups: &[PathBuf]) {
    // The test binary lies where only root may go.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let actor = dir.path().join("actor");
    fs::copy("/proc/self/exe", &actor).unwrap();
    let mut command = Command::new(&actor);
    let name = format!("cgroup::tests::{test}");
    command
        .args(["--ignored", "--exact", "--nocapture", &name])
        .env(ACTOR_ENV, expected)
        .current_dir("/")
        .stdin(Stdio::null());
    let members = groups.iter().map(|path| path.join("cgroup.procs"));
    let files = members.map(|path| file::open(&path, rustix::fs::OFlags::WRONLY).unwrap());
    become_nobody(&mut command, files.collect());
    let output = command.output().unwrap();
    io::stderr().write_all(&output.stderr).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// Gives a group away as the kernel's documentation says.
fn delegate(parent: &Path, name: &str) -> PathBuf {
    let path = parent.join(name);
    fs::create_dir_all(&path).unwrap();
    if parent.join("cgroup.subtree_control").exists() {
        v2::enable(parent, &v2::controllers(parent)).unwrap();
    }
    let files = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
    let own = files.map(|name| path.join(name));
    for given in own
        .iter()
        .filter(|file| file.exists())
        .map(PathBuf::as_path)
        .chain([path.as_path()])
    {
        chown(given, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    path
}

fn become_nobody(command: &mut Command, files: Vec<OwnedFd>) {
    let raw: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let enter = move || {
        let _keep_open = &files;
        let is_ok = raw.iter().all(|fd| {
            // SAFETY: a plain write of one byte to an open descriptor.
            unsafe { libc::write(*fd, b"0".as_ptr().cast(), 1) == 1 }
        });
        // SAFETY: plain system calls on a process that has one thread after the fork.
        let is_nobody = unsafe {
            libc::setgroups(0, std::ptr::null()) == 0
                && libc::setresgid(NOBODY, NOBODY, NOBODY) == 0
                && libc::setresuid(NOBODY, NOBODY, NOBODY) == 0
        };
        if is_ok && is_nobody {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: the closure makes system calls only and touches no lock.
    unsafe { command.pre_exec(enter) };
}

fn unreasoned(found: &CgroupCapabilities) -> CgroupCapabilities {
    CgroupCapabilities {
        reasons: Vec::new(),
        ..found.clone()
    }
}

#[test]
#[ignore = "a part of two tests above, run by them as another user"]
fn unprivileged_actor() {
    let Ok(expected) = std::env::var(ACTOR_ENV) else {
        return skipped("not started by its test");
    };
    let expected: CgroupCapabilities = serde_json::from_str(&expected).unwrap();
    assert!(!rustix::process::geteuid().is_root());
    let cgroups = Cgroups::discover(None);
    assert_eq!(
        unreasoned(cgroups.capabilities()),
        expected,
        "{:?}",
        cgroups.capabilities()
    );
    // A second look, from where the first one may have moved us, finds the same.
    assert_eq!(Cgroups::discover(None).places, cgroups.places);

    let mut group = cgroups.create("mine").unwrap();
    let limits = CgroupLimits {
        memory: expected.memory.then_some(64 * MIB),
        cpus: expected.cpu.then_some(0.5),
        pids: expected.pids.then_some(20),
    };
    group.set_limits(&limits).unwrap();
    let child = sleepers(&group, 5);
    assert_eq!(group.pids_everywhere().unwrap().len(), 5);
    assert!(group.oom_event().is_some() || !expected.memory);
    end(group, child);
}

#[test]
fn unprivileged_user_without_delegation_is_told_why() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can become the user to try");
    }
    act_as_nobody("undelegated_actor", "1", &[]);
}

#[test]
#[ignore = "a part of unprivileged_user_without_delegation_is_told_why, run by it as another user"]
fn undelegated_actor() {
    if std::env::var(ACTOR_ENV).is_err() {
        return skipped("not started by its test");
    }
    let cgroups = Cgroups::discover(None);
    let found = cgroups.capabilities();
    assert_eq!(found.version, CgroupVersion::None, "{found:?}");
    let hint = "systemd-run --user --scope -p Delegate=yes";
    assert!(
        found.reasons.iter().any(|reason| reason.contains(hint)),
        "{found:?}"
    );
    assert!(matches!(
        cgroups.create("x"),
        Err(CgroupError::Unavailable { .. })
    ));
}

mod v2_base {
    use super::*;
    use crate::cgroup::discover::vacate;

    /// A bare v2 group in which processes can be put by hand.
    fn bare_group() -> Option<Cgroup> {
        let variant = variants_with("cgroup2 mount", |found| {
            matches!(found.version, CgroupVersion::V2 | CgroupVersion::Hybrid)
        })
        .into_iter()
        .next()?;
        Some(variant.group())
    }

    #[test]
    fn own_processes_move_to_the_supervisor_group() {
        let Some(group) = bare_group() else { return };
        let base = group.unified_dir().unwrap().to_owned();
        let child = sleeper(&group);
        vacate(&base).unwrap();
        assert_eq!(fs::read_to_string(base.join("cgroup.procs")).unwrap(), "");
        let moved = fs::read_to_string(base.join("supervisor/cgroup.procs")).unwrap();
        assert_eq!(moved, format!("{}\n", child.id()));
        vacate(&base).unwrap();
        end(group, child);
    }

    #[test]
    fn foreign_processes_stay_where_they_are() {
        let Some(group) = bare_group() else { return };
        let base = group.unified_dir().unwrap().to_owned();
        // The sleeper outlives the shell and is no descendant of ours any more.
        let mut command = Command::new("sh");
        command
            .args(["-c", "sleep 1000 >&- 2>&- & echo $!"])
            .stdout(Stdio::piped());
        let output = spawn(&group, &mut command).wait_with_output().unwrap();
        let orphan = String::from_utf8(output.stdout).unwrap();
        let reason = vacate(&base).unwrap_err();
        assert!(reason.contains(orphan.trim()), "{reason}");
        assert_eq!(
            fs::read_to_string(base.join("cgroup.procs")).unwrap(),
            orphan
        );
        assert!(!base.join("supervisor").exists());
        assert_eq!(group.kill(PATIENCE).unwrap().survivors, 0);
        group.remove().unwrap();
    }
}

/// Prints what groups cost here: `cargo test -p cogo-sandbox cgroup_costs -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cgroup_costs() {
    let micros = |start: Instant| start.elapsed().as_secs_f64() * 1e6;
    let median = |mut samples: Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        (samples[samples.len() / 2], samples[samples.len() * 9 / 10])
    };
    let report = |what: &str, samples: Vec<f64>| {
        let (p50, p90) = median(samples);
        eprintln!("{what}: p50 {p50:.0} us, p90 {p90:.0} us");
    };
    let time = |what: &mut dyn FnMut()| {
        let start = Instant::now();
        what();
        micros(start)
    };
    report(
        "discover",
        (0..50)
            .map(|_| time(&mut || drop(Cgroups::discover(None))))
            .collect(),
    );
    for variant in variants() {
        let name = variant.name;
        eprintln!(
            "-- {name}: {} directories",
            directories(&variant.group()).len()
        );
        let (mut create, mut limit, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        let found = variant.cgroups.capabilities();
        let limits = CgroupLimits {
            memory: found.memory.then_some(64 * MIB),
            pids: found.pids.then_some(2_000),
            cpus: None,
        };
        for _ in 0..100 {
            let start = Instant::now();
            let mut group = variant.group();
            create.push(micros(start));
            limit.push(time(&mut || group.set_limits(&limits).unwrap()));
            let start = Instant::now();
            group.remove().unwrap();
            remove.push(micros(start));
        }
        report("create", create);
        report("set_limits", limit);
        report("remove", remove);
        let group = variant.group();
        for idle_ms in [0, 100] {
            let mut join = Vec::new();
            for _ in 0..30 {
                let timeout = Timespec {
                    tv_sec: 0,
                    tv_nsec: idle_ms * 1_000_000,
                };
                let _ = poll(&mut [], Some(&timeout));
                let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
                join.push(time(&mut || group.add(child.id().cast_signed()).unwrap()));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            report(&format!("join after {idle_ms} ms without one"), join);
        }
        report(
            "usage",
            (0..50).map(|_| time(&mut || _ = group.usage())).collect(),
        );
        report(
            "kill of an empty group",
            (0..50)
                .map(|_| time(&mut || _ = group.kill(PATIENCE)))
                .collect(),
        );
        for method in methods(&group) {
            let mut one = Vec::new();
            for _ in 0..20 {
                let mut child = sleeper(&group);
                one.push(time(&mut || _ = group.kill_by(method, PATIENCE).unwrap()));
                child.wait().unwrap();
            }
            report(&format!("kill of 1 by {method:?}"), one);
            let mut many = Vec::new();
            for _ in 0..3 {
                let mut child = sleepers(&group, 1_000);
                many.push(time(&mut || _ = group.kill_by(method, PATIENCE).unwrap()));
                child.wait().unwrap();
            }
            report(&format!("kill of 1000 by {method:?}"), many);
        }
    }
}
