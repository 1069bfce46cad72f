//! The quick subset of the labelled programs. Times are for `cogo-bench blocks` to measure.

use std::path::{Path, PathBuf};

use cogo_sandbox::cgroup::{CgroupVersion, Cgroups};
use cogo_sandbox::start::Launcher;
use cogo_sandbox::toolchains::USUAL_PATH;

#[expect(dead_code, reason = "the benchmark uses more of it")]
#[path = "../../../../tests/blocks/harness.rs"]
mod harness;

use harness::{Host, Outcome, Program};

#[test]
fn hangs_are_told_from_honest_work() {
    if !has_limits() {
        eprintln!("skipped: this user gets no control groups here");
        return;
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/blocks");
    let mut programs = Program::all(&corpus.canonicalize().expect("a corpus"));
    programs.retain(Program::is_quick);
    let launcher = Launcher {
        program: env!("CARGO_BIN_EXE_cogo-worker-launcher").into(),
        ..Launcher::default()
    };
    let host = Host {
        home: PathBuf::from("/home/somebody"),
        path: USUAL_PATH.to_owned(),
        shown: Vec::new(),
    };
    let outcomes = harness::run(programs, 8, &launcher, &host);
    let wrong: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| !outcome.is_right() || !outcome.has_stacks())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let failed: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn has_limits() -> bool {
    let cgroups = Cgroups::discover(None);
    let found = cgroups.capabilities();
    found.version != CgroupVersion::None && found.memory && found.pids
}
