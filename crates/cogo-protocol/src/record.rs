//! Output as it travels: text where it is text, base64 where it is not.
//!
//! A program writes bytes and a log keeps them in records as they were read, so a character may
//! be torn between two records. On the wire it never is: [`Utf8Chunker`] holds back an unfinished
//! character, at most three bytes, and puts it before the next bytes of the same stream.
//!
//! # Sequence numbers
//!
//! A wire record carries the number of the log record in which it ends, so numbers rise and may
//! skip. What a chunker holds back depends only on the last [`HELD_MAX`] bytes of its stream. A
//! reader that resumes in the middle of a log primes a fresh chunker with those
//! ([`Utf8Chunker::after`]) and gets the very records that a reader from the start gets: none
//! lost, none twice. What is still held when the log ends takes the number of the log's end, so
//! that it is a record of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod chunker;

pub use chunker::{HELD_MAX, Utf8Chunker};

/// A piece of a program's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputRecord {
    /// Place in the log. Rises within an exec and may skip.
    pub seq: u64,
    /// Where the program wrote it.
    pub stream: Stream,
    /// Unix time in milliseconds at which it was read.
    pub timestamp_ms: u64,
    /// What was written.
    #[serde(flatten)]
    pub chunk: Chunk,
}

/// Where a program wrote. Under a pty everything is `stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes in a form that JSON can carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chunk {
    /// The text itself, or the bytes in base64.
    pub output: String,
    /// Which of the two.
    #[serde(default)]
    pub encoding: Encoding,
}

/// How bytes became text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// They are UTF-8, as they are.
    #[default]
    Utf8,
    /// They are not UTF-8: standard base64 with padding.
    Base64,
}

/// An output whose base64 is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("output is not valid base64")]
pub struct BrokenBase64(#[from] base64::DecodeError);

impl Chunk {
    /// Makes the text form of these bytes, whole as they are.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(output) => Self {
                output,
                encoding: Encoding::Utf8,
            },
            Err(error) => Self {
                output: STANDARD.encode(error.as_bytes()),
                encoding: Encoding::Base64,
            },
        }
    }

    /// The bytes that the program wrote.
    ///
    /// # Errors
    ///
    /// Fails if the sender's base64 is broken.
    pub fn into_bytes(self) -> Result<Vec<u8>, BrokenBase64> {
        match self.encoding {
            Encoding::Utf8 => Ok(self.output.into_bytes()),
            Encoding::Base64 => Ok(STANDARD.decode(&self.output)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: Stream, bytes: &[u8]) -> OutputRecord {
        let chunk = Chunk::from_bytes(bytes.to_vec());
        OutputRecord {
            seq: 7,
            stream,
            timestamp_ms: 1_700_000_000_000,
            chunk,
        }
    }

    #[test]
    fn records_have_their_text() {
        for (record, text) in [
            (
                record(Stream::Stdout, "grün\n".as_bytes()),
                r#"{"seq":7,"stream":"stdout","timestampMs":1700000000000,"output":"grün\n","encoding":"utf8"}"#,
            ),
            (
                record(Stream::Stderr, b"\xff\x00"),
                r#"{"seq":7,"stream":"stderr","timestampMs":1700000000000,"output":"/wA=","encoding":"base64"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
            assert_eq!(serde_json::from_str::<OutputRecord>(text).unwrap(), record);
        }
    }

    #[test]
    fn an_absent_encoding_is_utf8() {
        let chunk: Chunk = serde_json::from_str(r#"{"output":"/wA="}"#).unwrap();
        assert_eq!(chunk.into_bytes().unwrap(), b"/wA=");
    }

    #[test]
    fn broken_base64_is_an_error() {
        let chunk = Chunk {
            output: "/wA".into(),
            encoding: Encoding::Base64,
        };
        assert!(chunk.into_bytes().is_err());
    }
}
