//! What every exec can rely on.

use cogo_sandbox::spec::WorkspaceMode;
use cogo_sandbox::verdict::Outcome;

use crate::fixture::{Place, ended};

#[test]
fn output_and_exit_code_come_back() {
    let place = Place::new();
    let ended = place.run_script("echo out; echo err >&2; exit 7");
    ended.expect_exit(7);
    assert_eq!(
        (&ended.stdout[..], &ended.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
}

#[test]
fn files_made_in_the_workspace_belong_to_the_caller() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    place.run_script("echo hello > made").expect_exit(0);
    let made = std::fs::metadata(place.workspace.join("made")).expect("a file");
    assert_eq!(made.uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn a_copy_of_the_workspace_is_thrown_away() {
    let place = Place::new();
    let mut spec = place.script("mkdir -p made/shut; touch made/file; chmod 0 made/shut made; ls");
    spec.workspace.mode = WorkspaceMode::Copy;
    let mut started = place.start(&spec);
    assert_eq!(ended(&started.exec).expect_exit(0).text(), "made");
    started.reap().expect("a supervisor");
    assert!(!place.workspace.join("made").exists());
    assert!(!started.exec.path().join("overlay").exists());
    started.exec.remove().expect("a removal");
}

#[test]
fn a_missing_program_is_a_verdict_not_a_run() {
    let place = Place::new();
    let ended = place.run(&place.spec(&["no-such-program"]));
    assert!(
        matches!(
            ended.verdict.outcome,
            Outcome::NotStarted {
                errno: libc::ENOENT,
                ..
            }
        ),
        "{:?}",
        ended.verdict
    );
}

#[test]
fn a_death_by_signal_names_the_signal() {
    let place = Place::new();
    let ended = place.run_script("kill -SEGV $$");
    let expected = Outcome::Signaled {
        signal: libc::SIGSEGV,
        core_dumped: false,
    };
    assert_eq!(ended.verdict.outcome, expected);
}

#[test]
fn what_lies_beside_the_workspace_is_not_seen() {
    let place = Place::new();
    let beside = place.outside().join("beside");
    std::fs::write(&beside, "secret").expect("a file");
    let ended = place.run_script(&format!("cat {}", beside.display()));
    ended.expect_exit(1);
    assert_eq!(ended.text(), "");
}

#[test]
fn an_image_needs_no_directories_of_its_own() {
    let place = Place::new();
    let rootfs = place.outside().join("rootfs");
    std::fs::create_dir_all(rootfs.join("var")).expect("a root file system");
    let mut spec = place.spec(&["/program"]);
    spec.rootfs = Some(rootfs);
    // The sandbox stands; there is just no program in it.
    let ended = place.run(&spec);
    assert!(
        matches!(
            ended.verdict.outcome,
            Outcome::NotStarted {
                errno: libc::ENOENT,
                ..
            }
        ),
        "{:?}",
        ended.verdict
    );
}
