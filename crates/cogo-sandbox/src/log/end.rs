//! Finds the end of a log whose writer is dead.

use std::io;
use std::path::Path;

use rustix::fs::fstat;
use rustix::io::pread;

use super::format::{Decoded, RECORD_HEADER_LEN, SEGMENT_HEADER_LEN, SegmentHeader};
use super::segment::SegmentDir;
use super::{Entry, LogEnd, LogError, LogReader};

/// Where a log ends that was left by a dead writer. A torn tail is not part of it.
///
/// Reads the newest segment and the one before a cut; of the others, headers and lengths.
///
/// # Errors
///
/// [`LogError::Open`] and [`LogError::Read`] if the system refuses, [`LogError::Corrupt`] if data
/// that is read is damaged.
pub fn log_end(dir: &Path) -> Result<LogEnd, LogError> {
    let segments = summaries(dir)?;
    let (Some(oldest), Some(newest)) = (segments.first(), segments.last()) else {
        return Ok(LogEnd::default());
    };
    let mut end = LogEnd {
        cut_bytes: oldest.bytes_before,
        ..LogEnd::default()
    };
    for pair in segments
        .windows(2)
        .filter(|pair| !pair[0].is_followed_by(&pair[1]))
    {
        end.cut_bytes += cut_bytes_between(dir, pair[0].first_seq, pair[1].first_seq)?;
    }
    let mut reader = LogReader::open(dir, newest.first_seq)?;
    while reader.next()?.is_some() {}
    (end.seq, end.bytes) = reader.position();
    Ok(end)
}

/// What a segment says about itself without being read through.
struct Summary {
    first_seq: u64,
    bytes_before: u64,
    len: u64,
}

impl Summary {
    /// Whether no record is missing between two segments.
    ///
    /// The length of a full segment is that of its headers and its output, and it cannot hold more
    /// records than the sequence numbers allow. Missing records lower both sums, but a record's
    /// header makes the length fall short by more than its output.
    fn is_followed_by(&self, next: &Self) -> bool {
        let records = next.first_seq - self.first_seq;
        let output_bytes = next.bytes_before.checked_sub(self.bytes_before);
        output_bytes.is_some_and(|output_bytes| {
            self.len
                == SEGMENT_HEADER_LEN as u64 + records * RECORD_HEADER_LEN as u64 + output_bytes
        })
    }
}

/// All segments with a whole header, oldest first. Only the newest may lack one.
fn summaries(path: &Path) -> Result<Vec<Summary>, LogError> {
    let dir = SegmentDir::open(path).map_err(|source| LogError::Open {
        path: path.to_owned(),
        source,
    })?;
    let first_seqs = dir.list().map_err(|source| LogError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut summaries = Vec::with_capacity(first_seqs.len());
    for &first_seq in &first_seqs {
        let segment = dir.segment_path(first_seq);
        match summary(&dir, first_seq) {
            Ok(Decoded::Whole(summary)) => summaries.push(summary),
            Ok(Decoded::Short | Decoded::Bad) if Some(&first_seq) == first_seqs.last() => {}
            Ok(Decoded::Short | Decoded::Bad) => {
                return Err(LogError::Corrupt { segment, offset: 0 });
            }
            Ok(Decoded::Unknown(what, found)) => {
                return Err(LogError::Unsupported {
                    segment,
                    what,
                    found,
                });
            }
            Err(source) => {
                return Err(LogError::Read {
                    path: segment,
                    source,
                });
            }
        }
    }
    Ok(summaries)
}

fn summary(dir: &SegmentDir, first_seq: u64) -> io::Result<Decoded<Summary>> {
    let file = dir
        .open_segment(first_seq)?
        .ok_or(io::ErrorKind::NotFound)?;
    let mut header = [0; SEGMENT_HEADER_LEN];
    let read = pread(&file, &mut header, 0)?;
    let len = fstat(&file)?.st_size as u64;
    Ok(
        SegmentHeader::decode(&header[..read], first_seq).map(|header| Summary {
            first_seq,
            bytes_before: header.bytes_before,
            len,
        }),
    )
}

/// Bytes of output that are missing between the end of one segment and the start of another.
fn cut_bytes_between(dir: &Path, first_seq: u64, end_seq: u64) -> Result<u64, LogError> {
    let mut reader = LogReader::open(dir, first_seq)?;
    let mut cut_bytes = 0;
    while reader.position().0 < end_seq {
        match reader.next()? {
            Some(Entry::Cut { bytes, .. }) => cut_bytes += bytes,
            Some(Entry::Record(_)) => {}
            None => break,
        }
    }
    Ok(cut_bytes)
}
