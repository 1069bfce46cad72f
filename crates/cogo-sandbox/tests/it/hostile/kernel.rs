//! Doors into the kernel, and settings of the whole machine.

use std::fs;
use std::time::{Duration, SystemTime};

use cogo_sandbox::spec::PtySize;
use cogo_sandbox::verdict::Outcome;

use super::attempt::Control::{
    Absent, Bwrap, Free, FreeAsRoot, FreeAsRootUnlessForbidden, FreeUnlessForbidden,
};
use super::attempt::{Arena, Control, expect_refused};
use crate::host;

/// Settings of the host that attempts here would change.
const SETTINGS: [&str; 10] = [
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/ctrl-alt-del",
    "/proc/sys/kernel/panic",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/file-max",
    "/proc/swaps",
    "/proc/modules",
];

/// What an attempt on the machine would change about it.
#[derive(Debug)]
struct Machine {
    settings: Vec<Option<String>>,
    mounts: Vec<String>,
    /// Start of the machine by its clock: it changes when the clock is set.
    started_at: SystemTime,
}

impl Machine {
    fn now() -> Self {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let uptime = Duration::new(uptime.tv_sec as u64, uptime.tv_nsec as u32);
        Self {
            settings: SETTINGS
                .iter()
                .map(|path| fs::read_to_string(path).ok())
                .collect(),
            mounts: mounts(),
            started_at: SystemTime::now() - uptime,
        }
    }

    #[track_caller]
    fn expect_unchanged(&self) {
        let now = Self::now();
        assert_eq!(now.settings, self.settings, "{SETTINGS:?}");
        assert_eq!(now.mounts, self.mounts);
        let moved = match now.started_at.duration_since(self.started_at) {
            Ok(forward) => forward,
            Err(backward) => backward.duration(),
        };
        assert!(
            moved < Duration::from_secs(1),
            "the clock moved by {moved:?}"
        );
    }
}

/// What is mounted where attempts would mount, move or share something. Elsewhere others may be
/// at work.
fn mounts() -> Vec<String> {
    const PLACES: [&str; 5] = ["/", "/etc", "/proc", "/tmp", "/tmp/cgroup"];
    let all = host::mounts();
    let at_place = |line: &&str| {
        line.split(' ')
            .nth(4)
            .is_some_and(|at| PLACES.contains(&at))
    };
    all.lines().filter(at_place).map(str::to_owned).collect()
}

/// Makes one attempt inside, looks at the machine, and makes the control.
fn check(attempt: &str, errors: &[&str], control: Control) {
    let Some(arena) = Arena::new() else {
        return;
    };
    let before = Machine::now();
    arena.expect_refused(attempt, errors);
    before.expect_unchanged();
    arena.check_control(attempt, control);
    if control != MACHINE {
        arena.show_peer(attempt);
    }
}

/// One test for each: its name, the attempt, the errors that refuse it, the control.
macro_rules! refused {
    ($($test:ident: $attempt:literal $errors:expr, $control:expr;)*) => {
        $(#[test]
        fn $test() {
            check($attempt, &$errors, $control);
        })*
    };
}

const MACHINE: Control = Absent("it would change this machine");

refused! {
    mount: "mount" ["EPERM"], Bwrap;
    bind_mount: "bind-mount" ["EPERM"], Bwrap;
    make_the_root_writable: "remount-root" ["EPERM"], Absent("bwrap's root is locked too");
    share_mounts_with_the_host: "share-mounts" ["EPERM"], Bwrap;
    unmount: "unmount" ["EPERM"], Bwrap;
    pivot_root: "pivot-root" ["EPERM"], Bwrap;
    chroot: "chroot" ["EPERM"], Bwrap;
    mount_a_cgroup_hierarchy_for_its_release_agent: "mount-cgroup" ["EPERM"], Bwrap;
    new_mount_api_file_system: "fsopen" ["EPERM"], Bwrap;
    new_mount_api_clone: "open-tree" ["EPERM"], Bwrap;
    new_mount_api_move: "move-mount" ["EPERM"], Bwrap;
    new_mount_api_attributes: "mount-setattr" ["EPERM"], Absent("bwrap's root is locked too");
    unmask_proc: "unmask-proc" ["EPERM"], Absent("bwrap masks nothing");
    character_device: "mknod character" ["EPERM"], FreeAsRoot;
    block_device: "mknod block" ["EPERM"], MACHINE;
    load_a_bpf_program: "bpf" ["EPERM"], FreeAsRootUnlessForbidden;
    measure_with_perf: "perf" ["EPERM"], FreeAsRootUnlessForbidden;
    userfaultfd: "userfaultfd" ["EPERM"], FreeUnlessForbidden;
    io_uring: "io-uring" ["ENOSYS"], FreeUnlessForbidden;
    add_a_key: "add-key" ["ENOSYS"], Free;
    read_keyrings: "keyctl" ["ENOSYS"], Free;
    read_the_kernel_log: "syslog" ["EPERM"], FreeAsRootUnlessForbidden;
    reboot: "reboot" ["EPERM"], MACHINE;
    swap_on: "swapon" ["EPERM"], MACHINE;
    swap_off: "swapoff" ["EPERM"], MACHINE;
    load_a_module: "init-module" ["EPERM"], MACHINE;
    load_a_module_file: "finit-module" ["EPERM"], MACHINE;
    unload_a_module: "delete-module" ["EPERM"], MACHINE;
    load_another_kernel: "kexec" ["EPERM"], MACHINE;
    load_another_kernel_file: "kexec-file" ["EPERM"], MACHINE;
    quotas: "quotactl" ["EPERM"], MACHINE;
    process_accounting: "acct" ["EPERM"], MACHINE;
    hang_up_terminals: "vhangup" ["EPERM"], MACHINE;
    set_the_clock: "clock-settime" ["EPERM"], MACHINE;
    set_the_time_of_day: "settimeofday" ["EPERM"], MACHINE;
    adjust_the_clock: "adjtimex" ["EPERM"], MACHINE;
    change_the_host_name: "sethostname" ["EPERM"], Bwrap;
    change_the_domain_name: "setdomainname" ["EPERM"], Bwrap;
    decide_on_file_accesses: "fanotify" ["EPERM"], FreeAsRoot;
    compare_kernel_objects: "kcmp" ["EPERM"], FreeUnlessForbidden;
    secret_memory: "memfd-secret" ["ENOSYS"], FreeUnlessForbidden;
    executable_data: "readable-is-executable" ["EPERM"], Free;
    open_a_file_by_handle: "open-by-handle" ["EPERM"], FreeAsRoot;
    file_capabilities: "file-capability" ["EPERM"], FreeAsRoot;
    trusted_attributes: "trusted-attribute" ["EPERM"], FreeAsRootUnlessForbidden;
    give_a_file_away: "chown 12345" ["EPERM", "EINVAL"], FreeAsRoot;
}

#[cfg(target_arch = "x86_64")]
refused! {
    io_ports: "io-ports" ["EPERM"], FreeAsRootUnlessForbidden;
    sixteen_bit_segments: "modify-ldt" ["ENOSYS"], FreeUnlessForbidden;
    x32_calls: "x32" ["ENOSYS"], FreeUnlessForbidden;
}

#[test]
fn debuggers_may_switch_address_randomization_off() {
    let Some(arena) = Arena::new() else {
        return;
    };
    arena.inside("no-randomization").expect_exit(0);
}

/// A file of the kernel's, what an attempt writes there, and the error it gets.
const KERNEL_FILES: [(&str, &str); 12] = [
    ("/proc/sysrq-trigger", "h"),
    ("/proc/sys/kernel/core_pattern", "|/tmp/attempt"),
    ("/proc/sys/kernel/modprobe", "/tmp/attempt"),
    ("/proc/sys/kernel/hostname", "attempt"),
    ("/proc/sys/kernel/sysrq", "1"),
    ("/proc/sys/kernel/panic", "1"),
    ("/proc/sys/vm/drop_caches", "1"),
    ("/proc/sys/vm/overcommit_memory", "2"),
    ("/proc/sys/fs/file-max", "1"),
    ("/proc/sys/user/max_user_namespaces", "0"),
    ("/proc/sys/net/ipv4/ip_forward", "1"),
    ("/proc/irq/default_smp_affinity", "1"),
];

#[test]
fn kernel_settings_cannot_be_written() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let before = Machine::now();
    for (path, text) in KERNEL_FILES {
        let ended = arena.inside(&format!("write {path} {text}"));
        expect_refused(&ended, &["EROFS", "EACCES", "EPERM", "ENOENT"]);
    }
    before.expect_unchanged();
}

#[test]
fn what_proc_tells_of_the_host_is_hidden() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for path in [
        "/proc/kcore",
        "/proc/kallsyms",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/interrupts",
        "/proc/sched_debug",
    ] {
        let ended = arena.inside(&format!("read {path}"));
        // Covered by an empty file, or absent.
        let text = ended.text();
        assert!(
            ["REACHED:", "refused: ENOENT"].contains(&text.as_str()),
            "{path}: {text}"
        );
    }
    arena.check_control("read /proc/kallsyms", Free);
}

#[test]
fn devices_that_show_the_machine_are_absent() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for path in [
        "/dev/mem",
        "/dev/kmem",
        "/dev/port",
        "/dev/kmsg",
        "/dev/kvm",
        "/dev/fuse",
        "/dev/vsock",
        "/dev/vhost-vsock",
        "/dev/net/tun",
        "/dev/loop-control",
        "/dev/userfaultfd",
        "/dev/console",
        "/dev/tty0",
        "/dev/vda",
        "/dev/sda",
        "/dev/input",
        "/dev/mapper/control",
    ] {
        arena.expect_refused(&format!("read {path}"), &["ENOENT"]);
    }
    arena.check_control("read /dev/kmsg", FreeAsRootUnlessForbidden);
}

/// Whoever starts cogo may have a terminal; without one of its own, an exec has none.
#[test]
fn the_callers_terminal_is_out_of_reach() {
    let Some(arena) = Arena::new() else {
        return;
    };
    arena.expect_refused("read /dev/tty", &["ENXIO"]);
}

#[test]
fn sys_is_empty_and_shows_no_cgroups() {
    let Some(arena) = Arena::new() else {
        return;
    };
    arena.expect_refused("list /sys", &["ENOENT"]);
    arena.expect_refused("list /sys/fs/cgroup", &["ENOENT"]);
    arena.expect_reached_outside("list /sys");
    let found = arena
        .place
        .run_script("find / -name release_agent -o -name cgroup.procs 2>/dev/null");
    assert_eq!(found.text(), "");
}

#[test]
fn a_device_made_by_the_host_in_the_workspace_is_dead() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let device = arena.place.workspace.join("zero");
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        &device,
        rustix::fs::FileType::CharacterDevice,
        0o666.into(),
        rustix::fs::makedev(1, 5),
    );
    if made.is_err() {
        println!("not tested: only root makes devices");
        return;
    }
    rustix::fs::chmod(&device, 0o666.into()).expect("a mode");
    arena.expect_refused(&format!("read {}", device.display()), &["EACCES"]);
    arena.check_control(&format!("read {}", device.display()), FreeUnlessForbidden);
}

/// The verdict names the signal with which the kernel answers.
#[cfg(target_arch = "x86_64")]
#[test]
fn i386_calls_end_the_program() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.inside("i386");
    let expected = Outcome::Signaled {
        signal: libc::SIGSYS,
        core_dumped: false,
    };
    assert_eq!(
        (ended.text().as_str(), ended.verdict.outcome),
        ("", expected)
    );
    let outside = arena.outside("i386");
    // A kernel without this door kills too.
    assert!(
        outside.is_empty() || outside.starts_with("REACHED"),
        "{outside}"
    );
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for attempt in [
        "type-into-terminal",
        "console-paste",
        "line-discipline",
        "console-output",
    ] {
        let mut spec = arena.spec(attempt);
        spec.pty = Some(PtySize {
            rows: 24,
            columns: 80,
        });
        expect_refused(&arena.place.run(&spec), &["EPERM"]);
    }
}

#[test]
fn the_host_name_of_the_machine_is_not_told() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let inside = arena.inside("read-hostname");
    assert_eq!(inside.expect_exit(0).text(), "REACHED: cogo");
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert_eq!(
        arena.outside("read-hostname"),
        format!("REACHED: {}", name.trim_end())
    );
}
