//! Deaths that nobody asked for: of the supervisor, of process 1, of a zygote, of a session's
//! keeper. Nothing of the exec outlives them, and the verdict never reads as success.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cogo_sandbox::exec_dir::ExecDir;
use cogo_sandbox::spec::WorkspaceMode;
use cogo_sandbox::start::{Launcher, Start, StartError, Started, start};
use cogo_sandbox::verdict::Outcome;
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::fixture::{Place, ended, has_cgroups, strongest, wait_for_output};
use crate::host::{self, MarkedSleep, children, eventually, groups, kill_9, until};

/// Everything that could hide from a kill, five processes in all. One is stopped, once it is
/// what it is to be.
const FAMILY: &str = "setsid SLEEP & (trap '' TERM HUP; setsid sh -c 'SLEEP & wait') & SLEEP & \
                      SLEEP & until grep -q ^life /proc/$!/comm; do sleep 0.01; done; \
                      kill -STOP $!; SLEEP";
const FAMILY_SIZE: usize = 5;

/// Runs until it is let go.
const GATED: &str = "while [ ! -e go ]; do sleep 0.02; done; exit 7";

/// An exec with its whole family running.
fn start_family(place: &Place, sleep: &MarkedSleep, id: &str) -> Started {
    let spec = place.script(&sleep.script(FAMILY));
    match place.try_start_as(id, &spec, &[]).expect("a start") {
        Start::Running(started) => {
            sleep.wait_for(FAMILY_SIZE);
            started
        }
        Start::Ended(exec) => panic!("not started: {:?}", exec.wait()),
    }
}

/// Process 1 of the sandbox of a supervisor.
fn init_of(supervisor: i32) -> i32 {
    let is_init = |process: &host::Process| process.name == "cogo-init";
    let found = children(supervisor).into_iter().find(is_init);
    found.expect("a process 1").pid
}

#[track_caller]
fn expect_unknown(exec: &ExecDir) {
    let verdict = exec.wait().expect("a verdict");
    assert!(
        matches!(verdict.outcome, Outcome::Unknown { .. }),
        "{verdict:?}"
    );
    assert_eq!(verdict.survivors, 0);
}

#[track_caller]
fn expect_nothing_left(exec: &ExecDir, sleep: &MarkedSleep, id: &str) {
    // The kernel has killed them; their parents may still be reaping.
    until("the exec's processes are gone", || {
        sleep.processes().is_empty()
    });
    assert_eq!(groups(id), Vec::<PathBuf>::new());
    let listing = std::fs::read_dir(exec.path()).expect("a listing");
    let mut files: Vec<_> = listing
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["lock", "log", "running.json", "spec.json", "verdict.json"]
    );
}

#[test]
fn killing_the_supervisor_ends_everything_and_reads_unknown() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mounts = host::mounts();
    let id = format!("orphan{}", std::process::id());
    let mut started = start_family(&place, &sleep, &id);
    let init = init_of(started.running.supervisor_pid);
    kill_9(started.running.supervisor_pid);
    started.reap().expect("a dead supervisor");
    expect_unknown(&started.exec);
    expect_nothing_left(&started.exec, &sleep, &id);
    until("process 1 is gone", || !host::runs(init));
    assert_eq!(host::mounts(), mounts);
}

#[test]
fn killing_the_supervisor_throws_the_copy_of_the_workspace_away() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let id = format!("copy{}", std::process::id());
    let mut spec = place.script(&sleep.script("echo changed > file; echo ready; SLEEP"));
    spec.workspace.mode = WorkspaceMode::Copy;
    let Start::Running(mut started) = place.try_start_as(&id, &spec, &[]).expect("a start") else {
        panic!("not started");
    };
    wait_for_output(&started.exec, "ready\n");
    kill_9(started.running.supervisor_pid);
    started.reap().expect("a dead supervisor");
    expect_unknown(&started.exec);
    expect_nothing_left(&started.exec, &sleep, &id);
    assert!(!place.workspace.join("file").exists());
}

#[test]
fn killing_process_1_from_outside_reads_unknown() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let id = format!("headless{}", std::process::id());
    let mut started = start_family(&place, &sleep, &id);
    kill_9(init_of(started.running.supervisor_pid));
    expect_unknown(&started.exec);
    started.reap().expect("a supervisor");
    expect_nothing_left(&started.exec, &sleep, &id);
}

#[test]
fn killing_a_supervisor_while_it_starts_leaves_nothing() {
    const KILLS: u32 = 60;
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mounts = host::mounts();
    // A program of its own tells its processes from those of other tests.
    let launcher = Launcher {
        program: place.outside().join("launcher"),
        ..Launcher::default()
    };
    std::fs::copy(&place.launcher().program, &launcher.program).expect("a copy");
    let spec = place.script(&sleep.script("setsid SLEEP & SLEEP"));
    let prefix = format!("early{}-", std::process::id());
    let mut refused = 0;
    for kill in 0..KILLS {
        let id = format!("{prefix}{kill}");
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| kill_soon(&launcher.program, Duration::from_micros(100) * kill));
            start(&launcher, &place.state, &id, &spec, &[])
        });
        match outcome {
            Ok(Start::Running(mut started)) => {
                started.reap().expect("a dead supervisor");
                expect_unknown(&started.exec);
                started.exec.remove().expect("a removal");
            }
            Err(StartError::SupervisorDied | StartError::Spawn(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(place.state.exec(&id).is_none(), "a folder is left");
        until("its processes are gone", || {
            executing(&launcher.program).is_empty()
        });
        until("its sleepers are gone", || sleep.processes().is_empty());
        assert_eq!(groups(&id), Vec::<PathBuf>::new());
    }
    assert!(refused > 0, "no kill came early");
    assert_eq!(host::mounts(), mounts);
}

/// Kills the first process of a program, so long after it appeared.
fn kill_soon(program: &Path, after: Duration) {
    let victim = eventually("the supervisor appears", || {
        host::own_children()
            .into_iter()
            .find(|child| executes(*child, program))
    });
    let begin = std::time::Instant::now();
    while begin.elapsed() < after {
        std::hint::spin_loop();
    }
    kill_9(victim);
}

fn executes(pid: i32, program: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
}

/// Processes of a program, oldest first. One that is about to end has no program any more.
fn executing(program: &Path) -> Vec<i32> {
    let mut found: Vec<_> = host::processes()
        .into_iter()
        .map(|process| process.pid)
        .filter(|pid| executes(*pid, program))
        .collect();
    found.sort_unstable();
    found
}

/// A zygote and its place.
struct Nursery {
    place: Place,
    sleep: MarkedSleep,
    zygote: Zygote,
    pid: i32,
}

impl Nursery {
    fn new() -> Self {
        let place = Place::new();
        let sleep = MarkedSleep::new(&place);
        let launcher = Launcher {
            program: place.outside().join("launcher"),
            ..Launcher::default()
        };
        std::fs::copy(&place.launcher().program, &launcher.program).expect("a copy");
        let zygote = Zygote::start(&launcher, ZygoteOptions::default()).expect("a zygote");
        let pid = executing(&launcher.program)[0];
        Self {
            place,
            sleep,
            zygote,
            pid,
        }
    }

    fn start(&self, id: &str, script: &str) -> Started {
        let spec = self.place.script(&self.sleep.script(script));
        match self.zygote.start_exec(&self.place.state, id, &spec, &[]) {
            Ok(Start::Running(started)) => started,
            other => panic!("{other:?}"),
        }
    }

    /// The supervisors that wait for an errand, once all are there: those parked with a sandbox
    /// and those with blank namespaces. All but the busy ones.
    fn parked(&self, count: usize, busy: &[i32]) -> Vec<i32> {
        let expected = count + ZygoteOptions::default().blanks;
        eventually("supervisors are parked", || {
            let mut waiting: Vec<i32> = children(self.pid).iter().map(|child| child.pid).collect();
            waiting.retain(|pid| !busy.contains(pid));
            (waiting.len() == expected).then_some(waiting)
        })
    }
}

/// Waits until the groups of these supervisors are removed.
#[track_caller]
fn expect_no_groups_of(makers: &[i32]) {
    for maker in makers {
        until("the group is removed", || {
            let ending = format!(".{maker}");
            let found = groups("");
            !found
                .iter()
                .any(|group| group.to_string_lossy().ends_with(&ending))
        });
    }
}

#[test]
fn killing_a_zygotes_supervisor_ends_its_exec_alone() {
    let nursery = Nursery::new();
    let id = format!("child{}", std::process::id());
    let started = nursery.start(&id, FAMILY);
    let other = nursery.start("other", GATED);
    nursery.sleep.wait_for(FAMILY_SIZE);
    kill_9(started.running.supervisor_pid);
    expect_unknown(&started.exec);
    expect_nothing_left(&started.exec, &nursery.sleep, &id);
    std::fs::write(nursery.place.workspace.join("go"), "").expect("a file");
    ended(&other.exec).expect_exit(7);
    let again = nursery.start("again", "exit 5");
    ended(&again.exec).expect_exit(5);
}

#[test]
fn killing_a_parked_supervisor_costs_no_exec() {
    let nursery = Nursery::new();
    let spec = nursery.place.script("exit 6");
    nursery
        .zygote
        .keep_warm(&spec, 2)
        .expect("parked sandboxes");
    let parked = nursery.parked(2, &[]);
    let inits: Vec<i32> = parked.iter().map(|parked| init_of(*parked)).collect();
    parked.iter().copied().for_each(kill_9);
    for init in inits {
        until("process 1 is gone", || !host::runs(init));
    }
    expect_no_groups_of(&parked);
    let id = nursery.place.next_id();
    match nursery
        .zygote
        .start_exec(&nursery.place.state, &id, &spec, &[])
    {
        Ok(Start::Running(started)) => drop(ended(&started.exec).expect_exit(6)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn killing_a_zygote_ends_nothing_that_runs_and_its_owner_ends_what_is_parked() {
    let nursery = Nursery::new();
    let spec = nursery.place.script("true");
    let running = nursery.start("running", GATED);
    nursery
        .zygote
        .keep_warm(&spec, 2)
        .expect("parked sandboxes");
    let parked = nursery.parked(2, &[running.running.supervisor_pid]);
    kill_9(nursery.pid);
    // What is parked belongs to the zygote's owner, and is as good as before.
    let late = nursery.start("late", "exit 5");
    ended(&late.exec).expect_exit(5);
    std::fs::write(nursery.place.workspace.join("go"), "").expect("a file");
    ended(&running.exec).expect_exit(7);
    let Nursery { place, zygote, .. } = nursery;
    drop(zygote);
    for pid in &parked {
        until("the parked are gone", || !host::runs(*pid));
    }
    expect_no_groups_of(&parked);
    drop(place);
}

#[test]
fn groups_of_dead_supervisors_are_swept_by_the_next_zygote() {
    if !has_cgroups() {
        eprintln!("skipped: no control groups for this user");
        return;
    }
    let nursery = Nursery::new();
    let spec = nursery.place.script("true");
    nursery
        .zygote
        .keep_warm(&spec, 2)
        .expect("parked sandboxes");
    let parked: Vec<i32> = children(nursery.pid)
        .iter()
        .map(|child| child.pid)
        .collect();
    // The parent first, so that nobody is there to clean up.
    let all: Vec<i32> = [nursery.pid].iter().chain(&parked).copied().collect();
    all.iter().copied().for_each(kill_9);
    for pid in &parked {
        until("the parked are gone", || !host::runs(*pid));
    }
    let _next = Nursery::new();
    expect_no_groups_of(&parked);
}

#[test]
fn killing_an_exec_of_a_session_leaves_the_session() {
    let nursery = Nursery::new();
    let spec = nursery.place.script("true");
    let session = nursery
        .zygote
        .open_session(&nursery.place.state, "session", &spec)
        .expect("a session");
    let start = |id: &str, script: &str| {
        let spec = nursery.place.script(&nursery.sleep.script(script));
        match session.start_exec(&nursery.place.state, id, &spec, &[]) {
            Ok(Start::Running(started)) => started,
            other => panic!("{other:?}"),
        }
    };
    let victim = start("victim", FAMILY);
    nursery.sleep.wait_for(FAMILY_SIZE);
    kill_9(victim.running.supervisor_pid);
    expect_unknown(&victim.exec);
    expect_nothing_left(&victim.exec, &nursery.sleep, "victim");
    ended(&start("next", "exit 8").exec).expect_exit(8);
}

#[test]
fn killing_a_session_ends_all_its_execs_as_unknown() {
    let nursery = Nursery::new();
    let mut spec = nursery.place.script("true");
    spec.isolation = strongest();
    let session = nursery
        .zygote
        .open_session(&nursery.place.state, "session", &spec)
        .expect("a session");
    let keeper = children(nursery.pid)[0].pid;
    let spec = nursery.place.script(&nursery.sleep.script(FAMILY));
    let Ok(Start::Running(started)) =
        session.start_exec(&nursery.place.state, "inside", &spec, &[])
    else {
        panic!("not started");
    };
    nursery.sleep.wait_for(FAMILY_SIZE);
    kill_9(keeper);
    expect_unknown(&started.exec);
    let supervisor = started.running.supervisor_pid;
    until("its supervisor is gone", || !host::runs(supervisor));
    expect_nothing_left(&started.exec, &nursery.sleep, "inside");
    expect_no_groups_of(&[keeper]);
    let refused = session.start_exec(&nursery.place.state, "late", &spec, &[]);
    assert!(refused.is_err(), "{refused:?}");
    assert!(
        nursery.place.state.exec("late").is_none(),
        "a folder is left"
    );
    drop(session);
    let sessions =
        std::fs::read_dir(nursery.place.state.path().join("sessions")).expect("a listing");
    assert_eq!(sessions.count(), 0);
}
