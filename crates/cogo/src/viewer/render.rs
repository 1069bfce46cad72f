//! How output is shown: as it is, with times, or as JSON events.

use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use cogo_sandbox::log::{Record, Stream};

use super::json::JsonForm;
use super::outbox::{Outbox, To};
use crate::instant;
use crate::measure;

/// Turns log records into what is shown.
#[derive(Debug)]
pub(crate) struct Renderer {
    form: Form,
    only: Option<Stream>,
}

#[derive(Debug)]
enum Form {
    /// Byte for byte.
    Raw,
    /// A time before each line.
    Timestamps {
        started_at: Duration,
        stdout: LineState,
        stderr: LineState,
    },
    /// JSON events.
    Json(JsonForm),
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineState {
    AtStart,
    Inside,
}

impl Renderer {
    /// Byte for byte.
    pub(crate) fn raw() -> Self {
        Self {
            form: Form::Raw,
            only: None,
        }
    }

    /// With the time before each line. `started_at_ms` is the Unix time of the exec's start.
    pub(crate) fn timestamps(started_at_ms: u64) -> Self {
        let started_at = Duration::from_millis(started_at_ms);
        let at_start = LineState::AtStart;
        Self {
            form: Form::Timestamps {
                started_at,
                stdout: at_start,
                stderr: at_start,
            },
            only: None,
        }
    }

    /// As JSON events on stdout, from that record on. The log has to be read from its start
    /// all the same.
    pub(crate) fn json(started_at_ms: u64, from_seq: u64) -> Self {
        Self {
            form: Form::Json(JsonForm::new(started_at_ms, from_seq)),
            only: None,
        }
    }

    /// Leaves the other stream out.
    pub(crate) fn only(mut self, stream: Option<Stream>) -> Self {
        self.only = stream;
        self
    }

    pub(super) fn record(&mut self, record: &Record<'_>, outbox: &mut Outbox) {
        if self.only.is_some_and(|only| only != record.stream) {
            return;
        }
        match &mut self.form {
            Form::Raw => outbox.push(record.stream, record.bytes),
            Form::Timestamps {
                started_at,
                stdout,
                stderr,
            } => {
                let state = match record.stream {
                    Stream::Stdout => stdout,
                    Stream::Stderr => stderr,
                };
                *state = push_lines(record, *started_at, *state, outbox);
            }
            Form::Json(form) => form.record(record, outbox),
        }
    }

    pub(super) fn cut(&mut self, missing: Range<u64>, bytes: u64, outbox: &mut Outbox) {
        match &mut self.form {
            Form::Raw | Form::Timestamps { .. } => {
                let size = measure::bytes(bytes);
                let end = if super::is_raw() { "\r\n" } else { "\n" };
                // Writing to an outbox cannot fail.
                let _ = write!(
                    To(outbox, Stream::Stderr),
                    "{end}cogo: {size} of output were cut here to keep the log in its bound{end}"
                );
            }
            Form::Json(form) => form.cut(&missing, bytes, outbox),
        }
    }

    /// Shows what was held back, once the log has ended at that record.
    pub(super) fn finish(&mut self, seq: u64, outbox: &mut Outbox) {
        match &mut self.form {
            Form::Raw | Form::Timestamps { .. } => {}
            Form::Json(form) => form.finish(seq, outbox),
        }
    }
}

/// Pushes a record with the time before every line that starts in it.
fn push_lines(
    record: &Record<'_>,
    started_at: Duration,
    mut state: LineState,
    outbox: &mut Outbox,
) -> LineState {
    let time = instant::rfc3339(started_at + record.time);
    for line in record.bytes.split_inclusive(|&byte| byte == b'\n') {
        if state == LineState::AtStart {
            outbox.push(record.stream, time.as_bytes());
            outbox.push(record.stream, b" ");
        }
        outbox.push(record.stream, line);
        state = if line.ends_with(b"\n") {
            LineState::AtStart
        } else {
            LineState::Inside
        };
    }
    state
}
