//! From the first process of an exec to its last: daemons, stops, signals, timeouts.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::start::{Start, StartError};
use cogo_sandbox::verdict::{BlockCause, ExitStatus, Outcome, TimeoutClock};
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::fixture::{Place, ended, stop, wait_for_output};
use crate::host::{self, MarkedSleep, eventually, groups, until};

/// Longer than any test: whoever waits for it has failed.
const HOUR: Duration = Duration::from_hours(1);

/// Ways to outlive the command.
const DAEMONS: [&str; 5] = [
    // Double fork into a session of its own.
    "setsid sh -c 'SLEEP & SLEEP &'; echo done",
    // Deaf to SIGTERM and SIGHUP.
    "(trap '' TERM HUP; SLEEP &); (trap '' TERM HUP; exec setsid SLEEP) & echo done",
    // Holds the output open.
    "setsid SLEEP & setsid sh -c 'SLEEP >/dev/null 2>&1 </dev/null & SLEEP' & echo done",
    // Stopped, so that it sees no polite signal.
    "SLEEP & kill -STOP $!; echo done",
    // A command that dies hard itself.
    "setsid SLEEP & setsid SLEEP & echo done; kill -KILL $$",
];

#[test]
fn a_thousand_execs_with_daemons_leave_nothing() {
    const EXECS: usize = 1000;
    let scene = Scene::new();
    scene.run_many(EXECS, |id, spec| scene.place.try_start_as(id, spec, &[]));
    scene.expect_nothing_left();
}

#[test]
fn execs_of_a_zygote_with_daemons_leave_nothing() {
    const EXECS: usize = 200;
    let scene = Scene::new();
    let place = &scene.place;
    let zygote = Zygote::start(place.launcher(), ZygoteOptions::default()).expect("a zygote");
    zygote
        .keep_warm(&place.script("true"), 2)
        .expect("parked sandboxes");
    scene.run_many(EXECS, |id, spec| {
        zygote.start_exec(&place.state, id, spec, &[])
    });
    drop(zygote);
    scene.expect_nothing_left();
}

#[test]
fn daemons_of_a_session_stay_until_its_end_and_leave_nothing() {
    const EXECS: usize = 40;
    let scene = Scene::new();
    let place = &scene.place;
    let zygote = Zygote::start(place.launcher(), ZygoteOptions::default()).expect("a zygote");
    let id = format!("{}session", scene.prefix);
    let session = zygote
        .open_session(&place.state, &id, &place.script("true"))
        .expect("a session");
    scene.run_many(EXECS, |id, spec| {
        session.start_exec(&place.state, id, spec, &[])
    });
    // One daemon at least of each.
    scene.sleep.wait_for(EXECS);
    drop(session);
    scene.sleep.expect_none();
    drop(zygote);
    let sessions = std::fs::read_dir(place.state.path().join("sessions")).expect("a listing");
    assert_eq!(sessions.count(), 0);
    scene.expect_nothing_left();
}

/// Many execs with daemons, and what the host was like before them.
struct Scene {
    place: Place,
    sleep: MarkedSleep,
    /// Of all ids.
    prefix: String,
    mounts: String,
}

impl Scene {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let place = Place::new();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            sleep: MarkedSleep::new(&place),
            prefix: format!("daemons{}-{count}-", std::process::id()),
            mounts: host::mounts(),
            place,
        }
    }

    /// Runs so many execs, several at once.
    fn run_many(
        &self,
        count: usize,
        start: impl Fn(&str, &ExecSpec) -> Result<Start, StartError> + Sync,
    ) {
        const AT_ONCE: usize = 8;
        let next = AtomicUsize::new(0);
        let run = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return;
                }
                let script = self.sleep.script(DAEMONS[index % DAEMONS.len()]);
                let id = format!("{}{index}", self.prefix);
                leave_daemons(start(&id, &self.place.script(&script)), &script);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(run);
            }
        });
    }

    #[track_caller]
    fn expect_nothing_left(&self) {
        self.sleep.expect_none();
        // A zygote takes its parked sandboxes down on its way out.
        until("all groups are removed", || groups(&self.prefix).is_empty());
        assert_eq!(host::mounts(), self.mounts);
        assert_eq!(self.place.state.execs().expect("a listing").len(), 0);
        let workspace = std::fs::read_dir(&self.place.workspace).expect("a listing");
        assert_eq!(workspace.count(), 1, "only the marked program");
        assert_eq!(self.place.processes_inside(), Vec::<String>::new());
        for shared in [std::env::temp_dir(), "/dev/shm".into(), "/run".into()] {
            expect_no_file(&shared, &self.prefix);
        }
    }
}

/// Fails if a file bears the name of an exec. A folder that is not there holds none.
#[track_caller]
fn expect_no_file(folder: &Path, id_prefix: &str) {
    let listing = std::fs::read_dir(folder).into_iter().flatten();
    let mut names = listing.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found = names.find(|name| name.contains(id_prefix));
    assert_eq!(found, None, "in {}", folder.display());
}

#[track_caller]
fn leave_daemons(start: Result<Start, StartError>, script: &str) {
    let Start::Running(mut started) = start.expect("a start") else {
        panic!("`{script}` did not run");
    };
    let ended = ended(&started.exec);
    assert_eq!(ended.text(), "done", "{script}: {ended:?}");
    assert_eq!(ended.verdict.survivors, 0, "{script}: {ended:?}");
    let expected = if script.contains("KILL") {
        Outcome::Signaled {
            signal: libc::SIGKILL,
            core_dumped: false,
        }
    } else {
        Outcome::Exited { code: 0 }
    };
    assert_eq!(ended.verdict.outcome, expected, "{script}");
    started.reap().expect("a supervisor");
    let supervisor = started.running.supervisor_pid;
    until("the supervisor is gone", || !host::runs(supervisor));
    started.exec.remove().expect("a removal");
}

#[test]
fn a_stop_asks_first_and_keeps_what_is_said_then() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let started = place.start(&place.script(&sleep.script(
        "trap 'echo saved; exit 3' TERM; setsid SLEEP & echo ready; while :; do sleep 0.02; done",
    )));
    wait_for_output(&started.exec, "ready\n");
    sleep.wait_for(1);
    stop(&started.exec, HOUR);
    let ended = ended(&started.exec);
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert_eq!(ended.text(), "ready\nsaved");
    assert_eq!(
        (ended.verdict.survivors, ended.verdict.incidents),
        (0, vec![])
    );
    sleep.expect_none();
}

#[test]
fn who_is_deaf_to_the_stop_is_killed_after_the_grace_period() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let started =
        place.start(&place.script(&sleep.script(
            "trap '' TERM; SLEEP & setsid SLEEP & echo ready; while :; do sleep 0.02; done",
        )));
    wait_for_output(&started.exec, "ready\n");
    sleep.wait_for(2);
    stop(&started.exec, Duration::from_millis(50));
    let ended = ended(&started.exec);
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert_eq!(
        (ended.text().as_str(), ended.verdict.survivors),
        ("ready", 0)
    );
    sleep.expect_none();
}

#[test]
fn a_second_stop_brings_the_kill_nearer() {
    let place = Place::new();
    let started = place
        .start(&place.script("trap 'echo heard' TERM; echo ready; while :; do sleep 0.02; done"));
    wait_for_output(&started.exec, "ready\n");
    stop(&started.exec, HOUR);
    wait_for_output(&started.exec, "ready\nheard\n");
    stop(&started.exec, Duration::ZERO);
    assert_eq!(ended(&started.exec).verdict.outcome, Outcome::Cancelled);
}

#[test]
fn a_stop_for_a_hang_leaves_the_cause_and_the_commands_own_end_in_the_verdict() {
    let place = Place::new();
    let started =
        place
            .start(&place.script(
                "trap 'echo heard; exit 3' TERM; echo ready; while :; do sleep 0.02; done",
            ));
    wait_for_output(&started.exec, "ready\n");
    let block = BlockCause {
        reason: "deadlock".to_owned(),
        duration: Duration::from_millis(700),
        evidence: vec!["no thread runs".to_owned()],
    };
    let request = Request::StopBlocked {
        grace_period: HOUR,
        block: block.clone(),
    };
    let control = ControlClient::connect(&started.exec).expect("a supervisor");
    control.send(&request).expect("a supervisor that listens");
    let ended = ended(&started.exec);
    let status = Some(ExitStatus::Exited(3));
    assert_eq!(ended.verdict.outcome, Outcome::Blocked { block, status });
    assert_eq!(ended.text(), "ready\nheard");
}

#[test]
fn a_stopped_process_hears_the_stop() {
    let place = Place::new();
    let script = "trap 'echo woke; exit 0' TERM; echo $$ ready; kill -STOP $$; \
                  while :; do sleep 0.02; done";
    let started = place.start(&place.script(script));
    let command = started.running.command_pid.expect("a live command");
    eventually("the command is stopped", || {
        host::process(command).filter(|process| process.state == 'T')
    });
    stop(&started.exec, HOUR);
    let ended = ended(&started.exec);
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    assert!(ended.text().ends_with("woke"), "{ended:?}");
}

#[test]
fn a_timeout_keeps_what_was_printed_before_and_while_it_stops() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mut spec = place.script(&sleep.script(
        "trap 'echo after; exit 0' TERM; setsid SLEEP & echo before; while :; do sleep 0.02; done",
    ));
    spec.limits.timeout = Some(Duration::from_millis(1500));
    spec.grace_period = HOUR;
    let ended = place.run(&spec);
    let expected = Outcome::TimedOut {
        after: Duration::from_millis(1500),
        clock: TimeoutClock::Wall,
    };
    assert_eq!(ended.verdict.outcome, expected);
    assert_eq!(ended.text(), "before\nafter");
    assert!(ended.verdict.usage.wall >= Duration::from_millis(1500));
    assert_eq!(ended.verdict.survivors, 0);
    sleep.expect_none();
}

#[test]
fn a_timeout_ends_in_a_kill_for_who_ignores_it() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mut spec = place.script(&sleep.script("trap '' TERM; echo before; SLEEP & SLEEP; wait"));
    spec.limits.timeout = Some(Duration::from_secs(1));
    spec.grace_period = Duration::from_millis(20);
    let ended = place.run(&spec);
    assert!(
        matches!(
            ended.verdict.outcome,
            Outcome::TimedOut {
                clock: TimeoutClock::Wall,
                ..
            }
        ),
        "{ended:?}"
    );
    assert_eq!(
        (ended.text().as_str(), ended.verdict.survivors),
        ("before", 0)
    );
    sleep.expect_none();
}

#[test]
fn silence_is_timed_from_the_last_output() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let mut spec =
        place.script(&sleep.script("echo one; sleep 0.5; echo two; sleep 0.5; echo three; SLEEP"));
    spec.limits.silence_timeout = Some(Duration::from_secs(2));
    let ended = place.run(&spec);
    let expected = Outcome::TimedOut {
        after: Duration::from_secs(2),
        clock: TimeoutClock::Silence,
    };
    assert_eq!(ended.verdict.outcome, expected);
    assert_eq!(ended.text(), "one\ntwo\nthree");
    // Two pauses and then the silence itself.
    assert!(ended.verdict.usage.wall >= Duration::from_secs(3));
    sleep.expect_none();
}
