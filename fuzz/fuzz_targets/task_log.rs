//! The log of a task, damaged: a reader meets what was written, in order, or an error; and an
//! appender goes on only where that holds.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arbitrary::Arbitrary;
use cogo_protocol::frame::OutputHeader;
use cogo_protocol::record::Stream;
use cogo_protocol::task::{Fence, TaskId};
use cogo_store::task_log::TaskLogs;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    /// Numbers left out before the record, its length, its bytes.
    records: Vec<(u8, u16, u8)>,
    damages: Vec<Damage>,
    from: u8,
    append_after: bool,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Flip { at: u32, mask: u8 },
    Cut { len: u32 },
    Grow { bytes: Vec<u8> },
}

type Written = BTreeMap<u64, Vec<u8>>;

fuzz_target!(|case: Case| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("there is memory");
    let task: TaskId = "task".parse().expect("it is a name");
    let mut written = write(folder.path(), &task, &case);
    if let Some(path) = file_below(folder.path()) {
        let mut bytes = fs::read(&path).expect("it can be read");
        for damage in &case.damages {
            apply(&mut bytes, damage);
        }
        fs::write(&path, bytes).expect("memory takes it");
    }
    let logs = TaskLogs::open(folder.path()).expect("the folder is there");
    let _ = logs.end(&task, Fence(1));
    if case.append_after
        && let Ok(mut appender) = logs.appender(&task, Fence(1))
    {
        let seq = appender.end();
        written.split_off(&seq);
        let output = b"after the damage".to_vec();
        appender
            .append(&[(header(seq), &output)])
            .expect("it continues the log");
        written.insert(seq, output);
    }
    read(&logs, &task, u64::from(case.from), &written);
});

fn header(seq: u64) -> OutputHeader {
    OutputHeader {
        handle: 0,
        stream: Stream::Stdout,
        seq,
        timestamp_ms: 1,
    }
}

fn write(root: &Path, task: &TaskId, case: &Case) -> Written {
    let logs = TaskLogs::open(root).expect("there is memory");
    let mut appender = logs.appender(task, Fence(1)).expect("it is new");
    let mut written = Written::new();
    for (skipped, len, byte) in case.records.iter().take(64) {
        let seq = appender.end() + u64::from(*skipped);
        let output = vec![*byte; usize::from(*len) % 3000];
        appender
            .append(&[(header(seq), &output)])
            .expect("it continues the log");
        written.insert(seq, output);
    }
    written
}

/// The only file.
fn file_below(folder: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_file() {
            return Some(path);
        }
        if let Some(file) = file_below(&path) {
            return Some(file);
        }
    }
    None
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    match damage {
        Damage::Flip { at, mask } if !bytes.is_empty() => {
            let at = *at as usize % bytes.len();
            bytes[at] ^= mask;
        }
        Damage::Flip { .. } => {}
        Damage::Cut { len } => bytes.truncate(*len as usize % (bytes.len() + 1)),
        Damage::Grow { bytes: more } => bytes.extend_from_slice(more),
    }
}

fn read(logs: &TaskLogs, task: &TaskId, from: u64, written: &Written) {
    let Ok(Some(mut reader)) = logs.reader(task, Fence(1), from) else {
        return;
    };
    let mut next = from;
    while let Ok(Some(record)) = reader.next() {
        let seq = record.header.seq;
        assert_eq!(seq, next + record.missing, "the gap is told");
        assert_eq!(written.get(&seq).map(Vec::as_slice), Some(record.output));
        next = seq + 1;
    }
}
