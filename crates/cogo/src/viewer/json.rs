//! Output as JSON events, with no character torn between two of them.

use std::ops::Range;

use cogo_protocol::record::Utf8Chunker;
use cogo_sandbox::log::{Record, Stream};

use super::outbox::Outbox;
use crate::convert;

/// Makes events of log records.
#[derive(Debug, Default)]
pub(super) struct JsonForm {
    started_at_ms: u64,
    /// Events of earlier records are not shown; the records are still read, for their torn
    /// characters.
    from_seq: u64,
    stdout: Utf8Chunker,
    stderr: Utf8Chunker,
    last_ms: u64,
}

impl JsonForm {
    pub(super) fn new(started_at_ms: u64, from_seq: u64) -> Self {
        Self {
            started_at_ms,
            from_seq,
            last_ms: started_at_ms,
            ..Self::default()
        }
    }

    pub(super) fn record(&mut self, record: &Record<'_>, outbox: &mut Outbox) {
        let since_start = u64::try_from(record.time.as_millis()).unwrap_or(u64::MAX);
        self.last_ms = self.started_at_ms.saturating_add(since_start);
        let chunker = match record.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if let Some(chunk) = chunker.push(record.bytes)
            && record.seq >= self.from_seq
        {
            let line = convert::output(record.seq, record.stream, self.last_ms, chunk);
            outbox.push(Stream::Stdout, line.as_bytes());
        }
    }

    pub(super) fn cut(&mut self, missing: &Range<u64>, bytes: u64, outbox: &mut Outbox) {
        self.finish(missing.start, outbox);
        if missing.end > self.from_seq {
            outbox.push(Stream::Stdout, convert::cut(missing, bytes).as_bytes());
        }
    }

    /// Shows what was held back of characters that do not go on. It gets the number `seq`.
    pub(super) fn finish(&mut self, seq: u64, outbox: &mut Outbox) {
        for (stream, chunker) in [
            (Stream::Stdout, &mut self.stdout),
            (Stream::Stderr, &mut self.stderr),
        ] {
            if let Some(chunk) = std::mem::take(chunker).finish() {
                let line = convert::output(seq, stream, self.last_ms, chunk);
                outbox.push(Stream::Stdout, line.as_bytes());
            }
        }
    }
}
