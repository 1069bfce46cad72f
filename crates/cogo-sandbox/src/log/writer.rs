//! The one process that appends.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{fdatasync, ftruncate};
use rustix::io::{Errno, pwritev};

use super::format::{
    PAYLOAD_MAX, RECORD_HEADER_LEN, RecordHeader, SEGMENT_HEADER_LEN, SegmentHeader,
};
use super::segment::SegmentDir;
use super::{LogEnd, LogError, Stream};

/// The smallest size bound a log accepts.
pub const BYTES_MAX_MIN: u64 = 16 << 10;

const SEGMENT_BYTES_MIN: u64 = 1 << 10;
/// Segments under a size bound. What is cut at once, and how far the log stays below its bound, is
/// one segment.
const SEGMENTS_PER_BOUND: u64 = 16;
/// Records in a segment are at most this fraction of it, so that segments are nearly filled.
const RECORDS_PER_SEGMENT: u64 = 8;

/// How a log is laid out.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Size at which a new segment is begun, in bytes; no segment grows past it. Smaller under a
    /// small `bytes_max`, and at least 1 KiB. Default: 8 MiB.
    pub segment_bytes: u64,
    /// Bound on the sum of all file sizes, headers included. `None`, the default, is no bound.
    pub bytes_max: Option<u64>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            bytes_max: None,
        }
    }
}

/// Appends to a log. The only one: two writers on one directory would destroy it.
#[derive(Debug)]
pub struct LogWriter {
    dir: SegmentDir,
    segment_bytes: u64,
    payload_max: usize,
    bound: Option<Bound>,
    open: Option<OpenSegment>,
    /// Segments not yet known to be on disk, without the open one.
    unsynced: Vec<u64>,
    /// Whether segments were made since the directory was last synced.
    names_unsynced: bool,
    end: LogEnd,
}

/// The segment that grows.
#[derive(Debug)]
struct OpenSegment {
    file: OwnedFd,
    first_seq: u64,
    bytes_before: u64,
    /// Length up to the end of the last good record.
    len: u64,
    /// Whether a failed write may have left bytes after `len`.
    torn: bool,
    unsynced: bool,
}

/// Keeps the log's size below a bound.
#[derive(Debug)]
struct Bound {
    bytes_max: u64,
    /// Sum of all file sizes.
    bytes: u64,
    /// Segments that still become part of the head, which is never removed.
    head_segments: u64,
    /// Full segments that may be removed, oldest first.
    removable: VecDeque<FullSegment>,
}

#[derive(Debug)]
struct FullSegment {
    first_seq: u64,
    len: u64,
    output_bytes: u64,
}

/// A failed step of an append.
struct Failure {
    step: &'static str,
    first_seq: u64,
    source: io::Error,
}

impl LogWriter {
    /// Starts a log in `dir`, which is made if it does not exist. Its parent must exist.
    ///
    /// # Errors
    ///
    /// [`LogError::Exists`] if there is a log in it, [`LogError::BoundTooSmall`] for a bound below
    /// [`BYTES_MAX_MIN`], [`LogError::Open`] if the directory is not usable.
    pub fn create(dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        let segment_bytes = effective_segment_bytes(options)?;
        let dir = create_dir(dir)?;
        let record_max = (segment_bytes / RECORDS_PER_SEGMENT) as usize;
        Ok(Self {
            dir,
            segment_bytes,
            payload_max: (record_max - RECORD_HEADER_LEN).min(PAYLOAD_MAX),
            bound: options
                .bytes_max
                .map(|bytes_max| Bound::new(bytes_max, segment_bytes)),
            open: None,
            unsynced: Vec::new(),
            names_unsynced: true,
            end: LogEnd::default(),
        })
    }

    /// Appends output and returns the sequence number after it. When it returns, readers see it.
    ///
    /// Output longer than [`PAYLOAD_MAX`], or than an eighth of a segment, becomes several records.
    /// Empty output becomes none.
    ///
    /// # Errors
    ///
    /// [`LogError::Append`] says how much is in the log all the same. The log is as whole as before
    /// and takes the rest later, for example when the disk has room again.
    pub fn append(
        &mut self,
        stream: Stream,
        time: Duration,
        bytes: &[u8],
    ) -> Result<u64, LogError> {
        let mut appended = 0;
        for payload in bytes.chunks(self.payload_max) {
            self.append_record(stream, time, payload)
                .map_err(|failure| LogError::Append {
                    step: failure.step,
                    path: self.dir.segment_path(failure.first_seq),
                    appended,
                    source: failure.source,
                })?;
            appended += payload.len();
        }
        Ok(self.end.seq)
    }

    /// Where the log ends now.
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// Waits until everything appended so far is on disk. Costs nothing if it already is.
    ///
    /// # Errors
    ///
    /// [`LogError::Sync`] if the disk refuses.
    pub fn sync(&mut self) -> Result<(), LogError> {
        while let Some(&first_seq) = self.unsynced.last() {
            let synced = self.dir.sync_segment(first_seq);
            synced.map_err(|source| self.sync_error(first_seq, source))?;
            self.unsynced.pop();
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.unsynced) {
            let (first_seq, synced) = (open.first_seq, fdatasync(&open.file));
            open.unsynced = synced.is_err();
            synced.map_err(|errno| self.sync_error(first_seq, errno.into()))?;
        }
        if self.names_unsynced {
            let path = self.dir.path().to_owned();
            self.dir
                .sync_names()
                .map_err(|source| LogError::Sync { path, source })?;
            self.names_unsynced = false;
        }
        Ok(())
    }

    fn sync_error(&self, first_seq: u64, source: io::Error) -> LogError {
        LogError::Sync {
            path: self.dir.segment_path(first_seq),
            source,
        }
    }

    fn append_record(
        &mut self,
        stream: Stream,
        time: Duration,
        payload: &[u8],
    ) -> Result<(), Failure> {
        self.repair()?;
        let offset = self.open.as_ref().map_or(0, |open| open.len);
        let segment_header_len = if offset == 0 { SEGMENT_HEADER_LEN } else { 0 };
        let growth = (segment_header_len + RECORD_HEADER_LEN + payload.len()) as u64;
        self.make_room(growth)?;

        let record_max = (RECORD_HEADER_LEN + self.payload_max) as u64;
        let last = offset + growth + record_max > self.segment_bytes;
        let (seq, payload_len) = (self.end.seq, payload.len());
        let header = RecordHeader {
            seq,
            stream,
            time,
            payload_len,
            last,
        }
        .encode(payload);
        let open = self.open_segment()?;
        open.write(segment_header_len, &header, payload)?;

        open.len += growth;
        self.end.seq += 1;
        self.end.bytes += payload.len() as u64;
        if let Some(bound) = &mut self.bound {
            bound.bytes += growth;
        }
        if last {
            self.close_segment();
        }
        Ok(())
    }

    /// Takes back what an earlier failed write left, if it could not be taken back then.
    fn repair(&mut self) -> Result<(), Failure> {
        match &mut self.open {
            Some(open) if open.torn => open.truncate(),
            Some(_) | None => Ok(()),
        }
    }

    /// Removes the oldest segments of the middle until `growth` more bytes keep to the bound.
    fn make_room(&mut self, growth: u64) -> Result<(), Failure> {
        let Some(bound) = &mut self.bound else {
            return Ok(());
        };
        while bound.bytes + growth > bound.bytes_max {
            // The head and the open segment take less than half of the bound.
            let oldest = bound
                .removable
                .front()
                .expect("a log at its bound has a middle");
            let first_seq = oldest.first_seq;
            let removed = self.dir.remove_segment(first_seq);
            removed.map_err(|source| Failure {
                step: "remove log segment",
                first_seq,
                source,
            })?;
            self.unsynced.retain(|&segment| segment != first_seq);
            bound.bytes -= oldest.len;
            self.end.cut_bytes += oldest.output_bytes;
            bound.removable.pop_front();
        }
        Ok(())
    }

    fn open_segment(&mut self) -> Result<&mut OpenSegment, Failure> {
        let (first_seq, bytes_before) = (self.end.seq, self.end.bytes);
        if self.open.is_none() {
            let file = self.dir.create_segment(first_seq);
            let file = file.map_err(|source| Failure {
                step: "create log segment",
                first_seq,
                source,
            })?;
            let open = OpenSegment {
                file,
                first_seq,
                bytes_before,
                len: 0,
                torn: false,
                unsynced: true,
            };
            self.names_unsynced = true;
            self.open = Some(open);
        }
        Ok(self.open.as_mut().expect("it was just opened"))
    }

    fn close_segment(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.unsynced {
            self.unsynced.push(open.first_seq);
        }
        if let Some(bound) = &mut self.bound {
            bound.take_full(FullSegment {
                first_seq: open.first_seq,
                len: open.len,
                output_bytes: self.end.bytes - open.bytes_before,
            });
        }
    }
}

impl OpenSegment {
    /// Writes one record after the last good one, with the segment header if it is the first.
    fn write(
        &mut self,
        header_len: usize,
        record_header: &[u8],
        payload: &[u8],
    ) -> Result<(), Failure> {
        let header = SegmentHeader {
            first_seq: self.first_seq,
            bytes_before: self.bytes_before,
        };
        let header = header.encode();
        let mut parts = [
            IoSlice::new(&header[..header_len]),
            IoSlice::new(record_header),
            IoSlice::new(payload),
        ];
        self.unsynced = true;
        let Err(source) = write_all_at(&self.file, &mut parts, self.len) else {
            return Ok(());
        };
        self.torn = true;
        // The write's own error is the one to tell; a failed truncation is tried again before the
        // next append, and until then readers see a torn tail.
        let _ = self.truncate();
        Err(Failure {
            step: "append to log segment",
            first_seq: self.first_seq,
            source,
        })
    }

    fn truncate(&mut self) -> Result<(), Failure> {
        ftruncate(&self.file, self.len).map_err(|errno| Failure {
            step: "take back a torn record of log segment",
            first_seq: self.first_seq,
            source: errno.into(),
        })?;
        self.torn = false;
        Ok(())
    }
}

impl Bound {
    fn new(bytes_max: u64, segment_bytes: u64) -> Self {
        let head_segments = bytes_max / 4 / segment_bytes;
        Self {
            bytes_max,
            bytes: 0,
            head_segments,
            removable: VecDeque::new(),
        }
    }

    fn take_full(&mut self, segment: FullSegment) {
        if self.head_segments > 0 {
            self.head_segments -= 1;
        } else {
            self.removable.push_back(segment);
        }
    }
}

fn effective_segment_bytes(options: LogOptions) -> Result<u64, LogError> {
    let wanted = options.segment_bytes.max(SEGMENT_BYTES_MIN);
    match options.bytes_max {
        Some(bytes_max) if bytes_max < BYTES_MAX_MIN => Err(LogError::BoundTooSmall {
            bytes_max,
            minimum: BYTES_MAX_MIN,
        }),
        Some(bytes_max) => Ok(wanted.min(bytes_max / SEGMENTS_PER_BOUND)),
        None => Ok(wanted),
    }
}

fn create_dir(path: &Path) -> Result<SegmentDir, LogError> {
    let open_error = |source| LogError::Open {
        path: path.to_owned(),
        source,
    };
    match rustix::fs::mkdir(path, rustix::fs::Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(open_error(errno.into())),
    }
    let dir = SegmentDir::open(path).map_err(open_error)?;
    if dir.list().map_err(open_error)?.is_empty() {
        Ok(dir)
    } else {
        Err(LogError::Exists {
            path: path.to_owned(),
        })
    }
}

fn write_all_at(file: &OwnedFd, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match pwritev(file, parts, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::log::{Entry, LogReader};

    #[test]
    fn a_torn_record_is_taken_back_before_the_next_append() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(root.path(), LogOptions::default()).unwrap();
        writer
            .append(Stream::Stdout, Duration::ZERO, b"one")
            .unwrap();
        let segment = writer.dir.segment_path(0);
        // As left by a failed write whose truncation failed too.
        let mut bytes = fs::read(&segment).unwrap();
        let good_len = bytes.len();
        bytes.resize(good_len + 500, b'?');
        fs::write(&segment, bytes).unwrap();
        writer.open.as_mut().unwrap().torn = true;

        writer
            .append(Stream::Stdout, Duration::ZERO, b"two")
            .unwrap();

        assert_eq!(
            fs::metadata(&segment).unwrap().len(),
            (good_len + RECORD_HEADER_LEN + 3) as u64
        );
        let mut reader = LogReader::open(root.path(), 1).unwrap();
        assert!(matches!(reader.next(), Ok(Some(Entry::Record(record))) if record.bytes == b"two"));
    }
}
