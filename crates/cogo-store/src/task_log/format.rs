//! Bytes of a record. The table is in the parent module.

use cogo_protocol::frame::{HEADER_LEN, OutputHeader};

/// Most bytes of output in one record.
pub const OUTPUT_MAX: usize = 1 << 20;

/// Bytes before the frame.
pub(super) const PREFIX_LEN: usize = 8;

const FRAME_MAX: usize = HEADER_LEN + OUTPUT_MAX;

/// What bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A whole record.
    Whole {
        header: OutputHeader,
        /// Length of the frame.
        frame_len: usize,
    },
    /// Good so far; it needs so many bytes, or more.
    Short(usize),
    /// Not what belongs here.
    Bad,
}

/// Adds a record.
pub(super) fn encode(buffer: &mut Vec<u8>, header: &OutputHeader, output: &[u8]) {
    let header = OutputHeader {
        handle: 0,
        ..*header
    };
    let header = header.encode();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header);
    crc.update(output);
    let frame_len = (HEADER_LEN + output.len()) as u32;
    buffer.extend_from_slice(&frame_len.to_le_bytes());
    buffer.extend_from_slice(&crc.finalize().to_le_bytes());
    buffer.extend_from_slice(&header);
    buffer.extend_from_slice(output);
}

/// Reads the record at the start of `bytes`, whose number is `seq_min` at least.
pub(super) fn decode(bytes: &[u8], seq_min: u64) -> Decoded {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
        return Decoded::Short(PREFIX_LEN);
    };
    let number = |at: usize| {
        u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
    };
    let frame_len = number(0) as usize;
    if !(HEADER_LEN..=FRAME_MAX).contains(&frame_len) {
        return Decoded::Bad;
    }
    let Some(frame) = rest.get(..frame_len) else {
        return Decoded::Short(PREFIX_LEN + frame_len);
    };
    if crc32fast::hash(frame) != number(4) {
        return Decoded::Bad;
    }
    match OutputHeader::decode(frame) {
        // The highest number has no end after it.
        Ok((header, _)) if header.seq >= seq_min && header.seq < u64::MAX => {
            Decoded::Whole { header, frame_len }
        }
        Ok(_) | Err(_) => Decoded::Bad,
    }
}
