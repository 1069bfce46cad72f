//! How much may be unpacked.

use std::cell::Cell;
use std::io::{self, Read};

use super::error::RootfsError;

/// Counts what was unpacked against its bounds.
///
/// Bytes are counted where they leave the decompressor. No file holds more than that, as files
/// with holes are not supported, and so a bomb is met before it is on disk.
#[derive(Debug)]
pub(super) struct Bounds {
    pub bytes_max: u64,
    pub entries_max: u64,
    pub bytes: Cell<u64>,
    pub entries: Cell<u64>,
}

impl Bounds {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.get()
    }

    /// Counts one entry.
    pub(super) fn count_entry(&self) -> Result<(), RootfsError> {
        if self.entries.get() >= self.entries_max {
            return Err(RootfsError::TooManyEntries {
                entries_max: self.entries_max,
            });
        }
        self.entries.set(self.entries.get() + 1);
        Ok(())
    }

    /// Refuses a file whose header already says that it is too large.
    pub(super) fn check_size(&self, size: u64) -> Result<(), RootfsError> {
        if size > self.bytes_max - self.bytes.get() {
            return Err(RootfsError::TooManyBytes {
                bytes_max: self.bytes_max,
            });
        }
        Ok(())
    }
}

/// More bytes came than allowed. Travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("more than {bytes_max} bytes")]
pub(super) struct BoundPassed {
    pub bytes_max: u64,
}

/// A reader that counts against bounds and fails when they are passed.
#[derive(Debug)]
pub(super) struct Bounded<'a, R> {
    inner: R,
    bounds: &'a Bounds,
}

impl<'a, R> Bounded<'a, R> {
    pub(super) fn new(inner: R, bounds: &'a Bounds) -> Self {
        Self { inner, bounds }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.bounds.bytes_max - self.bounds.bytes.get();
        if count as u64 > left {
            return Err(io::Error::other(BoundPassed {
                bytes_max: self.bounds.bytes_max,
            }));
        }
        self.bounds
            .bytes
            .set(self.bounds.bytes.get() + count as u64);
        Ok(count)
    }
}
