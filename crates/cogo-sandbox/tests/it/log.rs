//! The log of a real exec: complete, readable from any point, bounded, and honest about what is
//! not in it.

use std::path::Path;
use std::process::Command;

use cogo_sandbox::exec_dir::{ExecDir, StateDir};
use cogo_sandbox::log::{Entry, LogReader, Stream};
use cogo_sandbox::start::{Start, StartError, start};
use cogo_sandbox::verdict::{Incident, Outcome};

use crate::fixture::{Place, ended};
use crate::host::TEST_DISK;

/// A record that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    seq: u64,
    stream: Stream,
    bytes: Vec<u8>,
}

fn records(exec: &ExecDir, from_seq: u64) -> Vec<Kept> {
    let mut reader = LogReader::open(&exec.log_dir(), from_seq).expect("a log");
    let mut all = Vec::new();
    while let Some(entry) = reader.next().expect("a readable log") {
        let Entry::Record(record) = entry else {
            panic!("nothing may be cut: {entry:?}");
        };
        all.push(Kept {
            seq: record.seq,
            stream: record.stream,
            bytes: record.bytes.to_vec(),
        });
    }
    all
}

fn size_of(dir: &Path) -> u64 {
    let listing = std::fs::read_dir(dir).expect("a listing");
    let size =
        |entry: std::io::Result<std::fs::DirEntry>| entry?.metadata().map(|found| found.len());
    listing.map(|entry| size(entry).expect("a size")).sum()
}

#[test]
fn reading_from_any_record_gives_the_tail() {
    let place = Place::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; sleep 0.01; done; seq 1 100000";
    let mut started = place.start(&place.script(script));
    started.reap().expect("a supervisor");
    let all = records(&started.exec, 0);
    assert!(all.len() >= 18, "{} records", all.len());
    for (index, record) in all.iter().enumerate() {
        assert_eq!(record.seq, index as u64);
        let tail = records(&started.exec, record.seq);
        assert!(tail == all[index..], "from {index}");
    }
    assert_eq!(
        started.exec.wait().expect("a verdict").log_end,
        all.len() as u64
    );
    assert_eq!(records(&started.exec, all.len() as u64 + 5), []);
}

#[test]
fn a_bounded_log_keeps_both_ends_and_says_what_is_missing() {
    const BOUND: u64 = 256 << 10;
    let place = Place::new();
    let mut spec = place.script("seq 1 400000 | tee written");
    spec.limits.log = Some(BOUND);
    let mut started = place.start(&spec);
    started.reap().expect("a supervisor");
    let verdict = started.exec.wait().expect("a verdict");
    assert_eq!(verdict.outcome, Outcome::Exited { code: 0 });
    let [Incident::LogCut { bytes: told }] = verdict.incidents[..] else {
        panic!("{verdict:?}")
    };
    let (mut head, mut tail, mut cut) = (Vec::new(), Vec::new(), None);
    let mut reader = LogReader::open(&started.exec.log_dir(), 0).expect("a log");
    while let Some(entry) = reader.next().expect("a readable log") {
        match entry {
            Entry::Record(record) if cut.is_none() => head.extend_from_slice(record.bytes),
            Entry::Record(record) => tail.extend_from_slice(record.bytes),
            Entry::Cut { bytes, .. } => assert_eq!(cut.replace(bytes), None, "cut twice"),
        }
    }
    let written = std::fs::read(place.workspace.join("written")).expect("what was written");
    assert_eq!(cut, Some(told));
    assert_eq!(head.len() + told as usize + tail.len(), written.len());
    assert!(written.starts_with(&head) && written.ends_with(&tail));
    assert!(
        head.len() as u64 >= BOUND / 8 && tail.len() as u64 >= BOUND / 4,
        "{} and {}",
        head.len(),
        tail.len()
    );
    assert!(size_of(&started.exec.log_dir()) <= BOUND);
}

/// A small file system, gone at the end.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` for a user who may not mount.
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), TEST_DISK])
            .arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: this user may not mount a small file system");
        }
        mounted.then(|| Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_ends_the_log_and_not_the_command() {
    let place = Place::new();
    let path = place.outside().join("small");
    // Large records, and small ones that fill the disk to its last page.
    for lines in [
        "yes | head -c 8M",
        "yes | head -c 900K; seq 1 30000 | while read i; do echo $i; done",
    ] {
        let Some(disk) = SmallDisk::mount(&path, "1m") else {
            return;
        };
        let state = StateDir::open(&path).expect("a state directory");
        let spec = place.script(&format!(
            "{{ {lines}; }} | tee written; echo done > last; exit 6"
        ));
        let Ok(Start::Running(mut started)) = start(place.launcher(), &state, "full", &spec, &[])
        else {
            panic!("not started");
        };
        started.reap().expect("a supervisor");
        let ended = ended(&started.exec);
        ended.expect_exit(6);
        let failed = |incident: &Incident| matches!(incident, Incident::LogWriteFailed { message } if message.contains("append"));
        assert!(
            ended.verdict.incidents.iter().any(failed),
            "{:?}",
            ended.verdict
        );
        let written = std::fs::read(place.workspace.join("written")).expect("what was written");
        assert!(ended.stdout.len() < written.len());
        assert!(
            written.starts_with(&ended.stdout),
            "what is missing is missing at the end"
        );
        assert_eq!(ended.verdict.survivors, 0);
        drop(disk);
    }
}

#[test]
fn a_disk_without_room_refuses_the_start() {
    let place = Place::new();
    let path = place.outside().join("small");
    let Some(disk) = SmallDisk::mount(&path, "128k") else {
        return;
    };
    let state = StateDir::open(&path).expect("a state directory");
    // Not even a page is left.
    std::fs::write(path.join("ballast"), vec![1; 256 << 10]).expect_err("a full disk");
    match start(
        place.launcher(),
        &state,
        "full",
        &place.script("touch ran"),
        &[],
    ) {
        Err(StartError::State(error)) => {
            assert!(error.to_string().contains("failed to"), "{error}");
        }
        Err(StartError::Refused(refusal)) => {
            assert!(refusal.message.contains("No space"), "{refusal:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(state.execs().expect("a listing").len(), 0);
    assert!(!place.workspace.join("ran").exists());
    drop(disk);
}
