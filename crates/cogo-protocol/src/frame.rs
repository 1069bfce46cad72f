//! Output as binary frames: a small header, then the bytes as the program wrote them.
//!
//! Used by the WebSocket subprotocol `cogo.v1.bin`, where everything else stays JSON text. All
//! numbers are little endian.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 1 | type: 1, output |
//! | 1 | 1 | stream: 1 standard output, 2 standard error |
//! | 2 | 2 | zero |
//! | 4 | 4 | task handle, from `execution_started` |
//! | 8 | 8 | sequence number of the record |
//! | 16 | 8 | Unix time in milliseconds at which it was read |
//! | 24 | – | the bytes |

use crate::record::Stream;

/// Bytes before the output itself.
pub const HEADER_LEN: usize = 24;

const OUTPUT: u8 = 1;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// The header of a frame of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputHeader {
    /// What stands for the task on this connection.
    pub handle: u32,
    /// Where the program wrote.
    pub stream: Stream,
    /// Place in the log.
    pub seq: u64,
    /// Unix time in milliseconds at which it was read.
    pub timestamp_ms: u64,
}

/// A frame that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// It ends within its header.
    #[error("a binary frame has a header of {HEADER_LEN} bytes, this one has {0} bytes in all")]
    TooShort(usize),
    /// Its type is not known.
    #[error("there is no binary frame of type {0}")]
    UnknownType(u8),
    /// Its stream is not known.
    #[error("there is no stream {0}")]
    UnknownStream(u8),
}

impl OutputHeader {
    /// The header as it travels.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[0] = OUTPUT;
        header[1] = match self.stream {
            Stream::Stdout => STDOUT,
            Stream::Stderr => STDERR,
        };
        header[4..8].copy_from_slice(&self.handle.to_le_bytes());
        header[8..16].copy_from_slice(&self.seq.to_le_bytes());
        header[16..24].copy_from_slice(&self.timestamp_ms.to_le_bytes());
        header
    }

    /// The header of a frame, and the output behind it.
    ///
    /// # Errors
    ///
    /// Fails on what is not a frame of output.
    pub fn decode(frame: &[u8]) -> Result<(Self, &[u8]), BadFrame> {
        let (header, bytes) = frame
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(BadFrame::TooShort(frame.len()))?;
        if header[0] != OUTPUT {
            return Err(BadFrame::UnknownType(header[0]));
        }
        let stream = match header[1] {
            STDOUT => Stream::Stdout,
            STDERR => Stream::Stderr,
            other => return Err(BadFrame::UnknownStream(other)),
        };
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let handle = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let decoded = Self {
            handle,
            stream,
            seq: number(8),
            timestamp_ms: number(16),
        };
        Ok((decoded, bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_round_trip(handle: u32, seq: u64, timestamp_ms: u64, error: bool, bytes: Vec<u8>) {
            let stream = if error { Stream::Stderr } else { Stream::Stdout };
            let header = OutputHeader { handle, stream, seq, timestamp_ms };
            let frame = [&header.encode()[..], &bytes].concat();
            prop_assert_eq!(OutputHeader::decode(&frame), Ok((header, &bytes[..])));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = OutputHeader::decode(&bytes);
        }
    }

    #[test]
    fn foreign_frames_are_refused() {
        assert_eq!(OutputHeader::decode(&[1; 5]), Err(BadFrame::TooShort(5)));
        assert_eq!(
            OutputHeader::decode(&[9; 30]),
            Err(BadFrame::UnknownType(9))
        );
        let mut frame = [0; 30];
        frame[0] = 1;
        assert_eq!(
            OutputHeader::decode(&frame),
            Err(BadFrame::UnknownStream(0))
        );
    }
}
