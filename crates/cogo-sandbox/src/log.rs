//! The output log of one exec: appended before anyone sees it, read by sequence number.
//!
//! A log is a directory of segment files. One process, the supervisor, owns it through a
//! [`LogWriter`]; any number of [`LogReader`]s in other processes follow along. They share nothing
//! but the files, so a reader never blocks the writer, and whatever `append` returned for survives
//! `kill -9` of the writer.
//!
//! # Format, version 1
//!
//! All numbers are little-endian. A segment is named after the sequence number of its first record,
//! as 20 decimal digits and `.seg`. It starts with a header:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic, `cogo-log` |
//! | 8 | 4 | CRC-32 of bytes 12..32 |
//! | 12 | 4 | format version, 1 |
//! | 16 | 8 | sequence number of the first record |
//! | 24 | 8 | bytes of output before the first record, whether or not they are still there |
//!
//! Records follow without gaps:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of everything after it: bytes 4..28 and the payload |
//! | 4 | 4 | length of the payload, 1..=262144 |
//! | 8 | 8 | sequence number |
//! | 16 | 8 | nanoseconds since the exec started |
//! | 24 | 1 | stream: 1 stdout, 2 stderr |
//! | 25 | 1 | flags: bit 0 is set on the last record of a segment; the others are zero |
//! | 26 | 2 | zero |
//! | 28 | length | payload |
//!
//! The last-record flag tells a reader to move on to the next segment. Until it has seen that flag,
//! an end of file means "nothing more now", and following a quiet log costs one `pread`.
//!
//! # What a reader may find
//!
//! - **A torn tail**: the newest segment ends inside a record or in bytes that are no record. The
//!   writer is at work, or died; both read as "nothing more now".
//! - **A cut**: segments are missing because the log reached its size bound. The first quarter and
//!   the newest tail are kept. Sequence numbers and byte counters on both sides say exactly what is
//!   missing.
//! - **Damage**: what is unreadable has good data behind it. That is [`LogError::Corrupt`].
//!
//! Deliberately absent: waiting (the caller knows when to look again), and closing a log (that an
//! exec has ended is for its verdict to say).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

mod end;
mod format;
mod reader;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub use end::log_end;
pub use format::PAYLOAD_MAX;
pub use reader::LogReader;
pub use tail::{LogTail, log_tail};
pub use writer::{BYTES_MAX_MIN, LogOptions, LogWriter};

/// Where a record's bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One piece of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Position in the log, counted from 0.
    pub seq: u64,
    /// Where the bytes came from.
    pub stream: Stream,
    /// Monotonic time since the exec started.
    pub time: Duration,
    /// The output itself, never empty.
    pub bytes: &'a [u8],
}

/// What a reader meets next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record.
    Record(Record<'a>),
    /// Records `first_seq..end_seq` are gone. A reader that starts inside the range is told all of
    /// it, so `first_seq` may be smaller than the number it asked for.
    Cut {
        /// The first missing record.
        first_seq: u64,
        /// The record after the last missing one.
        end_seq: u64,
        /// Bytes of output in the missing records.
        bytes: u64,
    },
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Sequence number after the last record.
    pub seq: u64,
    /// Bytes of output appended, cut ones included.
    pub bytes: u64,
    /// Bytes of output that were cut to keep to the size bound.
    pub cut_bytes: u64,
}

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory cannot be made or opened.
    #[error("failed to open log `{path}`")]
    Open {
        /// The log's directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory already holds a log.
    #[error("log `{path}` already exists")]
    Exists {
        /// The log's directory.
        path: PathBuf,
    },
    /// The size bound leaves no room for a useful log.
    #[error("log bound of {bytes_max} bytes is below the minimum of {minimum}")]
    BoundTooSmall {
        /// What was asked for.
        bytes_max: u64,
        /// The smallest bound, [`BYTES_MAX_MIN`].
        minimum: u64,
    },
    /// A record could not be appended. The log is whole and ends before it; a later append may work.
    #[error("failed to {step} `{path}`, {appended} bytes were appended before")]
    Append {
        /// What was attempted.
        step: &'static str,
        /// The segment it was attempted on.
        path: PathBuf,
        /// How many bytes of this append are in the log all the same.
        appended: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// Records may not have reached the disk.
    #[error("failed to sync `{path}`")]
    Sync {
        /// The segment or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A segment or the directory cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The segment or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Data in the middle of the log is damaged.
    #[error("log segment `{segment}` is damaged at offset {offset}")]
    Corrupt {
        /// The segment.
        segment: PathBuf,
        /// Where the damage starts, in bytes from the start of the file.
        offset: u64,
    },
    /// A newer program wrote this log.
    #[error("log segment `{segment}` holds {what} {found}, which this program does not know")]
    Unsupported {
        /// The segment.
        segment: PathBuf,
        /// What is unknown: a format version or a stream.
        what: &'static str,
        /// Its number.
        found: u32,
    },
}
