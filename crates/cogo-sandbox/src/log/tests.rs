//! The log against a model, against damage, and across processes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A log next to the list of what should be in it.
struct LogFixture {
    _root: TempDir,
    dir: PathBuf,
    writer: LogWriter,
    record_max: usize,
    bytes_max: u64,
    model: Vec<ModelRecord>,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelRecord {
    stream: Stream,
    time: Duration,
    bytes: Vec<u8>,
}

/// An [`Entry`] that owns its bytes.
#[derive(Debug, PartialEq)]
enum Seen {
    Record(u64, ModelRecord),
    Cut {
        first_seq: u64,
        end_seq: u64,
        bytes: u64,
    },
}

impl LogFixture {
    fn new(segment_bytes: u64, bytes_max: Option<u64>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("log");
        let writer = LogWriter::create(
            &dir,
            LogOptions {
                segment_bytes,
                bytes_max,
            },
        )
        .unwrap();
        let segment_bytes = segment_bytes.min(bytes_max.map_or(u64::MAX, |max| max / 16));
        let record_max = (segment_bytes as usize / 8 - 28).min(PAYLOAD_MAX);
        let bytes_max = bytes_max.unwrap_or(u64::MAX);
        Self {
            _root: root,
            dir,
            writer,
            record_max,
            bytes_max,
            model: Vec::new(),
        }
    }

    fn append(&mut self, stream: Stream, len: usize) {
        let seed = self.model.len() as u64;
        let time = Duration::from_nanos(seed * 1_000_003);
        let bytes = noise(seed, len);
        let end_seq = self.writer.append(stream, time, &bytes).unwrap();
        self.model
            .extend(bytes.chunks(self.record_max).map(|piece| ModelRecord {
                stream,
                time,
                bytes: piece.to_vec(),
            }));
        assert_eq!(end_seq, self.model.len() as u64);
        assert!(
            self.disk_bytes() <= self.bytes_max,
            "the bound is kept after every append"
        );
    }

    fn append_all(&mut self, appends: &[(Stream, usize)]) {
        for &(stream, len) in appends {
            self.append(stream, len);
        }
    }

    fn reader(&self, from_seq: u64) -> LogReader {
        LogReader::open(&self.dir, from_seq).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    }

    fn disk_bytes(&self) -> u64 {
        self.segments()
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum()
    }

    fn output_bytes(&self, seqs: std::ops::Range<u64>) -> u64 {
        let records = &self.model[seqs.start as usize..seqs.end as usize];
        records.iter().map(|record| record.bytes.len() as u64).sum()
    }

    /// Checks that what a reader saw covers exactly `seqs`, in order and byte for byte.
    fn expect_seen(&self, seen: &[Seen], seqs: std::ops::Range<u64>) {
        let mut next_seq = seqs.start;
        for entry in seen {
            match entry {
                Seen::Record(seq, record) => {
                    assert_eq!(*seq, next_seq);
                    assert!(*record == self.model[*seq as usize], "record {seq} differs");
                    next_seq += 1;
                }
                Seen::Cut {
                    first_seq,
                    end_seq,
                    bytes,
                } => {
                    let starts_inside = next_seq == seqs.start && *first_seq <= next_seq;
                    assert!(
                        *first_seq == next_seq || starts_inside,
                        "{entry:?} at {next_seq}"
                    );
                    assert!(*end_seq > next_seq, "{entry:?} at {next_seq}");
                    assert_eq!(*bytes, self.output_bytes(*first_seq..*end_seq));
                    next_seq = *end_seq;
                }
            }
        }
        assert_eq!(next_seq, seqs.end);
    }
}

/// Everything a reader finds until there is nothing more.
fn read_all(reader: &mut LogReader) -> Result<Vec<Seen>, LogError> {
    let mut seen = Vec::new();
    read_up_to(reader, usize::MAX, &mut seen).map(|()| seen)
}

fn read_up_to(reader: &mut LogReader, most: usize, seen: &mut Vec<Seen>) -> Result<(), LogError> {
    for _ in 0..most {
        let Some(entry) = reader.next()? else { break };
        seen.push(match entry {
            Entry::Record(Record {
                seq,
                stream,
                time,
                bytes,
            }) => Seen::Record(
                seq,
                ModelRecord {
                    stream,
                    time,
                    bytes: bytes.to_vec(),
                },
            ),
            Entry::Cut {
                first_seq,
                end_seq,
                bytes,
            } => Seen::Cut {
                first_seq,
                end_seq,
                bytes,
            },
        });
    }
    Ok(())
}

/// Bytes that depend on the seed and do not repeat.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn any_append() -> impl Strategy<Value = (Stream, usize)> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    (
        stream,
        prop_oneof![6 => 0..40_usize, 3 => 40..400_usize, 1 => 400..5000_usize],
    )
}

fn any_bound() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        (BYTES_MAX_MIN..BYTES_MAX_MIN * 3).prop_map(Some)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_reader_anywhere_sees_every_record_or_an_exact_cut(
        appends in vec(any_append(), 0..250),
        segment_bytes in 1024..6000_u64,
        bound in any_bound(),
        from in 0.0..1.1_f64,
    ) {
        let mut log = LogFixture::new(segment_bytes, bound);
        log.append_all(&appends);
        let end_seq = log.model.len() as u64;
        let from_seq = (end_seq as f64 * from) as u64;

        let mut reader = log.reader(from_seq);
        let seen = read_all(&mut reader).unwrap();

        log.expect_seen(&seen, from_seq.min(end_seq)..end_seq);
        prop_assert_eq!(reader.next_seq(), from_seq.max(end_seq));
        let cut_bytes: u64 = read_all(&mut log.reader(0)).unwrap().iter().map(|entry| match entry {
            Seen::Cut { bytes, .. } => *bytes,
            Seen::Record(..) => 0,
        }).sum();
        let bytes = log.output_bytes(0..end_seq);
        prop_assert_eq!(log.writer.end(), LogEnd { seq: end_seq, bytes, cut_bytes });
        prop_assert_eq!(log_end(&log.dir).unwrap(), log.writer.end());
        prop_assert!(bound.is_some() || cut_bytes == 0);
    }

    #[test]
    fn a_reader_beside_the_writer_misses_nothing(
        rounds in vec((vec(any_append(), 0..40), 0..60_usize), 1..20),
        bound in any_bound(),
        from_seq in 0..100_u64,
    ) {
        let mut log = LogFixture::new(2048, bound);
        let mut reader = log.reader(from_seq);
        let mut seen = Vec::new();
        for (appends, reads) in rounds {
            log.append_all(&appends);
            read_up_to(&mut reader, reads, &mut seen).unwrap();
        }
        seen.extend(read_all(&mut reader).unwrap());

        let end_seq = log.model.len() as u64;
        log.expect_seen(&seen, from_seq.min(end_seq)..end_seq);
    }

    #[test]
    fn a_torn_tail_ends_the_log_before_it(
        appends in vec(any_append(), 1..120),
        kept in 0.0..1.0_f64,
        zeros in prop_oneof![Just(0_usize), 1..100_usize],
        bound in any_bound(),
    ) {
        let mut log = LogFixture::new(4096, bound);
        log.append_all(&appends);
        let Some(newest) = log.segments().pop() else { return Ok(()) };
        let mut bytes = fs::read(&newest).unwrap();
        bytes.truncate((bytes.len() as f64 * kept) as usize);
        // A power cut may leave zeros where data was on its way.
        bytes.resize(bytes.len() + zeros, 0);
        fs::write(&newest, &bytes).unwrap();

        let seen = read_all(&mut log.reader(0)).unwrap();
        let end = log_end(&log.dir).unwrap();

        log.expect_seen(&seen, 0..end.seq);
        prop_assert_eq!(end.bytes, log.output_bytes(0..end.seq));
    }

    #[test]
    fn damage_is_told_and_never_read(
        appends in vec(any_append(), 20..120),
        at in 0.0..1.0_f64,
        bit in 0..8_u32,
    ) {
        let mut log = LogFixture::new(2048, None);
        log.append_all(&appends);
        log.append(Stream::Stdout, 4000);
        let segments = log.segments();
        let damaged = &segments[..segments.len() - 1];
        let damaged = &damaged[(damaged.len() as f64 * at) as usize];
        let mut bytes = fs::read(damaged).unwrap();
        let offset = (bytes.len() as f64 * (at * 7919.0).fract()) as usize;
        bytes[offset] ^= 1 << bit;
        fs::write(damaged, &bytes).unwrap();

        let mut reader = log.reader(0);
        let mut seen = Vec::new();
        let error = read_up_to(&mut reader, usize::MAX, &mut seen).unwrap_err();

        log.expect_seen(&seen, 0..reader.next_seq());
        prop_assert!(matches!(
            &error,
            LogError::Corrupt { segment, offset: told } if segment == damaged && *told <= offset as u64
        ), "{error:?}");
        prop_assert!(reader.next().is_err(), "the error stays");
    }
}

#[test]
fn a_bound_keeps_the_head_and_the_newest_tail() {
    let bytes_max = 1 << 20;
    let mut log = LogFixture::new(8 << 20, Some(bytes_max));
    for _ in 0..400 {
        log.append(Stream::Stdout, 10_000);
    }

    let seen = read_all(&mut log.reader(0)).unwrap();

    let cuts: Vec<_> = seen
        .iter()
        .filter(|entry| matches!(entry, Seen::Cut { .. }))
        .collect();
    let [
        Seen::Cut {
            first_seq,
            end_seq,
            bytes,
        },
    ] = cuts[..]
    else {
        panic!("one cut: {cuts:?}")
    };
    let end_seq_of_log = log.model.len() as u64;
    let (head, tail) = (
        log.output_bytes(0..*first_seq),
        log.output_bytes(*end_seq..end_seq_of_log),
    );
    assert!(
        (200_000..=bytes_max / 4).contains(&head),
        "head of {head} bytes"
    );
    assert!(
        (600_000..=bytes_max * 3 / 4).contains(&tail),
        "tail of {tail} bytes"
    );
    assert_eq!(head + bytes + tail, 4_000_000);
}

#[test]
fn a_reader_in_a_removed_segment_reads_it_to_its_end() {
    let mut log = LogFixture::new(1024, Some(BYTES_MAX_MIN));
    // Past the head, in the part that will be cut.
    while log.segments().len() < 7 {
        log.append(Stream::Stdout, 50);
    }
    let from_seq = log.model.len() as u64 - 5;
    let mut reader = log.reader(from_seq);
    let mut seen = Vec::new();
    read_up_to(&mut reader, 1, &mut seen).unwrap();
    log.append_all(&[(Stream::Stdout, 50); 1000]);
    seen.extend(read_all(&mut reader).unwrap());

    log.expect_seen(&seen, from_seq..log.model.len() as u64);
    assert!(
        matches!(seen[1], Seen::Record(..)),
        "the open segment outlives its name"
    );
    assert!(seen.iter().any(|entry| matches!(entry, Seen::Cut { .. })));
}

#[test]
fn a_segment_that_lost_its_tail_is_damage() {
    let mut log = LogFixture::new(1024, None);
    log.append_all(&[(Stream::Stdout, 50); 100]);
    let damaged = log.segments()[2].clone();
    let len = fs::metadata(&damaged).unwrap().len();
    // The records have one length, so this is a whole number of them.
    fs::File::options()
        .write(true)
        .open(&damaged)
        .unwrap()
        .set_len(len - 2 * 78)
        .unwrap();

    let error = read_all(&mut log.reader(0)).unwrap_err();

    assert!(
        matches!(&error, LogError::Corrupt { segment, .. } if *segment == damaged),
        "{error:?}"
    );
    assert!(matches!(log_end(&log.dir), Err(LogError::Corrupt { .. })));
}

#[test]
fn damage_in_the_newest_segment_is_no_torn_tail() {
    let mut log = LogFixture::new(1 << 20, None);
    log.append_all(&[(Stream::Stdout, 50); 10]);
    let segment = log.segments()[0].clone();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[32 + 3 * 78 + 40] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let mut reader = log.reader(0);
    let mut seen = Vec::new();
    let error = read_up_to(&mut reader, usize::MAX, &mut seen).unwrap_err();

    log.expect_seen(&seen, 0..3);
    assert!(
        matches!(error, LogError::Corrupt { offset: 266, .. }),
        "{error:?}"
    );
}

#[test]
fn a_record_in_place_of_a_torn_one_is_read_at_once() {
    let (mut torn, mut rewritten) = (
        LogFixture::new(8 << 20, None),
        LogFixture::new(8 << 20, None),
    );
    torn.append_all(&[(Stream::Stdout, 50), (Stream::Stdout, 500)]);
    rewritten.append_all(&[(Stream::Stdout, 50), (Stream::Stderr, 600)]);
    let segment = &torn.segments()[0];
    fs::File::options()
        .write(true)
        .open(segment)
        .unwrap()
        .set_len(400)
        .unwrap();
    let mut reader = torn.reader(0);
    torn.expect_seen(&read_all(&mut reader).unwrap(), 0..1);

    fs::write(segment, fs::read(&rewritten.segments()[0]).unwrap()).unwrap();

    rewritten.expect_seen(&read_all(&mut reader).unwrap(), 1..2);
}

#[test]
fn the_largest_records_fit() {
    let mut log = LogFixture::new(8 << 20, None);
    let mut reader = log.reader(0);
    log.append(Stream::Stderr, PAYLOAD_MAX);
    log.append(Stream::Stdout, 2 * PAYLOAD_MAX + 1);
    assert_eq!(log.model.len(), 4);

    let seen = read_all(&mut reader).unwrap();

    log.expect_seen(&seen, 0..4);
}

#[test]
fn the_format_does_not_change_by_accident() {
    let mut log = LogFixture::new(8 << 20, None);
    log.writer
        .append(Stream::Stderr, Duration::from_nanos(0x0102), b"hi")
        .unwrap();
    let bytes = fs::read(log.dir.join("00000000000000000000.seg")).unwrap();
    let mut expected = b"cogo-log\0\0\0\0\x01\0\0\0".to_vec();
    expected.extend([0; 16]);
    expected.extend(b"\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x02\0\0\0hi");
    let crc = crc32fast::hash(&expected[36..]).to_le_bytes();
    expected[32..36].copy_from_slice(&crc);
    let crc = crc32fast::hash(&expected[12..32]).to_le_bytes();
    expected[8..12].copy_from_slice(&crc);
    assert_eq!(bytes, expected);
}

#[test]
fn a_log_is_not_begun_twice() {
    let mut log = LogFixture::new(8 << 20, None);
    log.append(Stream::Stdout, 1);
    let again = LogWriter::create(&log.dir, LogOptions::default());
    assert!(matches!(again, Err(LogError::Exists { .. })));
}

#[test]
fn a_newer_format_is_refused() {
    let mut log = LogFixture::new(8 << 20, None);
    log.append(Stream::Stdout, 1);
    let segment = log.segments()[0].clone();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[12] = 2;
    let crc = crc32fast::hash(&bytes[12..32]).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    fs::write(&segment, bytes).unwrap();

    let error = read_all(&mut log.reader(0)).unwrap_err();

    assert!(
        matches!(error, LogError::Unsupported { found: 2, .. }),
        "{error:?}"
    );
}

#[test]
fn sync_reaches_every_segment() {
    let mut log = LogFixture::new(1024, Some(BYTES_MAX_MIN));
    log.writer.sync().unwrap();
    log.append_all(&[(Stream::Stdout, 50); 300]);
    log.writer.sync().unwrap();
    log.append(Stream::Stdout, 50);
    log.writer.sync().unwrap();
}

#[test]
fn a_reader_follows_another_process() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = WriterProcess::start("stream", root.path(), 6000);
    let mut reader = LogReader::open(&writer.dir, 0).unwrap();
    let mut crc = crc32fast::Hasher::new();
    loop {
        let exited = writer.child.try_wait().unwrap().is_some();
        while let Some(entry) = reader.next().unwrap() {
            let Entry::Record(record) = entry else {
                panic!("nothing was cut: {entry:?}")
            };
            crc.update(record.bytes);
        }
        if exited {
            break;
        }
        std::thread::yield_now();
    }
    assert!(writer.child.wait().unwrap().success());
    let mut expected = crc32fast::Hasher::new();
    for seq in 0..6000 {
        expected.update(&record_of_process(seq));
    }
    assert_eq!(reader.next_seq(), 6000);
    assert_eq!(crc.finalize(), expected.finalize());
}

#[test]
fn readers_race_with_a_writer_that_cuts() {
    const RECORDS: u64 = 20_000;
    let len_of = |seq: u64| 1 + seq * 31 % 100;
    let root = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 1024,
        bytes_max: Some(BYTES_MAX_MIN),
    };
    let mut writer = LogWriter::create(root.path(), options).unwrap();
    let read = || {
        let mut reader = LogReader::open(root.path(), 0).unwrap();
        let (mut next_seq, mut bytes_seen) = (0, 0);
        while next_seq < RECORDS {
            match reader.next().unwrap() {
                Some(Entry::Record(record)) => {
                    assert_eq!(record.seq, next_seq);
                    assert!(record.bytes == noise(next_seq, len_of(next_seq) as usize));
                    bytes_seen += len_of(next_seq);
                    next_seq += 1;
                }
                Some(Entry::Cut {
                    first_seq,
                    end_seq,
                    bytes,
                }) => {
                    assert_eq!(first_seq, next_seq);
                    assert_eq!(bytes, (first_seq..end_seq).map(len_of).sum::<u64>());
                    bytes_seen += bytes;
                    next_seq = end_seq;
                }
                None => std::thread::yield_now(),
            }
        }
        bytes_seen
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        for seq in 0..RECORDS {
            let bytes = noise(seq, len_of(seq) as usize);
            writer
                .append(Stream::Stdout, Duration::from_nanos(seq), &bytes)
                .unwrap();
        }
        for reader in readers {
            assert_eq!(reader.join().unwrap(), writer.end().bytes);
        }
    });
}

#[test]
fn a_killed_writer_leaves_a_whole_log() {
    for round in 1..12_u64 {
        let root = tempfile::tempdir().unwrap();
        let mut writer = WriterProcess::start("stream", root.path(), u64::MAX);
        let mut reader = LogReader::open(&writer.dir, 0).unwrap();
        let mut seen_seq = 0;
        while seen_seq < round * 137 {
            seen_seq += expect_process_records(&mut reader);
            std::thread::yield_now();
        }
        writer.child.kill().unwrap();
        assert_eq!(writer.child.wait().unwrap().signal(), Some(libc::SIGKILL));
        seen_seq += expect_process_records(&mut reader);

        let bytes = (0..seen_seq)
            .map(|seq| record_of_process(seq).len() as u64)
            .sum();
        let end = LogEnd {
            seq: seen_seq,
            bytes,
            cut_bytes: 0,
        };
        assert_eq!(log_end(&writer.dir).unwrap(), end);
    }
}

#[test]
fn a_write_that_fails_half_way_leaves_no_trace() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = WriterProcess::start("file-size-limit", root.path(), 0);
    assert!(writer.child.wait().unwrap().success());
}

/// A second process of this test program that writes a log.
struct WriterProcess {
    child: Child,
    dir: PathBuf,
    /// Kept, since the test harness of the process writes to it at its end.
    _output: BufReader<ChildStdout>,
}

impl WriterProcess {
    /// Starts it and waits until the log exists.
    fn start(role: &str, root: &Path, records: u64) -> Self {
        let dir = root.join("log");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "log::tests::writer_process",
                "--ignored",
                "--nocapture",
            ])
            .env("LOG_WRITER_ROLE", role)
            .env("LOG_WRITER_DIR", &dir)
            .env("LOG_WRITER_RECORDS", records.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let started = output
            .by_ref()
            .lines()
            .any(|line| line.unwrap().ends_with("log created"));
        assert!(started, "the writer process did not create its log");
        Self {
            child,
            dir,
            _output: output,
        }
    }
}

impl Drop for WriterProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn record_of_process(seq: u64) -> Vec<u8> {
    let len = if seq.is_multiple_of(50) {
        60_000
    } else {
        1 + seq * 31 % 700
    };
    noise(seq, len as usize)
}

fn expect_process_records(reader: &mut LogReader) -> u64 {
    let mut count = 0;
    while let Some(entry) = reader.next().unwrap() {
        let Entry::Record(record) = entry else {
            panic!("nothing was cut: {entry:?}")
        };
        assert!(
            record.bytes == record_of_process(record.seq),
            "record {} differs",
            record.seq
        );
        count += 1;
    }
    count
}

#[test]
#[ignore = "is the second process of other tests"]
fn writer_process() {
    let Ok(role) = std::env::var("LOG_WRITER_ROLE") else {
        return;
    };
    let dir = PathBuf::from(std::env::var("LOG_WRITER_DIR").unwrap());
    let records: u64 = std::env::var("LOG_WRITER_RECORDS")
        .unwrap()
        .parse()
        .unwrap();
    let options = LogOptions {
        segment_bytes: 1 << 20,
        bytes_max: None,
    };
    let mut writer = LogWriter::create(&dir, options).unwrap();
    let mut output = io::stdout();
    output.write_all(b"log created\n").unwrap();
    match &*role {
        "stream" => {
            for seq in 0..records {
                let time = Duration::from_nanos(seq);
                writer
                    .append(Stream::Stdout, time, &record_of_process(seq))
                    .unwrap();
            }
        }
        "file-size-limit" => append_past_file_size_limit(&mut writer, &dir),
        other => panic!("unknown role {other}"),
    }
}

/// Runs into a limit in the middle of a record, then goes on once the limit is lifted.
fn append_past_file_size_limit(writer: &mut LogWriter, dir: &Path) {
    // SAFETY: ignoring a signal installs no code; this process has no other thread that minds.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let limit = |current| {
        let limit = rustix::process::Rlimit {
            current,
            maximum: None,
        };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    };
    let mut reader = LogReader::open(dir, 0).unwrap();
    let first = noise(1, 100_000);
    let second = noise(2, 200_000);
    writer
        .append(Stream::Stdout, Duration::ZERO, &first)
        .unwrap();
    limit(Some(250_000));
    let error = writer
        .append(Stream::Stderr, Duration::ZERO, &second)
        .unwrap_err();
    let LogError::Append {
        appended, source, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(source.raw_os_error(), Some(libc::EFBIG));
    assert_eq!(appended, 131_044, "the first piece fits");
    let bytes = (first.len() + appended) as u64;
    assert_eq!(
        writer.end(),
        LogEnd {
            seq: 2,
            bytes,
            cut_bytes: 0
        }
    );
    let rest = writer.append(Stream::Stderr, Duration::ZERO, &second[appended..]);
    assert!(matches!(rest, Err(LogError::Append { appended: 0, .. })));
    assert_eq!(log_end(dir).unwrap(), writer.end());
    assert_eq!(
        fs::metadata(dir.join("00000000000000000000.seg"))
            .unwrap()
            .len(),
        32 + 2 * 28 + bytes,
        "nothing is left of the failed writes"
    );
    limit(None);
    writer
        .append(Stream::Stderr, Duration::ZERO, &second[appended..])
        .unwrap();
    assert_eq!(log_end(dir).unwrap(), writer.end());
    let seen: Vec<u8> = read_all(&mut reader)
        .unwrap()
        .into_iter()
        .flat_map(|entry| match entry {
            Seen::Record(_, record) => record.bytes,
            Seen::Cut { .. } => panic!("nothing was cut"),
        })
        .collect();
    assert!(seen == [first, second].concat());
}

#[test]
fn zeros_alone_are_a_torn_tail() {
    let mut log = LogFixture::new(4096, None);
    log.append(Stream::Stdout, 1);
    let newest = log.segments().pop().unwrap();
    // As many as two headers and more: neither of them is taken for good data.
    for zeros in 0..200 {
        fs::write(&newest, vec![0; zeros]).unwrap();
        assert_eq!(read_all(&mut log.reader(0)).unwrap(), [], "{zeros}");
    }
}
