//! Those who read.

use std::ops::Range;
use std::sync::Arc;

use cogo_protocol::frame::{HEADER_LEN, OutputHeader};

use super::TaskLogError;
use super::file::{LogFile, Place, is_step};
use super::format::{Decoded, PREFIX_LEN, decode};

/// What is read at once, if there is so much.
const WINDOW_LEN: usize = 64 << 10;

/// Reads the output of one attempt, in order.
#[derive(Debug)]
pub struct Reader {
    file: Arc<LogFile>,
    /// The lowest number that is still wanted.
    next_seq: u64,
    /// The record at the start of the window: its offset, and the lowest number it may have.
    place: Place,
    /// The last place that was offered to the index.
    noted: u64,
    window: Vec<u8>,
    /// Where in the window the next record starts.
    start: usize,
}

/// One record of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// What is known of it. The handle is 0.
    pub header: OutputHeader,
    /// The output itself.
    pub output: &'a [u8],
    /// Header and output as a frame of `cogo.v1.bin`, with handle 0.
    pub frame: &'a [u8],
    /// Records between the last one and this one that were cut on the worker. For the first record
    /// of a reader, those from the number it began with.
    pub missing: u64,
}

impl Reader {
    pub(super) fn new(file: Arc<LogFile>, from_seq: u64) -> Self {
        let place = file.place_before(from_seq);
        Self {
            file,
            next_seq: from_seq,
            place,
            noted: place.offset,
            window: Vec::new(),
            start: 0,
        }
    }

    /// The number after the last record that is there now. Reads no more than the log's tail.
    ///
    /// # Errors
    ///
    /// See [`Self::next`].
    pub(super) fn end_of(file: Arc<LogFile>) -> Result<u64, TaskLogError> {
        // No record has so high a number, so that all are passed over and none is returned.
        let mut reader = Self::new(file, u64::MAX);
        while reader.next()?.is_some() {}
        Ok(reader.place.seq)
    }

    /// The number after the last record that was read, or the one this reader began with.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The next record, or `None` at the present end; later there may be more.
    ///
    /// # Errors
    ///
    /// [`TaskLogError::Damaged`] if what stands here is no record and more than a torn end,
    /// [`TaskLogError::System`] if it cannot be read. The reader stays where it is.
    #[expect(
        clippy::should_implement_trait,
        reason = "records borrow from the reader"
    )]
    pub fn next(&mut self) -> Result<Option<LogRecord<'_>>, TaskLogError> {
        let expected = self.next_seq;
        let found = self.advance();
        if !matches!(found, Ok(Some(_))) {
            // Someone who only waits needs no window. And what is in it may be cut off and
            // written anew by the next appender.
            self.window = Vec::new();
            self.start = 0;
        }
        Ok(found?.map(|(header, frame)| {
            let frame = &self.window[frame];
            LogRecord {
                header,
                output: &frame[HEADER_LEN..],
                frame,
                missing: header.seq - expected,
            }
        }))
    }

    /// The place after everything that was passed.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Goes behind the next wanted record and says where in the window its frame is.
    fn advance(&mut self) -> Result<Option<(OutputHeader, Range<usize>)>, TaskLogError> {
        let mut read_anew = false;
        loop {
            match decode(&self.window[self.start..], self.place.seq) {
                Decoded::Whole { header, frame_len } => {
                    let frame = self.pass(header.seq, frame_len);
                    if header.seq >= self.next_seq {
                        self.next_seq = header.seq + 1;
                        return Ok(Some((header, frame)));
                    }
                }
                Decoded::Short(needed) => {
                    if !self.fill(needed)? {
                        return Ok(None);
                    }
                }
                Decoded::Bad if read_anew => {
                    return Err(TaskLogError::Damaged {
                        path: self.file.path().to_owned(),
                        offset: self.place.offset,
                    });
                }
                // A part of it may be of a torn record that was since replaced.
                Decoded::Bad => {
                    read_anew = true;
                    self.window.clear();
                    self.start = 0;
                }
            }
        }
    }

    /// Goes behind a whole record and says where its frame is.
    fn pass(&mut self, seq: u64, frame_len: usize) -> Range<usize> {
        let offset = self.place.offset;
        if is_step(self.noted, offset) {
            self.noted = offset;
            self.file.note(Place { seq, offset });
        }
        let frame = self.start + PREFIX_LEN;
        let end = frame + frame_len;
        self.start = end;
        self.place = Place {
            seq: seq + 1,
            offset: offset + (PREFIX_LEN + frame_len) as u64,
        };
        frame..end
    }

    /// Reads on until the window holds `needed` bytes from the present place. `false` if the file
    /// does not have them.
    fn fill(&mut self, needed: usize) -> Result<bool, TaskLogError> {
        let available = self.file.readable().saturating_sub(self.place.offset);
        if available < needed as u64 {
            return Ok(false);
        }
        let wanted = available.min(WINDOW_LEN.max(needed) as u64) as usize;
        // Less than `needed`, or it would not be asked for.
        let kept = self.window.len() - self.start;
        self.window.copy_within(self.start.., 0);
        self.start = 0;
        self.window.resize(wanted, 0);
        let offset = self.place.offset + kept as u64;
        let read = self.file.read(&mut self.window[kept..], offset);
        if !matches!(read, Ok(true)) {
            self.window.truncate(kept);
        }
        read
    }
}
