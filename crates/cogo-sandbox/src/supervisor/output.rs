//! Output of the command on its way to the log.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::log::{LogEnd, LogError, LogWriter, Stream};
use crate::redact::Redactor;

/// Most bytes taken from a pipe at once.
pub(super) const READ_MAX: usize = 256 * 1024;

/// How long the start of what may be a secret is held back. Long enough for a program that
/// writes a secret in two pieces, short enough that a person does not see a prompt late.
const HOLD_MAX: Duration = Duration::from_millis(50);

/// All output of one command.
pub(super) struct Outputs {
    sources: Vec<Source>,
    log: LogWriter,
    started: Instant,
    buffer: Vec<u8>,
    redacted: Vec<u8>,
    failure: Option<String>,
}

struct Source {
    fd: Option<OwnedFd>,
    stream: Stream,
    redactor: Redactor,
    held_since: Option<Instant>,
}

/// How the log ended.
#[derive(Clone, Debug, Default)]
pub(super) struct LogOutcome {
    pub(super) end: LogEnd,
    /// What the system said when output could not be written.
    pub(super) failure: Option<String>,
}

impl Outputs {
    pub(super) fn new(log: LogWriter, started: Instant) -> Self {
        Self {
            sources: Vec::new(),
            log,
            started,
            buffer: Vec::new(),
            redacted: Vec::new(),
            failure: None,
        }
    }

    /// Adds a pipe or terminal to read from. It must be non-blocking.
    pub(super) fn add(&mut self, fd: OwnedFd, stream: Stream, redactor: Redactor) {
        self.sources.push(Source {
            fd: Some(fd),
            stream,
            redactor,
            held_since: None,
        });
    }

    /// Sources that may still say something.
    pub(super) fn open(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let sources = self.sources.iter().enumerate();
        sources.filter_map(|(index, source)| Some((index, source.fd.as_ref()?.as_fd())))
    }

    pub(super) fn log_end(&self) -> u64 {
        self.log.end().seq
    }

    /// Takes what is there, once. Whether there was something.
    pub(super) fn read(&mut self, index: usize) -> bool {
        let source = &mut self.sources[index];
        let Some(fd) = &source.fd else { return false };
        // Room that is not filled with zeros first: most programs say little, and touching a
        // quarter of a megabyte for that costs more than the rest of their exec.
        self.buffer.clear();
        self.buffer.reserve_exact(READ_MAX);
        let read = loop {
            match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut self.buffer)) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        match read {
            Ok(1..) => {
                self.take_in(index);
                true
            }
            Err(Errno::AGAIN) => false,
            // A terminal says EIO when its last user closed it.
            Ok(0) | Err(_) => {
                source.fd = None;
                false
            }
        }
    }

    fn take_in(&mut self, index: usize) {
        let source = &mut self.sources[index];
        let bytes = &self.buffer[..];
        if source.redactor.is_empty() {
            append(
                &mut self.log,
                &mut self.failure,
                source.stream,
                self.started,
                bytes,
            );
            return;
        }
        self.redacted.clear();
        source.redactor.push(bytes, &mut self.redacted);
        append(
            &mut self.log,
            &mut self.failure,
            source.stream,
            self.started,
            &self.redacted,
        );
        source.held_since = (source.redactor.pending() > 0).then(Instant::now);
    }

    /// When held back output has to go out.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        self.sources
            .iter()
            .filter_map(|source| Some(source.held_since? + HOLD_MAX))
            .min()
    }

    /// Lets out what was held back for long enough.
    pub(super) fn flush_if_due(&mut self) {
        let now = Instant::now();
        for source in &mut self.sources {
            if source
                .held_since
                .is_some_and(|since| now >= since + HOLD_MAX)
            {
                source.held_since = None;
                self.redacted.clear();
                source.redactor.flush(&mut self.redacted);
                let text = &self.redacted;
                append(
                    &mut self.log,
                    &mut self.failure,
                    source.stream,
                    self.started,
                    text,
                );
            }
        }
    }

    /// Takes all that is left. Everyone who could write is dead, so an empty pipe stays empty,
    /// even if somebody outside was handed its other end.
    pub(super) fn drain(&mut self) {
        for index in 0..self.sources.len() {
            while self.read(index) {}
            let source = &mut self.sources[index];
            source.fd = None;
            self.redacted.clear();
            source.redactor.finish(&mut self.redacted);
            let text = &self.redacted;
            append(
                &mut self.log,
                &mut self.failure,
                source.stream,
                self.started,
                text,
            );
        }
        self.buffer = Vec::new();
    }

    /// Brings the log to the disk and tells where it ends.
    pub(super) fn close(&mut self) -> LogOutcome {
        let said_something = self.log.end().seq > 0;
        if said_something && let Err(error) = self.log.sync() {
            self.failure.get_or_insert_with(|| whole_message(&error));
        }
        LogOutcome {
            end: self.log.end(),
            failure: self.failure.take(),
        }
    }
}

/// A log that cannot be written is no reason to stop the program: the verdict tells it. It ends
/// there, even if the disk has room again: a log with a hole that no reader sees would be a lie.
fn append(
    log: &mut LogWriter,
    failure: &mut Option<String>,
    stream: Stream,
    started: Instant,
    bytes: &[u8],
) {
    if bytes.is_empty() || failure.is_some() {
        return;
    }
    if let Err(error) = log.append(stream, started.elapsed(), bytes) {
        *failure = Some(whole_message(&error));
    }
}

/// The error with its cause, which says whether the disk is full or broken.
fn whole_message(error: &LogError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
