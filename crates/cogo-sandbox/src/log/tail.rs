//! Where a log ends now, without reading it.

use std::io;
use std::path::Path;

use rustix::fs::fstat;
use rustix::io::pread;

use super::LogError;
use super::format::SEGMENT_HEADER_LEN;
use super::segment::SegmentDir;

/// The end of a log that may still grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTail {
    /// A number that changes with every record.
    pub position: u64,
    /// Whether the last record does not end its line.
    pub mid_line: bool,
}

/// Where a log ends now. Costs a listing and one byte: fit for a look every second.
///
/// # Errors
///
/// [`LogError::Open`] and [`LogError::Read`] if the system refuses.
pub fn log_tail(path: &Path) -> Result<LogTail, LogError> {
    let dir = SegmentDir::open(path).map_err(|source| LogError::Open {
        path: path.to_owned(),
        source,
    })?;
    tail(&dir).map_err(|source| LogError::Read {
        path: path.to_owned(),
        source,
    })
}

fn tail(dir: &SegmentDir) -> io::Result<LogTail> {
    let Some(newest) = dir.list()?.pop() else {
        return Ok(LogTail::default());
    };
    let Some(segment) = dir.open_segment(newest)? else {
        return Ok(LogTail::default());
    };
    let length = fstat(&segment)?.st_size as u64;
    if length <= SEGMENT_HEADER_LEN as u64 {
        return Ok(LogTail {
            position: newest << 40,
            mid_line: false,
        });
    }
    // A record ends with its output.
    let mut last = [0_u8; 1];
    pread(&segment, &mut last, length - 1)?;
    Ok(LogTail {
        // Segments are far smaller than this, so no two places share a number.
        position: (newest << 40) + length,
        mid_line: last != *b"\n",
    })
}
