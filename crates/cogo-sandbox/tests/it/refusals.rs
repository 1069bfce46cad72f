//! What cannot be done is refused with one clear error and a hint, and leaves no trace.

use std::path::PathBuf;
use std::time::Duration;

use cogo_sandbox::spec::{ExecSpec, Isolation, Limits, Network};
use cogo_sandbox::start::{Launcher, Refusal, RefusalKind, StartError, start};
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::fixture::{Place, has_cgroups};
use crate::host::{MarkedSleep, children, groups};

/// A refusal, after a look at what is left.
#[track_caller]
fn refused(place: &Place, spec: &ExecSpec) -> Refusal {
    let id = format!("refused{}-{}", std::process::id(), place.next_id());
    match place.try_start_as(&id, spec, &[]) {
        Err(StartError::Refused(refusal)) => {
            expect_nothing(place, &id);
            refusal
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn expect_nothing(place: &Place, id: &str) {
    assert_eq!(place.state.execs().expect("a listing").len(), 0);
    assert_eq!(groups(id), Vec::<PathBuf>::new());
    assert_eq!(place.processes_inside(), Vec::<String>::new());
}

#[track_caller]
fn expect(refusal: &Refusal, kind: RefusalKind, message: &str) {
    assert_eq!(refusal.kind, kind, "{refusal:?}");
    assert!(refusal.message.contains(message), "{refusal:?}");
    assert!(
        refusal.hint.as_ref().is_some_and(|hint| !hint.is_empty()),
        "{refusal:?}"
    );
}

#[test]
fn workspaces_that_are_none() {
    let place = Place::new();
    let file = place.workspace.join("file");
    std::fs::write(&file, "").expect("a file");
    let cases = [
        (
            place.outside().join("nothing"),
            RefusalKind::NotFound,
            "No such file or directory",
        ),
        (file, RefusalKind::NotFound, "is not a directory"),
        (
            PathBuf::from("relative"),
            RefusalKind::Invalid,
            "is not an absolute path",
        ),
    ];
    for (path, kind, message) in cases {
        let mut spec = place.script("true");
        spec.workspace.path = path;
        expect(&refused(&place, &spec), kind, message);
    }
}

#[test]
fn working_directories_that_are_none() {
    let place = Place::new();
    let mut spec = place.script("true");
    spec.cwd = Some(place.workspace.join("nothing"));
    let message = "nothing` does not exist";
    expect(&refused(&place, &spec), RefusalKind::NotFound, message);
}

#[test]
fn roots_that_are_none() {
    let place = Place::new();
    let mut spec = place.script("true");
    spec.rootfs = Some(place.outside().join("nothing"));
    expect(
        &refused(&place, &spec),
        RefusalKind::NotFound,
        "root file system",
    );
}

#[test]
fn limits_below_what_can_work() {
    let place = Place::new();
    let none = Limits::default;
    let cases = [
        (
            Limits {
                memory: Some(1 << 20),
                ..none()
            },
            "memory limit 1 MiB is below the minimum 4 MiB",
        ),
        (
            Limits {
                pids: Some(0),
                ..none()
            },
            "pids limit 0 is below the minimum 1",
        ),
        (
            Limits {
                cpus: Some(0.001),
                ..none()
            },
            "cpus limit 0.001 is below the minimum 0.01",
        ),
        (
            Limits {
                disk: Some(1024),
                ..none()
            },
            "disk limit 1 KiB is below the minimum 64 KiB",
        ),
        (
            Limits {
                log: Some(1025),
                ..none()
            },
            "log limit 1025 B is below the minimum 16 KiB",
        ),
        (
            Limits {
                timeout: Some(Duration::ZERO),
                ..none()
            },
            "a timeout of zero",
        ),
        (
            Limits {
                silence_timeout: Some(Duration::ZERO),
                ..none()
            },
            "a timeout of zero",
        ),
    ];
    for (limits, message) in cases {
        let mut spec = place.script("true");
        spec.limits = limits;
        expect(&refused(&place, &spec), RefusalKind::Invalid, message);
    }
}

#[test]
fn a_limit_that_is_no_number_is_not_taken_for_none() {
    let place = Place::new();
    let mut spec = place.script("true");
    spec.limits.cpus = Some(f64::NAN);
    match place.try_start_as("nan", &spec, &[]) {
        Err(StartError::Spawn(_)) => expect_nothing(&place, "nan"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_least_limits_run_a_command() {
    if !has_cgroups() {
        eprintln!("skipped: no control groups for this user");
        return;
    }
    let place = Place::new();
    let mut spec = place.spec(&["echo", "small"]);
    spec.limits = Limits {
        memory: Some(4 << 20),
        pids: Some(1),
        disk: Some(64 << 10),
        log: Some(16 << 10),
        ..Limits::default()
    };
    assert_eq!(place.run(&spec).expect_exit(0).text(), "small");
}

#[test]
fn commands_that_are_none() {
    let place = Place::new();
    for (argv, message) in [
        (vec![], "no command was given"),
        (vec![""], "the command is an empty string"),
        (vec!["echo", "a\0b"], "an argument contains a NUL byte"),
    ] {
        expect(
            &refused(&place, &place.spec(&argv)),
            RefusalKind::Invalid,
            message,
        );
    }
    let mut spec = place.script("true");
    spec.env = vec![("A=B".to_owned(), String::new())];
    expect(
        &refused(&place, &spec),
        RefusalKind::Invalid,
        "cannot be an environment variable",
    );
}

#[test]
fn no_isolation_with_what_needs_it() {
    let place = Place::new();
    let mut spec = place.script("true");
    spec.isolation = Isolation::None;
    expect(
        &refused(&place, &spec),
        RefusalKind::Invalid,
        "isolation `none` runs on the host itself",
    );
}

#[test]
fn lists_of_domains_that_are_none() {
    let place = Place::new();
    let mut spec = place.script("true");
    spec.network = Network::Allow(vec!["https://example.org/".to_owned()]);
    expect(
        &refused(&place, &spec),
        RefusalKind::Invalid,
        "the list of allowed domains is wrong",
    );
}

#[test]
fn what_the_host_cannot_enforce() {
    let place = Place::new();
    let sleep = MarkedSleep::new(&place);
    let launcher = Launcher {
        // No group can be made outside of the hierarchy, by nobody.
        cgroup_base: Some(PathBuf::from("/../nowhere")),
        ..place.launcher().clone()
    };
    let mut strict = place.script(&sleep.script("SLEEP"));
    strict.isolation = Isolation::Strict;
    let mut cpus = strict.clone();
    cpus.isolation = Isolation::Standard;
    cpus.limits.cpus = Some(1.0);
    for spec in [strict, cpus] {
        match start(&launcher, &place.state, "refused", &spec, &[]) {
            Err(StartError::Refused(refusal)) => {
                expect(&refusal, RefusalKind::Unsupported, "cannot be limited here");
            }
            other => panic!("{other:?}"),
        }
        sleep.expect_none();
        expect_nothing(&place, "refused");
    }
}

#[test]
fn a_session_that_cannot_be() {
    let place = Place::new();
    let zygote = Zygote::start(place.launcher(), ZygoteOptions::default()).expect("a zygote");
    let mut spec = place.script("true");
    spec.workspace.path = place.outside().join("nothing");
    match zygote.open_session(&place.state, "session", &spec) {
        Err(StartError::Refused(refusal)) => expect(&refusal, RefusalKind::NotFound, "workspace"),
        other => panic!("{other:?}"),
    }
    let sessions = std::fs::read_dir(place.state.path().join("sessions")).expect("a listing");
    assert_eq!(sessions.count(), 0);
    match zygote.start_exec(&place.state, "exec", &spec, &[]) {
        Err(StartError::Refused(refusal)) => expect(&refusal, RefusalKind::NotFound, "workspace"),
        other => panic!("{other:?}"),
    }
    drop(zygote);
    expect_nothing(&place, "exec");
    let own = rustix::process::getpid().as_raw_nonzero().get();
    assert!(
        !children(own)
            .iter()
            .any(|child| child.name.starts_with("cogo-") && child.state != 'Z')
    );
}
