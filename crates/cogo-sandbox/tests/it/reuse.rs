//! Sandboxes that serve one command after the other: only where the one before left no trace.

use std::time::Duration;

use cogo_sandbox::exec_dir::ExecDir;
use cogo_sandbox::spec::{ExecSpec, Limits, WorkspaceMode};
use cogo_sandbox::start::{Secret, Start, Started};
use cogo_sandbox::verdict::Outcome;
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::fixture::{Ended, Place, ended, has_cgroups, stop, wait_for_output};

use crate::host::{kill_9, until};

/// A zygote that keeps used sandboxes.
struct Keeper {
    place: Place,
    zygote: Zygote,
}

/// A command that ran, and the sandbox that it ran in.
struct Ran {
    ended: Ended,
    sandbox: i32,
}

impl Keeper {
    /// `None` where nobody can tell what one command used, and what another: without control
    /// groups each sandbox is used once.
    fn new() -> Option<Self> {
        if !has_cgroups() {
            return None;
        }
        let place = Place::new();
        let options = ZygoteOptions {
            used: 4,
            ..ZygoteOptions::default()
        };
        let zygote = Zygote::start(place.launcher(), options).expect("a zygote");
        Some(Self { place, zygote })
    }

    fn start(&self, spec: &ExecSpec, secrets: &[Secret]) -> Started {
        let id = self.place.next_id();
        match self
            .zygote
            .start_exec(&self.place.state, &id, spec, secrets)
        {
            Ok(Start::Running(started)) => started,
            other => panic!("{other:?}"),
        }
    }

    fn run(&self, spec: &ExecSpec) -> Ran {
        let started = self.start(spec, &[]);
        Ran {
            sandbox: started.running.supervisor_pid,
            ended: ended(&started.exec),
        }
    }

    fn run_script(&self, script: &str) -> Ran {
        self.run(&self.place.script(script))
    }

    /// Runs a command until it gets a sandbox that has served before. A busy host may take longer
    /// to look at a used one than its starter waits.
    fn run_in_used(&self, spec: &ExecSpec) -> Ran {
        let mut seen = Vec::new();
        let mut last = None;
        until("a used sandbox", || {
            let ran = self.run(spec);
            let is_used = seen.contains(&ran.sandbox);
            seen.push(ran.sandbox);
            last = Some(ran);
            is_used
        });
        last.expect("it ran")
    }

    /// Runs a command in a used sandbox and sees that nobody gets the sandbox after that. What it
    /// ran in can be told apart: a process id is not given again so soon.
    fn expect_thrown_away(&self, what: &str, spec: &ExecSpec) {
        let plain = self.place.script("true");
        self.run_in_used(&plain);
        let ran = self.run(spec);
        for _ in 0..4 {
            assert_ne!(self.run(&plain).sandbox, ran.sandbox, "{what}");
        }
    }
}

#[test]
fn what_left_no_trace_serves_again() {
    let Some(keeper) = Keeper::new() else { return };
    let spec = keeper
        .place
        .script("cat /proc/self/cgroup; cat file; echo >&2 done; exit 3");
    std::fs::write(keeper.place.workspace.join("file"), "shown").expect("a file");
    let ran = keeper.run_in_used(&spec);
    ran.ended.expect_exit(3);
    assert!(ran.ended.text().ends_with("shown"), "{}", ran.ended.text());
    assert_eq!(ran.ended.stderr, b"done\n");
}

#[test]
fn every_trace_has_the_sandbox_thrown_away() {
    let Some(keeper) = Keeper::new() else { return };
    let leave = [
        ("a file", "echo secret > /tmp/file"),
        ("a file that is gone again", "touch /tmp/file; rm /tmp/file"),
        ("a hidden directory", "mkdir -p /dev/shm/.a/.b"),
        ("a file at home", "touch \"$HOME/.profile\""),
        ("a link", "ln -s secret /var/tmp/link"),
        (
            "a socket's file",
            "perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(\"/tmp/s\"))'",
        ),
        ("another mode", "chmod 700 /tmp"),
        ("another time", "touch -d '1 year ago' /var/tmp"),
        ("a look into a directory", "ls /dev/shm"),
        ("shared memory", "ipcmk -M 4096"),
        ("a semaphore", "ipcmk -S 1"),
        ("a message queue", "ipcmk -Q"),
        (
            "a packet",
            "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(Proto=>\"udp\",PeerAddr=>\"127.0.0.1:9\")->send(\"x\")'",
        ),
        ("niceness of process 1", "renice -n 5 -p 1"),
        ("the CPUs of process 1", "taskset -pc 0 1"),
        ("the I/O class of process 1", "ionice -c 3 -p 1"),
        ("a process", "sleep 1000 & true"),
        ("an own session", "setsid -f sleep 1000; true"),
    ];
    for (what, script) in leave {
        keeper.expect_thrown_away(what, &keeper.place.script(script));
    }
}

#[test]
fn attempts_really_leave_what_they_are_to_leave() {
    let Some(keeper) = Keeper::new() else { return };
    let scripts = [
        "ipcmk -M 4096 && ipcs -m | grep -q 4096",
        "ipcmk -S 1 && ipcmk -Q",
        "renice -n 5 -p 1 && test \"$(ps -o ni= -p 1 | tr -d ' ')\" = 5",
        "taskset -pc 0 1",
        "ionice -c 3 -p 1",
    ];
    for script in scripts {
        let ran = keeper.run_script(script);
        assert_eq!(
            ran.ended.verdict.outcome,
            Outcome::Exited { code: 0 },
            "{script}"
        );
    }
}

#[test]
fn a_posix_message_queue_has_the_sandbox_thrown_away() {
    let Some(keeper) = Keeper::new() else { return };
    // mq_open(2) with O_CREAT and O_RDWR; perl has no module for it. Landlock refuses to open the
    // queue, but the kernel has made it by then.
    let script = format!("perl -e 'syscall({MQ_OPEN}, my $name = \"secret\", 0102, 0600, 0)'");
    keeper.expect_thrown_away("a message queue", &keeper.place.script(&script));
}

#[cfg(target_arch = "x86_64")]
const MQ_OPEN: i64 = 240;
#[cfg(target_arch = "aarch64")]
const MQ_OPEN: i64 = 180;

#[test]
fn stopped_and_killed_commands_end_their_sandbox() {
    let Some(keeper) = Keeper::new() else { return };
    let plain = keeper.place.script("true");
    keeper.run_in_used(&plain);
    let started = keeper.start(&keeper.place.script("echo up; sleep 1000"), &[]);
    wait_for_output(&started.exec, "up\n");
    stop(&started.exec, Duration::ZERO);
    let sandbox = started.running.supervisor_pid;
    assert_eq!(ended(&started.exec).verdict.outcome, Outcome::Cancelled);
    for _ in 0..4 {
        assert_ne!(keeper.run(&plain).sandbox, sandbox);
    }
}

#[test]
fn another_kind_of_command_gets_another_sandbox() {
    let Some(keeper) = Keeper::new() else { return };
    let plain = keeper.place.script("true");
    let used = keeper.run_in_used(&plain).sandbox;
    let bounded = ExecSpec {
        limits: Limits {
            pids: Some(10),
            ..Limits::default()
        },
        ..plain.clone()
    };
    let mut read_only = plain.clone();
    read_only.workspace.mode = WorkspaceMode::ReadOnly;
    let mut elsewhere = plain.clone();
    elsewhere.workspace.path = keeper.place.outside().join("other");
    std::fs::create_dir(&elsewhere.workspace.path).expect("another workspace");
    for other in [bounded, read_only, elsewhere] {
        assert_ne!(keeper.run(&other).sandbox, used);
    }
}

#[test]
fn a_workspace_that_was_replaced_is_not_shown() {
    let Some(keeper) = Keeper::new() else { return };
    let spec = keeper.place.script("cat file");
    let workspace = &keeper.place.workspace;
    std::fs::write(workspace.join("file"), "old").expect("a file");
    keeper.run_in_used(&spec);
    std::fs::rename(workspace, keeper.place.outside().join("away")).expect("a move");
    std::fs::create_dir(workspace).expect("a new workspace");
    std::fs::write(workspace.join("file"), "new").expect("a file");
    assert_eq!(keeper.run(&spec).ended.expect_exit(0).text(), "new");
}

#[test]
fn sandboxes_that_knew_a_secret_and_copies_are_used_once() {
    let Some(keeper) = Keeper::new() else { return };
    let plain = keeper.place.script("true");
    keeper.run_in_used(&plain);
    let secret = Secret {
        name: "TOKEN".to_owned(),
        value: "a long secret value".to_owned(),
    };
    let started = keeper.start(&plain, &[secret]);
    ended(&started.exec).expect_exit(0);
    let mut copy = plain.clone();
    copy.workspace.mode = WorkspaceMode::Copy;
    let copied = keeper.run(&copy);
    for _ in 0..4 {
        let sandbox = keeper.run(&plain).sandbox;
        assert_ne!(sandbox, started.running.supervisor_pid);
        assert_ne!(keeper.run(&copy).sandbox, copied.sandbox);
    }
}

#[test]
fn nothing_of_one_command_is_counted_for_the_next() {
    let Some(keeper) = Keeper::new() else { return };
    // No process stays: it computes, and holds 64 MiB for a moment.
    let heavy = "perl -e '$s = \"x\" x (64<<20); for (1..2e6) { $n += $_ }'; exit 1";
    let heavy = keeper
        .run_in_used(&keeper.place.script(heavy))
        .ended
        .verdict;
    assert!(heavy.usage.memory_peak > 64 << 20, "{heavy:?}");
    let light = keeper
        .run_in_used(&keeper.place.script("exit 1"))
        .ended
        .verdict;
    assert!(light.usage.memory_peak < 32 << 20, "{light:?}");
    let cpu = |verdict: &cogo_sandbox::verdict::Verdict| {
        verdict.usage.cpu_user + verdict.usage.cpu_system
    };
    assert!(cpu(&light) < cpu(&heavy), "{light:?} {heavy:?}");
    assert_eq!(light.outcome, Outcome::Exited { code: 1 });
}

#[test]
fn the_environment_and_the_directory_are_the_commands_own() {
    let Some(keeper) = Keeper::new() else { return };
    let mut first = keeper
        .place
        .script("cd /tmp; export LATER=x; umask 0; ulimit -n 5; ulimit -c");
    first.env = vec![("SEEN".to_owned(), "yes".to_owned())];
    keeper.run_in_used(&first);
    let script = "pwd; umask; ulimit -n; echo \"$SEEN$LATER\"";
    let fresh = Keeper::new().expect("control groups");
    let expected = fresh.run_script(script).ended.text();
    let there = fresh.place.workspace.display().to_string();
    let here = keeper.place.workspace.display().to_string();
    let ran = keeper.run_in_used(&keeper.place.script(script));
    assert_eq!(ran.ended.text(), expected.replace(&there, &here));
}

#[test]
fn a_supervisor_that_dies_in_its_second_exec_leaves_the_first_as_it_was() {
    let Some(keeper) = Keeper::new() else { return };
    let id = keeper.place.next_id();
    let first = match keeper.zygote.start_exec(
        &keeper.place.state,
        &id,
        &keeper.place.script("exit 7"),
        &[],
    ) {
        Ok(Start::Running(started)) => started,
        other => panic!("{other:?}"),
    };
    let verdict = ended(&first.exec).verdict;
    keeper.run_in_used(&keeper.place.script("exit 7"));
    let second = keeper.start(&keeper.place.script("echo up; sleep 1000"), &[]);
    wait_for_output(&second.exec, "up\n");
    kill_9(second.running.supervisor_pid);
    let unknown = ended(&second.exec).verdict;
    assert!(
        matches!(unknown.outcome, Outcome::Unknown { .. }),
        "{unknown:?}"
    );
    assert_eq!(unknown.survivors, 0);
    assert_eq!(ended(&ExecDir::at(first.exec.path())).verdict, verdict);
    until("its processes are gone", || {
        keeper.place.processes_inside().is_empty()
    });
}

#[test]
fn what_nobody_uses_is_let_go() {
    let Some(keeper) = Keeper::new() else { return };
    let used = keeper.run_in_used(&keeper.place.script("true")).sandbox;
    until("the supervisor has gone", || {
        keeper.zygote.let_go_of_unused(Duration::ZERO);
        !std::path::Path::new(&format!("/proc/{used}")).exists()
    });
}
