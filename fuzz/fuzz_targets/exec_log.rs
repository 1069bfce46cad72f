//! The log of an exec, damaged: a reader meets what was written, in order, or an error; never
//! something else.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use arbitrary::Arbitrary;
use cogo_sandbox::log::{Entry, LogOptions, LogReader, LogWriter, Stream, log_end};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    appends: Vec<(bool, u16, u8)>,
    small: bool,
    damages: Vec<Damage>,
    from: u8,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Flip { file: u8, at: u32, mask: u8 },
    Cut { file: u8, len: u32 },
    Grow { file: u8, bytes: Vec<u8> },
    Remove { file: u8 },
}

fuzz_target!(|case: Case| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("there is memory");
    let dir = folder.path().join("log");
    let written = write(&dir, &case);
    for damage in &case.damages {
        apply(&dir, damage);
    }
    let _ = log_end(&dir);
    read(&dir, u64::from(case.from), &written);
});

/// Writes the log and returns its records.
fn write(dir: &Path, case: &Case) -> BTreeMap<u64, (Stream, Vec<u8>)> {
    let options = LogOptions {
        segment_bytes: if case.small { 1024 } else { 64 << 10 },
        bytes_max: None,
    };
    let mut writer = LogWriter::create(dir, options).expect("the folder is new");
    for (standard_error, len, byte) in case.appends.iter().take(64) {
        let stream = if *standard_error { Stream::Stderr } else { Stream::Stdout };
        let bytes = vec![*byte; usize::from(*len) % 3000];
        writer.append(stream, Duration::ZERO, &bytes).expect("memory takes it");
    }
    let mut reader = LogReader::open(dir, 0).expect("it was just written");
    let mut written = BTreeMap::new();
    while let Some(entry) = reader.next().expect("it is whole") {
        let Entry::Record(record) = entry else {
            panic!("nothing was cut");
        };
        written.insert(record.seq, (record.stream, record.bytes.to_vec()));
    }
    assert_eq!(written.len() as u64, writer.end().seq);
    written
}

fn apply(dir: &Path, damage: &Damage) {
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    let (Damage::Flip { file, .. }
    | Damage::Cut { file, .. }
    | Damage::Grow { file, .. }
    | Damage::Remove { file }) = damage;
    if files.is_empty() {
        return;
    }
    let path = &files[usize::from(*file) % files.len()];
    let mut bytes = fs::read(path).expect("it can be read");
    match damage {
        Damage::Flip { at, mask, .. } if !bytes.is_empty() => {
            let at = *at as usize % bytes.len();
            bytes[at] ^= mask;
        }
        Damage::Flip { .. } => {}
        Damage::Cut { len, .. } => bytes.truncate(*len as usize % (bytes.len() + 1)),
        Damage::Grow { bytes: more, .. } => bytes.extend_from_slice(more),
        Damage::Remove { .. } => {
            fs::remove_file(path).expect("it can be removed");
            return;
        }
    }
    fs::write(path, bytes).expect("memory takes it");
}

fn read(dir: &Path, from: u64, written: &BTreeMap<u64, (Stream, Vec<u8>)>) {
    let Ok(mut reader) = LogReader::open(dir, from) else {
        return;
    };
    let mut next = 0;
    while let Ok(Some(entry)) = reader.next() {
        match entry {
            Entry::Record(record) => {
                assert!(record.seq >= next, "{} after {next}", record.seq);
                next = record.seq + 1;
                let known = written.get(&record.seq);
                assert_eq!(known, Some(&(record.stream, record.bytes.to_vec())));
            }
            Entry::Cut { end_seq, .. } => {
                assert!(end_seq >= next, "a cut to {end_seq} after {next}");
                next = end_seq;
            }
        }
    }
}
