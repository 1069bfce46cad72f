//! Bytes of segment and record headers. The tables are in the parent module.

use std::time::Duration;

use super::Stream;

/// Most bytes of output in one record; longer appends become several records.
pub const PAYLOAD_MAX: usize = 256 << 10;

pub(super) const SEGMENT_HEADER_LEN: usize = 32;
pub(super) const RECORD_HEADER_LEN: usize = 28;

const MAGIC: [u8; 8] = *b"cogo-log";
const VERSION: u32 = 1;
const FLAG_LAST: u8 = 1;

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) first_seq: u64,
    pub(super) bytes_before: u64,
}

/// The start of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) seq: u64,
    pub(super) stream: Stream,
    pub(super) time: Duration,
    pub(super) payload_len: usize,
    /// Whether the segment ends with this record.
    pub(super) last: bool,
}

/// What bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded<T> {
    /// Whole and undamaged.
    Whole(T),
    /// Good so far, but not all of it.
    Short,
    /// Not what belongs here.
    Bad,
    /// Undamaged, but from a newer program: what it is and its number.
    Unknown(&'static str, u32),
}

impl<T> Decoded<T> {
    pub(super) fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Decoded<U> {
        match self {
            Self::Whole(value) => Decoded::Whole(wrap(value)),
            Self::Short => Decoded::Short,
            Self::Bad => Decoded::Bad,
            Self::Unknown(what, found) => Decoded::Unknown(what, found),
        }
    }
}

impl SegmentHeader {
    pub(super) fn encode(self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[24..].copy_from_slice(&self.bytes_before.to_le_bytes());
        let crc = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the segment that is named after `first_seq`.
    pub(super) fn decode(bytes: &[u8], first_seq: u64) -> Decoded<Self> {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_LEN>() else {
            return Decoded::Short;
        };
        if bytes[..8] != MAGIC || u32_at(bytes, 8) != crc32fast::hash(&bytes[12..]) {
            return Decoded::Bad;
        }
        if u32_at(bytes, 12) != VERSION {
            return Decoded::Unknown("format version", u32_at(bytes, 12));
        }
        if u64_at(bytes, 16) != first_seq {
            return Decoded::Bad;
        }
        Decoded::Whole(Self {
            first_seq,
            bytes_before: u64_at(bytes, 24),
        })
    }
}

impl RecordHeader {
    pub(super) fn encode(self, payload: &[u8]) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        // 64 bits of nanoseconds last for 584 years.
        bytes[16..24].copy_from_slice(&(self.time.as_nanos() as u64).to_le_bytes());
        bytes[24] = stream_number(self.stream);
        bytes[25] = if self.last { FLAG_LAST } else { 0 };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[4..]);
        crc.update(payload);
        bytes[..4].copy_from_slice(&crc.finalize().to_le_bytes());
        bytes
    }

    /// Reads the record `seq` at the start of `bytes`; its payload follows the header.
    pub(super) fn decode(bytes: &[u8], seq: u64) -> Decoded<Self> {
        let Some(header) = bytes.first_chunk::<RECORD_HEADER_LEN>() else {
            return Decoded::Short;
        };
        let payload_len = u32_at(header, 4) as usize;
        if payload_len == 0 || payload_len > PAYLOAD_MAX || u64_at(header, 8) != seq {
            return Decoded::Bad;
        }
        let Some(covered) = bytes.get(4..RECORD_HEADER_LEN + payload_len) else {
            return Decoded::Short;
        };
        if u32_at(header, 0) != crc32fast::hash(covered) {
            return Decoded::Bad;
        }
        let Some(stream) = stream_of(header[24]) else {
            return Decoded::Unknown("stream", header[24].into());
        };
        let time = Duration::from_nanos(u64_at(header, 16));
        let last = header[25] & FLAG_LAST != 0;
        Decoded::Whole(Self {
            seq,
            stream,
            time,
            payload_len,
            last,
        })
    }

    /// Length of the record that starts here, if its length field can be believed.
    pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
        let payload_len = u32_at(bytes.first_chunk::<RECORD_HEADER_LEN>()?, 4) as usize;
        (payload_len <= PAYLOAD_MAX).then_some(RECORD_HEADER_LEN + payload_len)
    }

    /// Whether a header with this number starts here. For telling damage from a torn tail, which
    /// may be zeros: those would be a header with the number zero, but for its length.
    pub(super) fn looks_like(bytes: &[u8], seq: u64) -> bool {
        bytes
            .first_chunk::<RECORD_HEADER_LEN>()
            .is_some_and(|header| u64_at(header, 8) == seq && u32_at(header, 4) > 0)
    }
}

fn stream_number(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

fn stream_of(number: u8) -> Option<Stream> {
    match number {
        1 => Some(Stream::Stdout),
        2 => Some(Stream::Stderr),
        _ => None,
    }
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(
        *bytes[at..]
            .first_chunk()
            .expect("header fields lie inside the header"),
    )
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(
        *bytes[at..]
            .first_chunk()
            .expect("header fields lie inside the header"),
    )
}
