//! Reads an exec's log and makes messages of it. One path for live output and for replay.
//!
//! Records of one stream that lie one after the other in the log become one message, up to
//! [`MESSAGE_LEN`]. It carries the number and time of the last record in it, so that a client
//! resumes at that number plus one. Everything here blocks its thread, and only for the disk.

use std::path::PathBuf;

use cogo_protocol::frame::{HEADER_LEN, OutputHeader};
use cogo_protocol::message::{FromWorker, OutputCut, TaskOutput};
use cogo_protocol::record::{Chunk, HELD_MAX, Stream, Utf8Chunker};
use cogo_protocol::task::{Fence, TaskId};
use cogo_protocol::worker::WorkerId;
use cogo_sandbox::log::{Entry, LogError, LogReader, Record};
use tokio_tungstenite::tungstenite::Message;

use crate::convert;
use crate::instant::now_ms;

/// Bytes of output after which a message is not added to.
const MESSAGE_LEN: usize = 64 << 10;
/// Bytes of output that are read at a time.
const BATCH_LEN: usize = 64 << 10;

/// How output travels on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As text, with no character torn.
    Json,
    /// As binary frames.
    Binary {
        /// What stands for the task.
        handle: u32,
    },
}

/// Whose output it is.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) task_id: TaskId,
    pub(crate) worker_id: WorkerId,
    pub(crate) fence: Option<Fence>,
    pub(crate) log_dir: PathBuf,
    /// Unix time in milliseconds of the command's start, which the log counts from.
    pub(crate) started_at_ms: u64,
}

/// A place in a log, and what is held back of torn characters there.
#[derive(Debug)]
pub(crate) struct Replay {
    source: Source,
    form: Form,
    /// Nothing before it is told.
    from_seq: u64,
    reader: Option<LogReader>,
    torn: Torn,
    last_ms: u64,
}

/// What came of reading.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) messages: Vec<Message>,
    /// Whether the log has nothing more now.
    pub(crate) caught_up: bool,
}

/// The unfinished characters of both streams.
#[derive(Debug, Default)]
struct Torn {
    stdout: Utf8Chunker,
    stderr: Utf8Chunker,
}

impl Torn {
    fn of(&mut self, stream: Stream) -> &mut Utf8Chunker {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// Output that becomes one message.
struct Run {
    stream: Stream,
    seq: u64,
    timestamp_ms: u64,
    /// In binary form with room for the header before it.
    bytes: Vec<u8>,
}

impl Replay {
    pub(crate) fn new(source: Source, form: Form, from_seq: u64) -> Self {
        Self {
            last_ms: source.started_at_ms,
            source,
            form,
            from_seq,
            reader: None,
            torn: Torn::default(),
        }
    }

    /// The sequence number up to which the log was read.
    pub(crate) fn position(&self) -> u64 {
        self.reader
            .as_ref()
            .map_or(self.from_seq, LogReader::next_seq)
    }

    /// Gives memory back, for as long as nothing is read.
    pub(crate) fn rest(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.release();
        }
    }

    /// Makes messages of what comes next in the log, up to a bound.
    pub(crate) fn read(&mut self) -> Result<Batch, LogError> {
        let mut batch = Batch::default();
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            // There is no log before there is an exec.
            None if !self.source.log_dir.is_dir() => {
                batch.caught_up = true;
                return Ok(batch);
            }
            None => self.open()?,
        };
        let read = self.read_from(&mut reader, &mut batch);
        self.reader = Some(reader);
        read.map(|()| batch)
    }

    /// What is left to tell once the log has ended: the start of a character whose end never
    /// came. It takes the number of the log's end; that of the second stream takes the next.
    pub(crate) fn finish(&mut self, log_end: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        self.give_up_torn([log_end, log_end.saturating_add(1)], &mut messages);
        messages
    }

    /// Opens the log at the first record to tell. In text, what is held back there depends on
    /// the bytes before it.
    fn open(&mut self) -> Result<LogReader, LogError> {
        if self.form != Form::Json || self.from_seq == 0 {
            return LogReader::open(&self.source.log_dir, self.from_seq);
        }
        let mut reader = LogReader::open(&self.source.log_dir, 0)?;
        let mut last = [Vec::new(), Vec::new()];
        while reader.next_seq() < self.from_seq {
            match reader.next()? {
                None => break,
                Some(Entry::Cut { end_seq, .. }) if end_seq > self.from_seq => {
                    // Told from its start, as to a reader that came here on its way.
                    return LogReader::open(&self.source.log_dir, self.from_seq);
                }
                Some(Entry::Cut { .. }) => last = [Vec::new(), Vec::new()],
                Some(Entry::Record(record)) => {
                    let kept = &mut last[convert::stream(record.stream) as usize];
                    let tail = record.bytes.len().saturating_sub(HELD_MAX);
                    kept.extend_from_slice(&record.bytes[tail..]);
                    kept.drain(..kept.len().saturating_sub(HELD_MAX));
                }
            }
        }
        let [stdout, stderr] = last;
        self.torn = Torn {
            stdout: Utf8Chunker::after(&stdout),
            stderr: Utf8Chunker::after(&stderr),
        };
        LogReader::open(&self.source.log_dir, self.from_seq)
    }

    fn read_from(&mut self, reader: &mut LogReader, batch: &mut Batch) -> Result<(), LogError> {
        let mut run: Option<Run> = None;
        let mut len = 0;
        while len < BATCH_LEN {
            match reader.next()? {
                None => {
                    batch.caught_up = true;
                    break;
                }
                Some(Entry::Record(record)) => {
                    len += record.bytes.len();
                    self.add(&record, &mut run, &mut batch.messages);
                }
                Some(Entry::Cut {
                    first_seq,
                    end_seq,
                    bytes,
                }) => {
                    self.close(run.take(), &mut batch.messages);
                    let second = (first_seq + 1).min(end_seq.saturating_sub(1));
                    self.give_up_torn([first_seq, second], &mut batch.messages);
                    batch.messages.push(self.cut(first_seq, end_seq, bytes));
                }
            }
        }
        self.close(run, &mut batch.messages);
        Ok(())
    }

    fn add(&mut self, record: &Record<'_>, run: &mut Option<Run>, messages: &mut Vec<Message>) {
        let stream = convert::stream(record.stream);
        let fits = |run: &Run| run.stream == stream && run.bytes.len() < MESSAGE_LEN;
        if !run.as_ref().is_some_and(fits) {
            self.close(run.take(), messages);
        }
        let run = run.get_or_insert_with(|| Run {
            stream,
            seq: 0,
            timestamp_ms: 0,
            bytes: match self.form {
                Form::Json => Vec::with_capacity(record.bytes.len()),
                Form::Binary { .. } => {
                    let mut bytes = Vec::with_capacity(HEADER_LEN + record.bytes.len());
                    bytes.resize(HEADER_LEN, 0);
                    bytes
                }
            },
        });
        let since_start = convert::ms(record.time);
        self.last_ms = self.source.started_at_ms.saturating_add(since_start);
        run.seq = record.seq;
        run.timestamp_ms = self.last_ms;
        run.bytes.extend_from_slice(record.bytes);
    }

    fn close(&mut self, run: Option<Run>, messages: &mut Vec<Message>) {
        let Some(mut run) = run else {
            return;
        };
        match self.form {
            Form::Binary { handle } => {
                let header = OutputHeader {
                    handle,
                    stream: run.stream,
                    seq: run.seq,
                    timestamp_ms: run.timestamp_ms,
                };
                run.bytes[..HEADER_LEN].copy_from_slice(&header.encode());
                messages.push(Message::Binary(run.bytes.into()));
            }
            Form::Json => {
                if let Some(chunk) = self.torn.of(run.stream).push(&run.bytes) {
                    messages.push(self.output(run.stream, run.seq, run.timestamp_ms, chunk));
                }
            }
        }
    }

    /// Tells what was held back of characters that do not go on, under numbers that no record
    /// has, so that a client which saw one of two resumes at the other.
    fn give_up_torn(&mut self, seqs: [u64; 2], messages: &mut Vec<Message>) {
        let Torn { stdout, stderr } = std::mem::take(&mut self.torn);
        let torn = [(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
        for ((stream, torn), seq) in torn.into_iter().zip(seqs) {
            if let Some(chunk) = torn.finish()
                && seq >= self.from_seq
            {
                messages.push(self.output(stream, seq, self.last_ms, chunk));
            }
        }
    }

    /// What is missing from here to the log's end, if anything is.
    pub(crate) fn missing(&self, log_end: u64) -> Option<Message> {
        let position = self.position();
        (position < log_end).then(|| self.cut(position, log_end, 0))
    }

    fn cut(&self, first_seq: u64, end_seq: u64, bytes: u64) -> Message {
        text(&FromWorker::OutputCut(OutputCut {
            task_id: self.source.task_id.clone(),
            worker_id: self.source.worker_id.clone(),
            first_seq,
            end_seq,
            bytes,
            timestamp: now_ms(),
            fence: self.source.fence,
        }))
    }

    fn output(&self, stream: Stream, seq: u64, timestamp: u64, chunk: Chunk) -> Message {
        text(&FromWorker::TaskOutput(TaskOutput {
            task_id: self.source.task_id.clone(),
            worker_id: self.source.worker_id.clone(),
            stream,
            timestamp,
            seq,
            chunk,
        }))
    }
}

/// A message as a text frame.
pub(crate) fn text(message: &FromWorker) -> Message {
    let text = serde_json::to_string(message).expect("messages have string keys only");
    Message::text(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use cogo_sandbox::log::{LogOptions, LogWriter, Stream as LogStream};

    use super::*;

    fn replay(log_dir: &Path, form: Form, from_seq: u64) -> Replay {
        let source = Source {
            task_id: "t".parse().unwrap(),
            worker_id: "w".parse().unwrap(),
            fence: None,
            log_dir: log_dir.to_owned(),
            started_at_ms: 1000,
        };
        Replay::new(source, form, from_seq)
    }

    /// Reads to the end and gives what each message says: stream, number and bytes, or a cut.
    fn read_all(mut replay: Replay) -> Vec<(String, u64, Vec<u8>)> {
        let mut messages = Vec::new();
        loop {
            let batch = replay.read().unwrap();
            messages.extend(batch.messages);
            if batch.caught_up {
                break;
            }
        }
        let end = cogo_sandbox::log::log_end(&replay.source.log_dir).unwrap();
        messages.extend(replay.finish(end.seq));
        messages.iter().map(told).collect()
    }

    fn told(message: &Message) -> (String, u64, Vec<u8>) {
        match message {
            Message::Binary(frame) => {
                let (header, bytes) = OutputHeader::decode(frame).unwrap();
                (format!("{:?}", header.stream), header.seq, bytes.to_vec())
            }
            other => match serde_json::from_str(other.to_text().unwrap()).unwrap() {
                FromWorker::TaskOutput(output) => (
                    format!("{:?}", output.stream),
                    output.seq,
                    output.chunk.into_bytes().unwrap(),
                ),
                FromWorker::OutputCut(cut) => ("cut".to_owned(), cut.first_seq, Vec::new()),
                other => panic!("{other:?}"),
            },
        }
    }

    fn log(records: &[(LogStream, &[u8])], options: LogOptions) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(place.path(), options).unwrap();
        for (stream, bytes) in records {
            writer
                .append(*stream, Duration::from_millis(5), bytes)
                .unwrap();
        }
        place
    }

    #[test]
    fn records_of_one_stream_become_one_message_with_the_last_number() {
        let log = log(
            &[
                (LogStream::Stdout, b"a"),
                (LogStream::Stdout, b"b"),
                (LogStream::Stderr, b"c"),
                (LogStream::Stdout, b"d"),
            ],
            LogOptions::default(),
        );
        let expected = [
            ("Stdout".to_owned(), 1, b"ab".to_vec()),
            ("Stderr".to_owned(), 2, b"c".to_vec()),
            ("Stdout".to_owned(), 3, b"d".to_vec()),
        ];
        for form in [Form::Json, Form::Binary { handle: 7 }] {
            assert_eq!(read_all(replay(log.path(), form, 0)), expected);
            assert_eq!(read_all(replay(log.path(), form, 2)), expected[1..]);
        }
    }

    #[test]
    fn a_client_that_resumes_anywhere_gets_every_byte_once() {
        let pieces = ["é", "grün", "😀", "x"].concat().repeat(9);
        let records: Vec<(LogStream, &[u8])> = pieces
            .as_bytes()
            .chunks(1)
            .enumerate()
            .map(|(i, byte)| {
                let stream = if i % 5 == 0 {
                    LogStream::Stderr
                } else {
                    LogStream::Stdout
                };
                (stream, byte)
            })
            .chain([
                (LogStream::Stderr, &b"\xe2"[..]),
                (LogStream::Stdout, &b"\xf0\x9f"[..]),
            ])
            .collect();
        let log = log(&records, LogOptions::default());
        let bytes = |messages: &[(String, u64, Vec<u8>)], stream: &str| -> Vec<u8> {
            let of_stream = messages.iter().filter(|(name, ..)| name == stream);
            of_stream.flat_map(|(_, _, bytes)| bytes.clone()).collect()
        };
        for form in [Form::Json, Form::Binary { handle: 1 }] {
            let all = read_all(replay(log.path(), form, 0));
            for cut_at in 0..=all.len() {
                let mut seen = all[..cut_at].to_vec();
                let from = seen.last().map_or(0, |(_, seq, _)| seq + 1);
                seen.extend(read_all(replay(log.path(), form, from)));
                for stream in ["Stdout", "Stderr"] {
                    assert_eq!(
                        bytes(&seen, stream),
                        bytes(&all, stream),
                        "{form:?} {cut_at}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_cut_is_told_once_in_its_place() {
        let line = [b'x'; 1000];
        let records = vec![(LogStream::Stdout, &line[..]); 200];
        let options = LogOptions {
            bytes_max: Some(32 << 10),
            ..LogOptions::default()
        };
        let log = log(&records, options);
        for form in [Form::Json, Form::Binary { handle: 1 }] {
            let all = read_all(replay(log.path(), form, 0));
            let cuts: Vec<_> = all.iter().filter(|(name, ..)| name == "cut").collect();
            assert_eq!(cuts.len(), 1, "{all:?}");
            let end = cogo_sandbox::log::log_end(log.path()).unwrap();
            assert_eq!(all.last().unwrap().1, end.seq - 1);
            let inside = read_all(replay(log.path(), form, cuts[0].1 + 1));
            assert_eq!(inside[0].0, "cut");
        }
    }

    #[test]
    fn a_log_that_is_not_there_yet_is_empty() {
        let mut replay = replay(Path::new("/nonexistent"), Form::Json, 0);
        let batch = replay.read().unwrap();
        assert!(batch.caught_up && batch.messages.is_empty());
    }
}
