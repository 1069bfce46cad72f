//! Descriptors, environment and files of cogo's own.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::exec_dir::ExecDir;
use cogo_sandbox::spec::{Stdin, WorkspaceMode};
use cogo_sandbox::start::{Start, Started};
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use super::attempt::{Arena, expect_refused};
use crate::fixture::ended;

/// An exec that waits, with what it has on disk.
struct Waiting {
    started: Started,
}

impl Waiting {
    fn new(arena: &Arena) -> Self {
        let mut spec = arena.place.spec(&["cat"]);
        spec.stdin = Stdin::Open;
        Self {
            started: arena.place.start(&spec),
        }
    }

    fn exec(&self) -> &ExecDir {
        &self.started.exec
    }

    /// Fails unless it is as it was: it ends well when it is told to.
    #[track_caller]
    fn expect_untouched(mut self) {
        let client = ControlClient::connect(self.exec()).expect("a supervisor");
        client.send(&Request::Eof).expect("an end of input");
        let found = ended(self.exec());
        assert_eq!(found.expect_exit(0).text(), "");
        self.started.reap().expect("a supervisor");
    }
}

/// Makes a descriptor that this process passes on to all it starts.
fn leak(path: &Path) -> File {
    let file = File::open(path).expect("a file");
    rustix::io::fcntl_setfd(file.as_fd(), rustix::io::FdFlags::empty()).expect("a flag");
    file
}

#[test]
fn nothing_is_inherited_but_the_standard_streams() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let secret = arena.place.outside().join("secret");
    std::fs::write(&secret, "secret").expect("a file");
    let leaked = leak(&secret);
    arena.expect_refused("inherited-descriptors", &["EBADF"]);
    arena.expect_reached_outside("inherited-descriptors");
    drop(leaked);
}

#[test]
fn nothing_is_inherited_through_a_zygote_or_a_session() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let place = &arena.place;
    let secret = place.outside().join("secret");
    std::fs::write(&secret, "secret").expect("a file");
    let leaked = leak(&secret);
    let zygote = Zygote::start(place.launcher(), ZygoteOptions::default()).expect("a zygote");
    drop(leaked);
    let spec = arena.spec("inherited-descriptors");
    let end = |start: Start| match start {
        Start::Running(started) => ended(&started.exec),
        Start::Ended(exec) => ended(&exec),
    };
    let start = zygote.start_exec(&place.state, &place.next_id(), &spec, &[]);
    expect_refused(&end(start.expect("a start")), &["EBADF"]);
    let session = zygote.open_session(&place.state, &place.next_id(), &spec);
    let session = session.expect("a session");
    let start = session.start_exec(&place.state, &place.next_id(), &spec, &[]);
    expect_refused(&end(start.expect("a start")), &["EBADF"]);
}

#[test]
fn process_1_shows_nothing_of_itself() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for part in [
        "exe",
        "environ",
        "mem",
        "maps",
        "auxv",
        "syscall",
        "stack",
        "io",
        "fd/0",
        "fd/1",
        "fd/2",
        "fd/3",
        "root/etc/passwd",
        "cwd/etc/passwd",
    ] {
        arena.expect_refused(&format!("read /proc/1/{part}"), &["EACCES", "EPERM"]);
    }
    for part in ["fd", "fdinfo", "map_files", "root", "cwd", "ns"] {
        let ended = arena.inside(&format!("list /proc/1/{part}"));
        // The names of namespaces are the same for all.
        let shown = part == "ns" && ended.text().starts_with("REACHED");
        if !shown {
            expect_refused(&ended, &["EACCES", "EPERM"]);
        }
    }
}

#[test]
fn a_programs_own_executable_is_not_the_launcher() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.place.run_script("readlink /proc/self/exe");
    assert!(!ended.expect_exit(0).text().contains("cogo"), "{ended:?}");
    // Nothing that is running may be the launcher where the program could write to it.
    let script = "for exe in /proc/[0-9]*/exe; do readlink $exe; done; true";
    let ended = arena.place.run_script(script);
    assert!(!ended.text().contains("cogo"), "{ended:?}");
}

#[test]
fn the_environment_is_the_sandboxs_own() {
    let Some(arena) = Arena::new() else {
        return;
    };
    assert!(std::env::vars_os().count() > 4, "nothing there to hide");
    let ended = arena.place.run(&arena.place.spec(&["env"]));
    let mut names: Vec<_> = ended
        .text()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["HOME", "LANG", "PATH", "SHELL"]);
}

/// What cogo keeps of an exec, as paths.
fn files_of(exec: &ExecDir) -> Vec<String> {
    let mut paths: Vec<_> = ["spec.json", "running.json", "lock", "log/0", "verdict.json"]
        .map(|name| exec.path().join(name).display().to_string())
        .into();
    let log = std::fs::read_dir(exec.log_dir()).expect("a log");
    paths.extend(
        log.filter_map(Result::ok)
            .map(|entry| entry.path().display().to_string()),
    );
    paths
}

/// Makes every attempt on the files of another exec, which is waiting. The workspace may be a
/// folder above them.
fn check_files_of_another_exec(above: bool, mode: WorkspaceMode, through_read_only_path: bool) {
    let Some(arena) = Arena::new() else {
        return;
    };
    let place = &arena.place;
    let waiting = Waiting::new(&arena);
    let spec = |attempt: &str| {
        let mut spec = arena.spec(attempt);
        spec.workspace.mode = mode;
        if above {
            place.outside().clone_into(&mut spec.workspace.path);
        }
        if through_read_only_path {
            spec.read_only_paths.push(place.outside().to_owned());
        }
        spec
    };
    let refused = ["ENOENT", "EACCES", "EROFS"];
    for path in files_of(waiting.exec()) {
        expect_refused(&place.run(&spec(&format!("read {path}"))), &refused);
        expect_refused(&place.run(&spec(&format!("open-write {path}"))), &refused);
        expect_refused(&place.run(&spec(&format!("unlink {path}"))), &refused);
    }
    let control = waiting.exec().control_path().display().to_string();
    expect_refused(&place.run(&spec(&format!("unix {control}"))), &refused);
    let state = place.state.path().display().to_string();
    expect_refused(&place.run(&spec(&format!("list {state}"))), &refused);
    let moved = place.outside().join("moved").display().to_string();
    let rename = place.run(&spec(&format!("rename {state} {moved}")));
    expect_refused(&rename, &["ENOENT", "EACCES", "EROFS", "EBUSY", "EXDEV"]);
    arena.expect_reached_outside(&format!("unix {control}"));
    arena.expect_reached_outside(&format!("list {state}"));
    waiting.expect_untouched();
}

#[test]
fn files_of_another_exec_are_hidden() {
    check_files_of_another_exec(false, WorkspaceMode::Direct, false);
}

#[test]
fn files_of_another_exec_are_hidden_in_a_workspace_above_them() {
    check_files_of_another_exec(true, WorkspaceMode::Direct, false);
}

#[test]
fn files_of_another_exec_are_hidden_in_a_copy_of_a_workspace_above_them() {
    check_files_of_another_exec(true, WorkspaceMode::Copy, false);
}

#[test]
fn files_of_another_exec_are_hidden_below_a_path_that_is_shown() {
    check_files_of_another_exec(false, WorkspaceMode::Direct, true);
}
