//! Memory and disks of the host.

use std::path::Path;

use cogo_sandbox::spec::{ExecSpec, WorkspaceMode};
use cogo_sandbox::verdict::{ExitStatus, Incident, Outcome};

use super::attempt::{Arena, expect_refused};
use crate::fixture::has_cgroups;

const MEMORY: u64 = 64 << 20;
const DISK: u64 = 8 << 20;

/// Fails unless the kernel stopped the exec at its memory limit.
#[track_caller]
fn expect_out_of_memory(arena: &Arena, mut spec: ExecSpec) {
    if !has_cgroups() {
        println!("not tested: nothing here bounds the memory of a tree");
        return;
    }
    spec.limits.memory = Some(MEMORY);
    let ended = arena.place.run(&spec);
    let Outcome::OutOfMemory { limit, peak, .. } = ended.verdict.outcome else {
        panic!("{ended:?}");
    };
    assert_eq!(limit, MEMORY);
    assert!(peak <= MEMORY, "{peak}");
    assert_eq!(ended.verdict.survivors, 0);
}

#[test]
fn memory_of_its_own() {
    let Some(arena) = Arena::new() else {
        return;
    };
    expect_out_of_memory(&arena, arena.spec("take-memory"));
}

#[test]
fn shared_memory_segments() {
    let Some(arena) = Arena::new() else {
        return;
    };
    expect_out_of_memory(&arena, arena.spec("take-shared-memory"));
}

#[test]
fn files_in_memory() {
    let Some(arena) = Arena::new() else {
        return;
    };
    expect_out_of_memory(&arena, arena.spec("fill"));
}

#[test]
fn private_places_count_as_memory() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for place in ["/tmp", "/dev/shm"] {
        expect_out_of_memory(&arena, arena.spec(&format!("fill {place}/file")));
    }
}

/// Fails unless the exec was refused more room and the verdict says that the disk was full.
#[track_caller]
fn expect_disk_full(arena: &Arena, mut spec: ExecSpec) {
    spec.limits.disk = Some(DISK);
    let ended = arena.place.run(&spec);
    assert_eq!(ended.text(), "refused: ENOSPC", "{ended:?}");
    let expected = Outcome::DiskFull {
        limit: DISK,
        status: ExitStatus::Exited(1),
    };
    assert_eq!(ended.verdict.outcome, expected);
    let incident = Incident::DiskFull { limit: DISK };
    assert!(ended.verdict.incidents.contains(&incident), "{ended:?}");
}

#[test]
fn private_places_have_their_bound() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for place in ["/tmp", "/var/tmp", "/dev/shm", "/run", "/home/somebody"] {
        let path = format!("{place}/fill-{}", std::process::id());
        expect_disk_full(&arena, arena.spec(&format!("fill {path}")));
        assert!(!Path::new(&path).exists(), "{path} on the host");
    }
}

#[test]
fn a_copied_workspace_has_its_bound() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let mut spec = arena.spec("fill file");
    spec.workspace.mode = WorkspaceMode::Copy;
    expect_disk_full(&arena, spec);
    assert!(!arena.place.workspace.join("file").exists());
}

/// Names without content cost the kernel memory that no size counts.
#[test]
fn empty_files_have_their_bound() {
    let Some(arena) = Arena::new() else {
        return;
    };
    expect_disk_full(&arena, arena.spec("fill-with-names /tmp"));
}

#[test]
fn a_program_without_descriptors_harms_itself_alone() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let ended = arena.inside("take-descriptors");
    expect_refused(&ended, &["EMFILE", "ENFILE"]);
}

#[test]
fn many_arguments_arrive_whole() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let large = "x".repeat(100_000);
    let mut words = vec!["count-arguments"];
    words.extend([large.as_str(); 10]);
    let mut spec = arena.spec_of(words);
    spec.env.push(("HUGE".to_owned(), large.clone()));
    let ended = arena.place.run(&spec);
    assert_eq!(ended.expect_exit(0).text(), "1100005");
}

#[test]
fn too_many_arguments_are_a_verdict() {
    let Some(arena) = Arena::new() else {
        return;
    };
    // One too long, too many in all, and the environment.
    let mut too_long = arena.spec_of(["count-arguments", &"x".repeat(131_072)]);
    let large = "x".repeat(100_000);
    let mut words = vec!["count-arguments"];
    words.extend([large.as_str(); 40]);
    let too_many = arena.spec_of(words);
    for spec in [&mut too_long, &mut too_many.clone()] {
        let ended = arena.place.run(spec);
        let Outcome::NotStarted { errno, .. } = ended.verdict.outcome else {
            panic!("{:?}", ended.verdict);
        };
        assert_eq!(errno, libc::E2BIG);
    }
}
