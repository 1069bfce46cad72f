//! The one who writes.

use std::sync::Arc;

use cogo_protocol::frame::OutputHeader;

use super::TaskLogError;
use super::file::{LogFile, Place, is_step};
use super::format::{OUTPUT_MAX, encode};
use super::reader::Reader;

/// What is kept of the buffer between two calls.
const BUFFER_KEPT: usize = 64 << 10;

/// Appends the output of one attempt.
#[derive(Debug)]
pub struct Appender {
    file: Arc<LogFile>,
    /// The number after the last record.
    end: u64,
    /// Where the next record goes.
    offset: u64,
    /// The last place that was noted in the index.
    noted: u64,
    /// Whether a failed write may have left bytes behind `offset`.
    torn: bool,
    buffer: Vec<u8>,
}

impl Appender {
    /// Goes on after the last whole record and cuts off what is behind it.
    pub(super) fn begin(file: Arc<LogFile>) -> Result<Self, TaskLogError> {
        if !file.take_appending() {
            return Err(TaskLogError::Appending {
                path: file.path().to_owned(),
            });
        }
        // From here on the right is given back when it is dropped.
        let mut appender = Self {
            file,
            end: 0,
            offset: 0,
            noted: 0,
            torn: true,
            buffer: Vec::new(),
        };
        appender.find_end()?;
        appender.repair()?;
        Ok(appender)
    }

    fn find_end(&mut self) -> Result<(), TaskLogError> {
        // What was read before is in the index and is whole.
        let mut reader = Reader::new(Arc::clone(&self.file), u64::MAX);
        match reader.next() {
            Ok(_) | Err(TaskLogError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let place = reader.place();
        self.end = place.seq;
        self.offset = place.offset;
        self.noted = self.file.place_before(u64::MAX).offset;
        Ok(())
    }

    /// The number after the last record: the lowest one that can be appended.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends records, in one write, and returns the number after the last one. When it returns,
    /// readers see them. Their handles are not kept.
    ///
    /// # Errors
    ///
    /// [`TaskLogError::OutOfOrder`] and [`TaskLogError::TooBig`] for a record that cannot be
    /// appended, [`TaskLogError::System`] if the disk is full, for example. In each case nothing of
    /// this call is in the log, and another call may succeed.
    pub fn append(&mut self, records: &[(OutputHeader, &[u8])]) -> Result<u64, TaskLogError> {
        let end = check(self.end, records)?;
        self.repair()?;
        let noted = self.encode(records);
        // Until it is known to have been written.
        self.torn = true;
        if let Err(error) = self.file.write(&self.buffer, self.offset) {
            // The write's own error is the one to tell; this is tried again before the next one.
            let _ = self.repair();
            return Err(error);
        }
        self.torn = false;
        self.offset += self.buffer.len() as u64;
        self.end = end;
        if let Some(place) = noted {
            self.noted = place.offset;
            self.file.note(place);
        }
        self.file.publish(self.offset);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        Ok(end)
    }

    /// Waits until everything is on the disk, and ends. Without it, what was appended survives the
    /// death of this process, but perhaps not the loss of power.
    ///
    /// # Errors
    ///
    /// Fails if the disk does.
    pub fn finish(self) -> Result<(), TaskLogError> {
        self.file.sync()
    }

    /// Puts records into the buffer. Returns the last one that belongs into the index.
    fn encode(&mut self, records: &[(OutputHeader, &[u8])]) -> Option<Place> {
        self.buffer.clear();
        let mut noted = None;
        for (header, output) in records {
            let offset = self.offset + self.buffer.len() as u64;
            if is_step(self.noted, offset) {
                noted = Some(Place {
                    seq: header.seq,
                    offset,
                });
            }
            encode(&mut self.buffer, header, output);
        }
        noted
    }

    fn repair(&mut self) -> Result<(), TaskLogError> {
        if self.torn {
            self.file.truncate(self.offset)?;
            self.torn = false;
        }
        Ok(())
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if self.torn {
            // If this fails, the next appender does it.
            let _ = self.file.truncate(self.offset);
        }
        self.file.give_appending_back();
    }
}

/// The end of a log with these records in it.
fn check(mut end: u64, records: &[(OutputHeader, &[u8])]) -> Result<u64, TaskLogError> {
    for (header, output) in records {
        let seq = header.seq;
        if seq < end || seq == u64::MAX {
            return Err(TaskLogError::OutOfOrder { seq, end });
        }
        if output.len() > OUTPUT_MAX {
            let len = output.len();
            return Err(TaskLogError::TooBig { seq, len });
        }
        end = seq + 1;
    }
    Ok(end)
}
