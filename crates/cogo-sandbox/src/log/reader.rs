//! Follows a log from any sequence number while its writer is at work, or dead.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::{Errno, pread};

use super::format::{
    Decoded, PAYLOAD_MAX, RECORD_HEADER_LEN, RecordHeader, SEGMENT_HEADER_LEN, SegmentHeader,
};
use super::segment::SegmentDir;
use super::{Entry, LogError, Record};

/// Holds the longest record and the header after it, which is looked at when the record is damaged.
const WINDOW_LEN: usize = PAYLOAD_MAX + 4096;
/// Enough for a quiet log. Longer records make the window grow.
const WINDOW_LEN_MIN: usize = 32 << 10;

/// Reads a log in order. Holds no lock and no part of the log: the writer does not notice it.
#[derive(Debug)]
pub struct LogReader {
    dir: SegmentDir,
    from_seq: u64,
    next_seq: u64,
    /// Bytes of output before `next_seq`.
    bytes: u64,
    segment: Option<Segment>,
    window: Window,
}

/// The segment being read.
#[derive(Debug)]
struct Segment {
    file: OwnedFd,
    first_seq: u64,
    /// Whether it was the newest segment when its end was first met. From then on an end without a
    /// last record is a writer at work; before, it may be a file that lost its tail.
    was_newest: bool,
    /// The offset whose bytes were known to be final before they were last read.
    final_at: Option<u64>,
}

/// A piece of the segment in memory.
#[derive(Debug)]
struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of `start` in the segment.
    offset: u64,
}

/// What can stand at a position of a segment.
enum Part {
    Segment(SegmentHeader),
    Record(RecordHeader),
}

/// What [`LogReader::advance`] arrived at; the payload lies just before the window's start.
enum Found {
    Record(RecordHeader),
    Cut {
        first_seq: u64,
        end_seq: u64,
        bytes: u64,
    },
}

impl LogReader {
    /// Opens the log in `dir` to read records `from_seq` and later.
    ///
    /// A log that has not reached `from_seq` is fine; the reader waits for it to get there.
    ///
    /// # Errors
    ///
    /// [`LogError::Open`] if there is no such directory, [`LogError::Read`] if it is not readable.
    pub fn open(dir: &Path, from_seq: u64) -> Result<Self, LogError> {
        let dir = SegmentDir::open(dir).map_err(|source| LogError::Open {
            path: dir.to_owned(),
            source,
        })?;
        let mut reader = Self {
            dir,
            from_seq,
            next_seq: 0,
            bytes: 0,
            segment: None,
            window: Window::new(),
        };
        loop {
            let segments = reader.list()?;
            let Some(&start) = segments.iter().rev().find(|&&segment| segment <= from_seq) else {
                return Ok(reader);
            };
            if reader.enter(start)? {
                reader.next_seq = start;
                return Ok(reader);
            }
            // It was cut between the two calls: look again.
        }
    }

    /// The next entry, or `None` if there is nothing more now; later there may be.
    ///
    /// # Errors
    ///
    /// [`LogError::Read`] if the system refuses, [`LogError::Corrupt`] if data that should be whole
    /// is not, [`LogError::Unsupported`] if a newer program wrote it. The reader stays where it is.
    #[expect(
        clippy::should_implement_trait,
        reason = "entries borrow from the reader"
    )]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, LogError> {
        Ok(match self.advance()? {
            None => None,
            Some(Found::Cut {
                first_seq,
                end_seq,
                bytes,
            }) => Some(Entry::Cut {
                first_seq,
                end_seq,
                bytes,
            }),
            Some(Found::Record(RecordHeader {
                seq,
                stream,
                time,
                payload_len,
                ..
            })) => {
                let bytes = self.window.taken(payload_len);
                Some(Entry::Record(Record {
                    seq,
                    stream,
                    time,
                    bytes,
                }))
            }
        })
    }

    /// The sequence number after the last entry: where to resume with a new reader.
    pub fn next_seq(&self) -> u64 {
        self.next_seq.max(self.from_seq)
    }

    /// Gives back the memory that holds what was read ahead; it is read again when it is needed.
    /// For whoever keeps many readers and has to wait.
    pub fn release(&mut self) {
        self.window.forget();
        self.window.buffer = Vec::new();
    }

    /// Where the reader stands: sequence number, and bytes of output before it.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.next_seq, self.bytes)
    }

    fn advance(&mut self) -> Result<Option<Found>, LogError> {
        loop {
            if self.segment.is_none() && !self.enter_next()? {
                return Ok(None);
            }
            let found = match self.decode() {
                Decoded::Whole(Part::Segment(header)) => self.begin_segment(header),
                Decoded::Whole(Part::Record(header)) => self.take_record(header),
                Decoded::Short if self.fill()? => None,
                Decoded::Short if self.ends_for_now()? => return Ok(None),
                Decoded::Bad if self.is_torn()? => return Ok(None),
                Decoded::Short | Decoded::Bad => None,
                Decoded::Unknown(what, found) => return Err(self.unsupported(what, found)),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn decode(&self) -> Decoded<Part> {
        if self.window.offset == 0 {
            let first_seq = self.segment().first_seq;
            SegmentHeader::decode(self.window.ahead(), first_seq).map(Part::Segment)
        } else {
            RecordHeader::decode(self.window.ahead(), self.next_seq).map(Part::Record)
        }
    }

    fn begin_segment(&mut self, header: SegmentHeader) -> Option<Found> {
        let (first_seq, end_seq) = (self.next_seq, header.first_seq);
        let bytes = header.bytes_before.saturating_sub(self.bytes);
        self.window.take(SEGMENT_HEADER_LEN);
        self.next_seq = header.first_seq;
        self.bytes = header.bytes_before;
        (end_seq > first_seq.max(self.from_seq)).then_some(Found::Cut {
            first_seq,
            end_seq,
            bytes,
        })
    }

    fn take_record(&mut self, header: RecordHeader) -> Option<Found> {
        self.window.take(RECORD_HEADER_LEN + header.payload_len);
        self.next_seq += 1;
        self.bytes += header.payload_len as u64;
        if header.last {
            self.segment = None;
        }
        (header.seq >= self.from_seq).then_some(Found::Record(header))
    }

    /// Goes to the segment after a full one, past a cut if there is one. False if there is none.
    fn enter_next(&mut self) -> Result<bool, LogError> {
        if self.enter(self.next_seq)? {
            return Ok(true);
        }
        let mut newest_before = None;
        loop {
            let segments = self.list()?;
            let Some(&next) = segments.iter().find(|&&segment| segment >= self.next_seq) else {
                return Ok(false);
            };
            // A listing may miss what is made while it runs, and a missed segment must not be taken
            // for a cut one. Segments are made in order: once `next` was there before the listing
            // began, so were all before it.
            if newest_before >= Some(next) && self.enter(next)? {
                return Ok(true);
            }
            newest_before = segments.last().copied();
        }
    }

    /// Opens a segment. False if it does not exist.
    fn enter(&mut self, first_seq: u64) -> Result<bool, LogError> {
        let file = self.dir.open_segment(first_seq);
        let file = file.map_err(|source| LogError::Read {
            path: self.dir.segment_path(first_seq),
            source,
        })?;
        self.segment = file.map(|file| Segment {
            file,
            first_seq,
            was_newest: false,
            final_at: None,
        });
        self.window.restart();
        Ok(self.segment.is_some())
    }

    /// Decides about an end of file before a last record. Unless it is the end for now, the data is
    /// to be read again.
    fn ends_for_now(&mut self) -> Result<bool, LogError> {
        if !self.segment().was_newest && self.has_later_segment()? {
            self.expect_final()?;
            return Ok(false);
        }
        self.segment_mut().was_newest = true;
        self.window.forget();
        Ok(true)
    }

    /// Decides about data that is not what belongs here. Unless it is a torn tail, the data is to be
    /// read again.
    fn is_torn(&mut self) -> Result<bool, LogError> {
        if self.has_later_segment()? || self.good_data_follows()? {
            self.expect_final()?;
            return Ok(false);
        }
        self.window.forget();
        Ok(true)
    }

    /// Has data that can no longer change read once more. What was read before may be a mixture: the
    /// writer may have taken back a torn record and written another in its place meanwhile.
    fn expect_final(&mut self) -> Result<(), LogError> {
        let offset = self.window.offset;
        if self.segment().final_at == Some(offset) {
            let segment = self.dir.segment_path(self.segment().first_seq);
            return Err(LogError::Corrupt { segment, offset });
        }
        self.segment_mut().final_at = Some(offset);
        self.window.forget();
        Ok(())
    }

    /// Whether the header or record here is followed by the one that belongs after it. The writer
    /// never appends to a torn one.
    fn good_data_follows(&mut self) -> Result<bool, LogError> {
        let (len, seq) = if self.window.offset == 0 {
            (SEGMENT_HEADER_LEN, self.segment().first_seq)
        } else if let Some(len) = RecordHeader::record_len(self.window.ahead()) {
            (len, self.next_seq + 1)
        } else {
            return Ok(false);
        };
        while self.window.ahead().len() < len + RECORD_HEADER_LEN {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(RecordHeader::looks_like(&self.window.ahead()[len..], seq))
    }

    fn has_later_segment(&self) -> Result<bool, LogError> {
        Ok(self
            .list()?
            .last()
            .is_some_and(|&newest| newest > self.segment().first_seq))
    }

    fn list(&self) -> Result<Vec<u64>, LogError> {
        let path = self.dir.path();
        self.dir.list().map_err(|source| LogError::Read {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads more of the segment. False at its end.
    fn fill(&mut self) -> Result<bool, LogError> {
        let segment = self.segment.as_ref().expect(IN_SEGMENT);
        self.window
            .fill(&segment.file)
            .map_err(|source| LogError::Read {
                path: self.dir.segment_path(segment.first_seq),
                source,
            })
    }

    fn unsupported(&self, what: &'static str, found: u32) -> LogError {
        let segment = self.dir.segment_path(self.segment().first_seq);
        LogError::Unsupported {
            segment,
            what,
            found,
        }
    }

    fn segment(&self) -> &Segment {
        self.segment.as_ref().expect(IN_SEGMENT)
    }

    fn segment_mut(&mut self) -> &mut Segment {
        self.segment.as_mut().expect(IN_SEGMENT)
    }
}

const IN_SEGMENT: &str = "data is only looked at inside a segment";

impl Window {
    fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// What was read and not yet taken.
    fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The last `len` bytes that were taken.
    fn taken(&self, len: usize) -> &[u8] {
        &self.buffer[self.start - len..self.start]
    }

    fn take(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    /// Drops what is ahead, to be read anew.
    fn forget(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Goes to the start of another segment. Bytes already taken stay until the next `fill`.
    fn restart(&mut self) {
        self.forget();
        self.offset = 0;
    }

    fn fill(&mut self, file: &OwnedFd) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            let len = (self.end * 2).clamp(WINDOW_LEN_MIN, WINDOW_LEN);
            self.buffer.resize(len, 0);
        }
        let at = self.offset + self.end as u64;
        let read = loop {
            match pread(file, &mut self.buffer[self.end..], at) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        self.end += read;
        Ok(read > 0)
    }
}
