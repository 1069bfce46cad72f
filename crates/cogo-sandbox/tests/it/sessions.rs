//! Many commands in one sandbox, and sandboxes made ahead of need.

use std::time::Duration;

use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::session::Session;
use cogo_sandbox::spec::{ExecSpec, Limits, WorkspaceMode};
use cogo_sandbox::start::{Start, StartError};
use cogo_sandbox::verdict::Outcome;
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::fixture::{Ended, Place, ended, has_cgroups, stop};
use crate::host::{MarkedSleep, until};

/// A place with a zygote.
struct Nursery {
    place: Place,
    zygote: Zygote,
}

impl Nursery {
    fn new() -> Self {
        let place = Place::new();
        let zygote = Zygote::start(place.launcher(), ZygoteOptions::default()).expect("a zygote");
        Self { place, zygote }
    }

    fn run(&self, spec: &ExecSpec) -> Ended {
        let id = self.place.next_id();
        end(self.zygote.start_exec(&self.place.state, &id, spec, &[]))
    }

    fn session(&self, spec: &ExecSpec) -> Session {
        let id = self.place.next_id();
        self.zygote
            .open_session(&self.place.state, &id, spec)
            .expect("a session")
    }

    fn run_in(&self, session: &Session, script: &str) -> Ended {
        let spec = self.place.script(script);
        end(session.start_exec(&self.place.state, &self.place.next_id(), &spec, &[]))
    }
}

fn end(started: Result<Start, StartError>) -> Ended {
    match started.expect("a start") {
        Start::Running(started) => ended(&started.exec),
        Start::Ended(exec) => ended(&exec),
    }
}

#[test]
fn a_zygote_starts_execs() {
    let nursery = Nursery::new();
    let ended = nursery.run(&nursery.place.script("echo hello; exit 3"));
    assert_eq!(ended.expect_exit(3).text(), "hello");
}

#[test]
fn parked_sandboxes_are_used_once_each_and_limited_late() {
    let nursery = Nursery::new();
    let mut spec = nursery
        .place
        .script("hostname; echo $$; ls /tmp/seen; touch /tmp/seen");
    if has_cgroups() {
        spec.limits = Limits {
            memory: Some(64 << 20),
            ..Limits::default()
        };
    }
    nursery
        .zygote
        .keep_warm(&spec, 2)
        .expect("parked sandboxes");
    for _ in 0..5 {
        // Every one is fresh: nobody's files, and the command is the first process.
        assert_eq!(nursery.run(&spec).expect_exit(0).text(), "cogo\n2");
    }
}

#[test]
fn execs_go_on_when_their_zygote_dies() {
    let nursery = Nursery::new();
    let id = nursery.place.next_id();
    let spec = nursery.place.script("read line < gate; echo $line");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        nursery.place.workspace.join("gate"),
        0o666.into(),
    )
    .expect("a gate");
    let started = nursery
        .zygote
        .start_exec(&nursery.place.state, &id, &spec, &[]);
    let Ok(Start::Running(started)) = started else {
        panic!("{started:?}")
    };
    let place = nursery.place;
    drop(nursery.zygote);
    std::fs::write(place.workspace.join("gate"), "opened\n").expect("an open gate");
    assert_eq!(ended(&started.exec).expect_exit(0).text(), "opened");
}

#[test]
fn a_session_keeps_files_and_processes_between_execs() {
    let nursery = Nursery::new();
    let session = nursery.session(&nursery.place.script("true"));
    nursery
        .run_in(
            &session,
            "echo kept > /tmp/file; sleep 1000 & echo $! > /tmp/pid",
        )
        .expect_exit(0);
    let second = nursery.run_in(
        &session,
        "cat /tmp/file; kill -0 $(cat /tmp/pid) && echo alive",
    );
    assert_eq!(second.expect_exit(0).text(), "kept\nalive");
}

#[test]
fn the_end_of_a_session_is_the_end_of_everything_in_it() {
    let nursery = Nursery::new();
    let session = nursery.session(&nursery.place.script("true"));
    let script = "setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & exit 0";
    nursery.run_in(&session, script).expect_exit(0);
    drop(session);
    assert_eq!(nursery.place.processes_inside(), Vec::<String>::new());
}

#[test]
fn stopping_an_exec_of_a_session_leaves_the_others() {
    let nursery = Nursery::new();
    let session = nursery.session(&nursery.place.script("true"));
    let start = |script: &str| {
        let spec = nursery.place.script(script);
        let id = nursery.place.next_id();
        match session.start_exec(&nursery.place.state, &id, &spec, &[]) {
            Ok(Start::Running(started)) => started,
            other => panic!("{other:?}"),
        }
    };
    let victim = start("trap '' TERM; (setsid sleep 1000) & sleep 1000; wait");
    let other = start("read line; echo $line");
    let client = ControlClient::connect(&victim.exec).expect("a supervisor");
    client
        .send(&Request::Stop {
            grace_period: Duration::ZERO,
        })
        .expect("a stop");
    assert_eq!(ended(&victim.exec).verdict.outcome, Outcome::Cancelled);
    let left = nursery.run_in(&session, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    assert!(!left.text().contains("sleep 1000"), "{}", left.text());
    // Its standard input is closed, so it ends by itself, untouched.
    ended(&other.exec).expect_exit(0);
}

#[test]
fn a_stopped_exec_of_a_session_takes_its_deaf_children_along() {
    let nursery = Nursery::new();
    let (deaf, kept) = (
        MarkedSleep::new(&nursery.place),
        MarkedSleep::new(&nursery.place),
    );
    let session = nursery.session(&nursery.place.script("true"));
    nursery
        .run_in(&session, &kept.script("setsid SLEEP & exit 0"))
        .expect_exit(0);
    // The command ends by the polite signal, long before the grace period does.
    let script = deaf
        .script("(trap '' TERM; setsid sh -c 'SLEEP & wait') & (trap '' TERM; exec SLEEP) & wait");
    let id = nursery.place.next_id();
    let spec = nursery.place.script(&script);
    let Ok(Start::Running(started)) = session.start_exec(&nursery.place.state, &id, &spec, &[])
    else {
        panic!("not started");
    };
    deaf.wait_for(2);
    stop(&started.exec, Duration::from_hours(1));
    let ended = ended(&started.exec);
    assert_eq!(ended.verdict.outcome, Outcome::Cancelled);
    until("the deaf children are gone", || deaf.processes().is_empty());
    assert_eq!(kept.processes().len(), 1);
}

#[test]
fn limits_of_a_session_cannot_be_changed_by_an_exec() {
    let nursery = Nursery::new();
    let session = nursery.session(&nursery.place.script("true"));
    let mut spec = nursery.place.script("true");
    spec.limits.pids = Some(10);
    let refused = session
        .start_exec(&nursery.place.state, &nursery.place.next_id(), &spec, &[])
        .unwrap_err();
    assert!(
        refused.to_string().contains("belong to the session"),
        "{refused}"
    );
}

#[test]
fn a_parked_sandbox_does_not_show_a_workspace_that_was_replaced() {
    let nursery = Nursery::new();
    let spec = nursery.place.script("cat here");
    let workspace = &nursery.place.workspace;
    std::fs::write(workspace.join("here"), "old").expect("a file");
    nursery
        .zygote
        .keep_warm(&spec, 1)
        .expect("a parked sandbox");
    std::fs::rename(workspace, workspace.with_extension("old")).expect("another name");
    std::fs::create_dir(workspace).expect("a new workspace");
    std::fs::write(workspace.join("here"), "new").expect("a file");
    assert_eq!(nursery.run(&spec).expect_exit(0).text(), "new");
}

#[test]
fn parked_sandboxes_serve_only_what_they_were_made_for() {
    let nursery = Nursery::new();
    let spec = nursery.place.script("touch made");
    nursery
        .zygote
        .keep_warm(&spec, 1)
        .expect("a parked sandbox");
    let mut read_only = spec;
    read_only.workspace.mode = WorkspaceMode::ReadOnly;
    nursery.run(&read_only).expect_exit(1);
    assert!(!nursery.place.workspace.join("made").exists());
}

#[test]
fn a_copied_workspace_is_parked_too() {
    let nursery = Nursery::new();
    let mut spec = nursery.place.script("touch made && ls made");
    spec.workspace.mode = WorkspaceMode::Copy;
    nursery
        .zygote
        .keep_warm(&spec, 1)
        .expect("a parked sandbox");
    for _ in 0..2 {
        assert_eq!(nursery.run(&spec).expect_exit(0).text(), "made");
    }
    assert!(!nursery.place.workspace.join("made").exists());
}

#[test]
fn more_execs_run_at_once_in_a_session_than_supervisors_wait() {
    let nursery = Nursery::new();
    let session = nursery.session(&nursery.place.script("true"));
    let gate = |number: u32| nursery.place.workspace.join(format!("gate-{number}"));
    let execs: Vec<_> = (0..6)
        .map(|number| {
            rustix::fs::mkfifoat(rustix::fs::CWD, gate(number), 0o666.into()).expect("a gate");
            let script = format!("read line < gate-{number}; echo $line");
            let spec = nursery.place.script(&script);
            let id = nursery.place.next_id();
            match session.start_exec(&nursery.place.state, &id, &spec, &[]) {
                Ok(Start::Running(started)) => started.exec,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    for (number, exec) in (0..).zip(&execs) {
        std::fs::write(gate(number), format!("opened {number}\n")).expect("an open gate");
        let text = format!("opened {number}");
        assert_eq!(ended(exec).expect_exit(0).text(), text);
    }
}
