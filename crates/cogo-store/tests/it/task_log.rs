//! Output on a disk that fills.

use std::fs;

use cogo_protocol::frame::OutputHeader;
use cogo_protocol::record::Stream;
use cogo_protocol::task::Fence;
use cogo_store::task_log::{Reader, TaskLogError, TaskLogs};

use crate::fixture::{SmallDisk, id};

const OUTPUT: [u8; 5000] = [b'x'; 5000];

fn record(seq: u64) -> (OutputHeader, &'static [u8]) {
    let header = OutputHeader {
        handle: 0,
        stream: Stream::Stdout,
        seq,
        timestamp_ms: 1,
    };
    (header, &OUTPUT)
}

/// How many records a reader sees, in order and whole.
fn count(reader: &mut Reader) -> u64 {
    let mut count = 0;
    while let Some(record) = reader.next().unwrap() {
        assert_eq!(record.missing, 0);
        assert_eq!(record.output, OUTPUT);
        count += 1;
    }
    count
}

#[test]
fn a_full_disk_takes_no_record_in_part_as_root() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let logs = TaskLogs::open(&disk.path().join("logs")).unwrap();
    let mut appender = logs.appender(&id("t"), Fence(1)).unwrap();
    let mut follower = logs.reader(&id("t"), Fence(1), 0).unwrap().unwrap();
    let error = loop {
        let end = appender.end();
        if let Err(error) = appender.append(&[record(end), record(end + 1)]) {
            break error;
        }
        assert!(end < 10_000, "the disk does not fill");
    };
    assert!(
        matches!(&error, TaskLogError::System { source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull),
        "{error:?}"
    );
    let end = appender.end();
    assert!(end > 100, "{end}");
    assert_eq!(count(&mut follower), end);
    appender
        .append(&[record(end), record(end + 1)])
        .unwrap_err();

    fs::remove_file(ballast).unwrap();
    appender.append(&[record(end), record(end + 1)]).unwrap();
    assert_eq!(count(&mut follower), 2);
    assert_eq!(logs.size(&id("t")).unwrap(), (end + 2) * (32 + 5000));
}
