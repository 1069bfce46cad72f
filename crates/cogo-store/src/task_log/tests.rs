use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex};
use std::thread;

use cogo_protocol::record::Stream;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use cogo_protocol::frame::OutputHeader;

const FENCE: Fence = Fence(3);

/// A record as a test sees it: its number, its output, and what is missing before it.
type Seen = (u64, Vec<u8>, u64);

struct Fixture {
    folder: TempDir,
    logs: TaskLogs,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let logs = TaskLogs::open(&folder.path().join("logs")).unwrap();
        Self { folder, logs }
    }

    /// As after a restart of the manager.
    fn reopen(&mut self) {
        self.logs = TaskLogs::open(&self.folder.path().join("logs")).unwrap();
    }

    fn appender(&self) -> Appender {
        self.logs.appender(&task(), FENCE).unwrap()
    }

    fn reader(&self, from_seq: u64) -> Reader {
        let reader = self.logs.reader(&task(), FENCE, from_seq).unwrap();
        reader.expect("the log was begun")
    }

    fn path(&self) -> PathBuf {
        self.logs.path(&task(), FENCE)
    }

    fn read_from(&self, from_seq: u64) -> Vec<Seen> {
        let mut reader = self.reader(from_seq);
        let seen = read(&mut reader);
        assert!(reader.next().unwrap().is_none());
        seen
    }
}

fn task() -> TaskId {
    "build/1".parse().unwrap()
}

fn header(seq: u64) -> OutputHeader {
    OutputHeader {
        handle: 77,
        stream: if seq.is_multiple_of(3) {
            Stream::Stderr
        } else {
            Stream::Stdout
        },
        seq,
        timestamp_ms: seq / 2,
    }
}

fn append(appender: &mut Appender, records: &[(u64, &[u8])]) -> Result<u64, TaskLogError> {
    let records: Vec<_> = records
        .iter()
        .map(|(seq, output)| (header(*seq), *output))
        .collect();
    appender.append(&records)
}

/// Reads to the present end and checks what every record has to be.
fn read(reader: &mut Reader) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        seen.push(seen_in(&record));
    }
    seen
}

fn seen_in(record: &LogRecord<'_>) -> Seen {
    let seq = record.header.seq;
    let stored = OutputHeader {
        handle: 0,
        ..header(seq)
    };
    assert_eq!(record.header, stored);
    assert_eq!(
        OutputHeader::decode(record.frame),
        Ok((stored, record.output))
    );
    (seq, record.output.to_vec(), record.missing)
}

/// What a reader of these records sees that begins with a number.
fn expected_from(records: &[(u64, Vec<u8>)], from_seq: u64) -> Vec<Seen> {
    let mut next = from_seq;
    let mut seen = Vec::new();
    for (seq, output) in records.iter().filter(|(seq, _)| *seq >= from_seq) {
        seen.push((*seq, output.clone(), seq - next));
        next = seq + 1;
    }
    seen
}

#[test]
fn a_reader_follows_the_appender() {
    let fixture = Fixture::new();
    assert!(fixture.logs.reader(&task(), FENCE, 0).unwrap().is_none());
    assert_eq!(fixture.logs.end(&task(), FENCE).unwrap(), 0);
    let mut appender = fixture.appender();
    let mut reader = fixture.reader(0);
    assert_eq!(reader.next().unwrap(), None);
    assert_eq!(append(&mut appender, &[(0, b"a"), (1, b"")]).unwrap(), 2);
    assert_eq!(
        read(&mut reader),
        [(0, b"a".to_vec(), 0), (1, Vec::new(), 0)]
    );
    append(&mut appender, &[(2, b"c")]).unwrap();
    assert_eq!(read(&mut reader), [(2, b"c".to_vec(), 0)]);
    assert_eq!(reader.next_seq(), 3);
    assert_eq!(append(&mut appender, &[]).unwrap(), 3);
    appender.finish().unwrap();
    assert_eq!(fixture.read_from(1).len(), 2);
}

#[test]
fn records_that_were_cut_are_missed() {
    let fixture = Fixture::new();
    let mut appender = fixture.appender();
    append(&mut appender, &[(5, b"a"), (6, b"b"), (10, b"c")]).unwrap();
    assert_eq!(appender.end(), 11);
    assert_eq!(fixture.logs.end(&task(), FENCE).unwrap(), 11);
    let missing = |from_seq| -> Vec<_> {
        let seen = fixture.read_from(from_seq);
        seen.iter()
            .map(|(seq, _, missing)| (*seq, *missing))
            .collect()
    };
    assert_eq!(missing(0), [(5, 5), (6, 0), (10, 3)]);
    assert_eq!(missing(8), [(10, 2)]);
    assert_eq!(missing(10), [(10, 0)]);
    assert_eq!(missing(11), []);
    let mut ahead = fixture.reader(13);
    append(&mut appender, &[(11, b""), (12, b""), (13, b"d")]).unwrap();
    assert_eq!(read(&mut ahead), [(13, b"d".to_vec(), 0)]);
}

#[test]
fn a_record_that_does_not_continue_is_refused_with_its_call() {
    let fixture = Fixture::new();
    let mut appender = fixture.appender();
    append(&mut appender, &[(0, b"a")]).unwrap();
    for records in [
        &[(0, &b"x"[..])][..],
        &[(1, b"x"), (1, b"x")],
        &[(2, b"x"), (1, b"x")],
        &[(1, b"x"), (u64::MAX, b"x")],
    ] {
        let error = append(&mut appender, records).unwrap_err();
        assert!(matches!(error, TaskLogError::OutOfOrder { .. }), "{error}");
    }
    let big = vec![0; OUTPUT_MAX + 1];
    let error = append(&mut appender, &[(1, b"x"), (2, &big)]).unwrap_err();
    assert!(
        matches!(error, TaskLogError::TooBig { seq: 2, .. }),
        "{error}"
    );
    assert_eq!(appender.end(), 1);
    append(&mut appender, &[(1, &big[1..])]).unwrap();
    assert_eq!(fixture.read_from(0).len(), 2);
}

#[test]
fn there_is_one_appender_at_a_time() {
    let fixture = Fixture::new();
    let appender = fixture.appender();
    let error = fixture.logs.appender(&task(), FENCE).unwrap_err();
    assert!(matches!(error, TaskLogError::Appending { .. }), "{error}");
    fixture.logs.appender(&task(), Fence(4)).unwrap();
    drop(appender);
    fixture.appender();
}

#[test]
fn a_log_torn_at_any_byte_goes_on_after_its_last_whole_record() {
    let mut fixture = Fixture::new();
    let records: Vec<_> = [(0, 3), (1, 0), (4, 40), (5, 1)]
        .map(|(seq, len)| (seq, vec![b'x'; len]))
        .into();
    let mut ends = vec![0];
    let mut appender = fixture.appender();
    for (seq, output) in &records {
        append(&mut appender, &[(*seq, output)]).unwrap();
        ends.push(fs::metadata(fixture.path()).unwrap().len());
    }
    drop(appender);
    let whole = fs::read(fixture.path()).unwrap();

    for len in 0..=whole.len() {
        fs::write(fixture.path(), &whole[..len]).unwrap();
        fixture.reopen();
        let count = ends.iter().filter(|end| **end <= len as u64).count() - 1;
        let mut follower = fixture.reader(0);
        assert_eq!(read(&mut follower), expected_from(&records[..count], 0));
        let mut appender = fixture.appender();
        let end = count.checked_sub(1).map_or(0, |last| records[last].0 + 1);
        assert_eq!(appender.end(), end, "torn at {len}");
        assert_eq!(fs::metadata(fixture.path()).unwrap().len(), ends[count]);
        append(&mut appender, &[(9, b"new")]).unwrap();
        assert_eq!(read(&mut follower), [(9, b"new".to_vec(), 9 - end)]);
    }
}

#[test]
fn a_damaged_byte_is_never_read_as_output() {
    let mut fixture = Fixture::new();
    let records: Vec<_> = (0..4).map(|seq| (seq, vec![b'x'; 30])).collect();
    let mut appender = fixture.appender();
    for (seq, output) in &records {
        append(&mut appender, &[(*seq, output)]).unwrap();
    }
    drop(appender);
    let whole = fs::read(fixture.path()).unwrap();
    let record_len = whole.len() / records.len();

    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= bit;
            fs::write(fixture.path(), &damaged).unwrap();
            fixture.reopen();
            let mut reader = fixture.reader(0);
            let mut seen = Vec::new();
            let end = loop {
                match reader.next() {
                    Ok(Some(record)) => seen.push(seen_in(&record)),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            assert_eq!(seen, expected_from(&records[..at / record_len], 0));
            let in_length = at % record_len < 4;
            let is_damage = matches!(end, Err(TaskLogError::Damaged { offset, .. })
                if offset == (at / record_len * record_len) as u64);
            assert!(is_damage || (in_length && end.is_ok()), "{at}: {end:?}");
            // The appender cuts it off, and the worker sends the rest again.
            let mut appender = fixture.appender();
            let rest: Vec<_> = records[appender.end() as usize..]
                .iter()
                .map(|(seq, output)| (*seq, &output[..]))
                .collect();
            append(&mut appender, &rest).unwrap();
            seen.extend(read(&mut reader));
            assert_eq!(seen, expected_from(&records, 0));
        }
    }
}

#[test]
fn a_reader_starts_near_the_record_it_wants() {
    let mut fixture = Fixture::new();
    let mut appender = fixture.appender();
    let output = [b'x'; 5000];
    for seq in 0..600_u64 {
        append(&mut appender, &[(seq, &output)]).unwrap();
    }
    drop(appender);
    // By the index that the appender made, and by one that readers made.
    for _ in 0..2 {
        for seq in (0..600_u64).step_by(7) {
            let mut reader = fixture.reader(seq);
            let offset = seq * 5032;
            assert!(reader.place().offset <= offset);
            assert!(offset - reader.place().offset < (256 << 10) + 2 * 5032);
            assert_eq!(reader.next().unwrap().unwrap().header.seq, seq);
        }
        fixture.reopen();
        assert_eq!(fixture.read_from(0).len(), 600);
    }
}

#[test]
fn readers_in_threads_see_every_record_once() {
    let fixture = Fixture::new();
    let mut appender = fixture.appender();
    let end = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        for from_seq in 0..8 {
            let (fixture, end) = (&fixture, &end);
            scope.spawn(move || {
                let mut reader = fixture.reader(from_seq);
                let mut seen = Vec::new();
                while reader.next_seq() < 3000 {
                    let next = reader.next_seq();
                    let wait = end.1.wait_while(end.0.lock().unwrap(), |end| *end <= next);
                    drop(wait.unwrap());
                    seen.extend(read(&mut reader));
                }
                assert!(seen.iter().map(|(seq, ..)| *seq).eq(from_seq..3000));
                for (seq, output, _) in seen {
                    assert_eq!(output, vec![seq as u8; seq as usize * 7 % 9000]);
                }
            });
        }
        for seq in 0..3000_u64 {
            let output = vec![seq as u8; seq as usize * 7 % 9000];
            append(&mut appender, &[(seq, &output)]).unwrap();
            *end.0.lock().unwrap() = seq + 1;
            end.1.notify_all();
        }
    });
}

#[test]
fn tasks_are_listed_measured_and_removed() {
    let fixture = Fixture::new();
    let logs = &fixture.logs;
    let long = "é".repeat(128);
    let names = ["..", "a", "A", "a/b", "a+", "x".repeat(256).leak(), &long];
    for name in names {
        let task_id: TaskId = name.parse().unwrap();
        assert_eq!(logs.size(&task_id).unwrap(), 0);
        for fence in [12, 3] {
            let mut appender = logs.appender(&task_id, Fence(fence)).unwrap();
            append(&mut appender, &[(0, name.as_bytes())]).unwrap();
            appender.finish().unwrap();
        }
    }
    let mut listed: Vec<_> = logs.list().unwrap();
    listed.sort_by_key(|kept| kept.task_id.as_str().to_owned());
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let found: Vec<_> = listed.iter().map(|kept| kept.task_id.as_str()).collect();
    assert_eq!(found, sorted);
    for kept in &listed {
        assert_eq!(kept.attempts, [Fence(3), Fence(12)]);
        assert_eq!(kept.bytes, 2 * (32 + kept.task_id.as_str().len() as u64));
        assert!(kept.changed_at > SystemTime::UNIX_EPOCH);
        assert_eq!(logs.size(&kept.task_id).unwrap(), kept.bytes);
    }

    for (removed, kept) in (1..).zip(&listed) {
        logs.remove(&kept.task_id).unwrap();
        logs.remove(&kept.task_id).unwrap();
        assert_eq!(logs.kept(&kept.task_id).unwrap(), None);
        assert_eq!(logs.list().unwrap().len(), names.len() - removed);
    }
    let left = fs::read_dir(fixture.folder.path().join("logs")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_removed_log_can_be_begun_anew_while_it_is_read() {
    let fixture = Fixture::new();
    let mut old = fixture.appender();
    append(&mut old, &[(0, b"old")]).unwrap();
    let mut reader = fixture.reader(0);
    fixture.logs.remove(&task()).unwrap();
    assert!(fixture.logs.reader(&task(), FENCE, 0).unwrap().is_none());

    let mut new = fixture.appender();
    assert_eq!(new.end(), 0);
    append(&mut new, &[(0, b"new")]).unwrap();
    assert_eq!(read(&mut reader), [(0, b"old".to_vec(), 0)]);
    assert_eq!(fixture.read_from(0), [(0, b"new".to_vec(), 0)]);
}

#[test]
fn who_waits_holds_no_buffer() {
    let fixture = Fixture::new();
    let mut appender = fixture.appender();
    append(&mut appender, &[(0, &vec![1; 100_000])]).unwrap();
    let mut reader = fixture.reader(0);
    assert_eq!(read(&mut reader).len(), 1);
    assert!(format!("{reader:?}").contains("window: []"));
}

#[derive(Clone, Debug)]
enum Step {
    /// Records, each with how many are missing before it.
    Append(Vec<(u64, Vec<u8>)>),
    /// The manager dies and leaves these bytes behind the last record.
    Crash(Vec<u8>),
    /// The manager dies within its last write, and so many bytes of it are lost.
    Tear(u64),
    ReadFrom(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let output = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..100),
        1 => (60_000..140_000_usize).prop_map(|len| vec![7; len]),
    ];
    let skipped = prop_oneof![9 => Just(0_u64), 1 => 1..5_u64];
    let records = prop::collection::vec((skipped, output), 0..12);
    prop_oneof![
        6 => records.prop_map(Step::Append),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Step::Crash),
        1 => (0..300_u64).prop_map(Step::Tear),
        3 => (0..80_u64).prop_map(Step::ReadFrom),
    ]
}

/// A log beside what is in it.
struct Model {
    fixture: Fixture,
    records: Vec<(u64, Vec<u8>)>,
    end: u64,
}

impl Model {
    fn append(&mut self, appender: &mut Appender, batch: &[(u64, Vec<u8>)]) {
        assert_eq!(appender.end(), self.end);
        let from = self.records.len();
        for (skipped, output) in batch {
            let seq = self.end + skipped;
            self.records.push((seq, output.clone()));
            self.end = seq + 1;
        }
        let new: Vec<_> = self.records[from..]
            .iter()
            .map(|(seq, output)| (*seq, &output[..]))
            .collect();
        assert_eq!(append(appender, &new).unwrap(), self.end);
    }

    /// Cuts the file, and what is not whole any more from the model.
    fn tear(&mut self, lost: u64) {
        let path = self.fixture.path();
        let len = fs::metadata(&path).unwrap().len().saturating_sub(lost);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(len).unwrap();
        let mut end = 0;
        self.records.retain(|(_, output)| {
            end += 32 + output.len() as u64;
            end <= len
        });
        self.end = self.records.last().map_or(0, |(seq, _)| seq + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_equals_its_model(steps in prop::collection::vec(step(), 1..20)) {
        let mut model = Model { fixture: Fixture::new(), records: Vec::new(), end: 0 };
        let mut appender = model.fixture.appender();
        let mut follower = model.fixture.reader(0);
        let mut followed = Vec::new();
        for step in steps {
            match step {
                Step::Append(batch) => model.append(&mut appender, &batch),
                Step::Crash(garbage) => {
                    drop((appender, follower));
                    let mut file = OpenOptions::new().append(true).open(model.fixture.path()).unwrap();
                    file.write_all(&garbage).unwrap();
                    model.fixture.reopen();
                    follower = model.fixture.reader(0);
                    followed.clear();
                    appender = model.fixture.appender();
                }
                Step::Tear(lost) => {
                    drop((appender, follower));
                    model.tear(lost);
                    model.fixture.reopen();
                    // Read before the appender has cut off the torn end.
                    follower = model.fixture.reader(0);
                    followed = read(&mut follower);
                    appender = model.fixture.appender();
                }
                Step::ReadFrom(seq) => {
                    prop_assert_eq!(model.fixture.read_from(seq), expected_from(&model.records, seq));
                }
            }
            followed.extend(read(&mut follower));
            prop_assert_eq!(&followed, &expected_from(&model.records, 0));
        }
        for seq in 0..=model.end.min(40) {
            prop_assert_eq!(model.fixture.read_from(seq), expected_from(&model.records, seq));
        }
    }

    #[test]
    fn any_file_is_read_or_refused(
        whole in 0..3_u64,
        length in prop_oneof![any::<u32>(), 0..60_u32],
        bytes: Vec<u8>,
        from_seq in prop_oneof![any::<u64>(), 0..5_u64],
    ) {
        let fixture = Fixture::new();
        let mut appender = fixture.appender();
        for seq in 0..whole {
            append(&mut appender, &[(seq, b"whole")]).unwrap();
        }
        drop(appender);
        // A length that may fit makes it look more like a record.
        let len = fs::metadata(fixture.path()).unwrap().len();
        let file = OpenOptions::new().write(true).open(fixture.path()).unwrap();
        file.write_all_at(&[&length.to_le_bytes()[..], &bytes].concat(), len).unwrap();
        let fresh = TaskLogs::open(&fixture.folder.path().join("logs")).unwrap();
        let mut reader = fresh.reader(&task(), FENCE, from_seq).unwrap().unwrap();
        let mut count = 0;
        while let Ok(Some(_)) = reader.next() {
            count += 1;
        }
        prop_assert!(count <= whole + bytes.len() as u64 / 28);
        let mut appender = fresh.appender(&task(), FENCE).unwrap();
        prop_assert!(appender.end() >= whole);
        let end = appender.end();
        append(&mut appender, &[(end, b"more")]).unwrap();
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>, seq: u64) {
        match format::decode(&bytes, seq) {
            format::Decoded::Whole { frame_len, .. } => prop_assert!(frame_len + 8 <= bytes.len()),
            format::Decoded::Short(needed) => prop_assert!(needed > bytes.len()),
            format::Decoded::Bad => {}
        }
    }
}
