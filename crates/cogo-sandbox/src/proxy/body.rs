//! The body of a client's request, passed on up to its end and not a byte further.

use super::relay::{Filter, FilterError, Flow};

/// Bytes of chunk extensions and trailers taken from one request.
const CHUNK_EXTRAS_MAX: usize = 16 * 1024;
const CHUNK_DIGITS_MAX: u32 = 15;

/// What follows the head of a request, and how much of it is still to come.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// This many bytes.
    Length(u64),
    /// Chunks, the last of them empty.
    Chunked(Chunks),
}

impl RequestBody {
    pub(super) fn of_length(length: u64) -> Self {
        Self::Length(length)
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks {
            state: ChunkState::Size { digits: 0 },
            left: 0,
            extras: 0,
        })
    }

    pub(super) fn is_chunked(&self) -> bool {
        matches!(self, Self::Chunked(_))
    }

    /// The length to declare: none for chunks, nor for no body when none was declared before.
    pub(super) fn declared_length(&self, was_declared: bool) -> Option<u64> {
        match self {
            Self::Length(length) if was_declared => Some(*length),
            Self::Length(_) | Self::Chunked(_) => None,
        }
    }
}

impl Filter for RequestBody {
    fn pass(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Flow, FilterError> {
        match self {
            Self::Length(left) => {
                let count = input
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                output.extend_from_slice(&input[..count]);
                *left -= count as u64;
                Ok(if *left == 0 {
                    Flow::Complete
                } else {
                    Flow::More
                })
            }
            Self::Chunked(chunks) => chunks.pass(input, output),
        }
    }

    fn at_end(&mut self) -> Result<(), FilterError> {
        Err(FilterError(
            "the client closed the connection within its request",
        ))
    }
}

/// Reads chunks and writes them anew, without extensions and trailers.
#[derive(Debug)]
pub(super) struct Chunks {
    state: ChunkState,
    /// Bytes left of the chunk.
    left: u64,
    extras: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size {
        digits: u32,
    },
    Extension,
    SizeEnd,
    Data,
    DataCarriage,
    DataEnd,
    /// At the start of a line after the last chunk.
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastEnd,
    Complete,
}

impl Chunks {
    fn pass(&mut self, mut input: &[u8], output: &mut Vec<u8>) -> Result<Flow, FilterError> {
        while self.state != ChunkState::Complete {
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(Flow::More);
            };
            if self.state == ChunkState::Data {
                let count = input
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                output.extend_from_slice(&input[..count]);
                self.left -= count as u64;
                if self.left == 0 {
                    self.state = ChunkState::DataCarriage;
                }
                input = &input[count..];
            } else {
                self.state = self.step(byte, output)?;
                input = rest;
            }
        }
        Ok(Flow::Complete)
    }

    /// Takes one byte that is not data.
    fn step(&mut self, byte: u8, output: &mut Vec<u8>) -> Result<ChunkState, FilterError> {
        match (self.state, byte) {
            (ChunkState::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == CHUNK_DIGITS_MAX {
                    return Err(FilterError("a chunk of the request is too large"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                Ok(ChunkState::Size { digits: digits + 1 })
            }
            (ChunkState::Size { digits: 1.. } | ChunkState::Extension, b'\r') => {
                Ok(ChunkState::SizeEnd)
            }
            (ChunkState::Size { digits: 1.. }, b';' | b' ' | b'\t') => Ok(ChunkState::Extension),
            (ChunkState::Extension, other) if other != b'\n' => {
                self.count_extra()?;
                Ok(ChunkState::Extension)
            }
            (ChunkState::SizeEnd, b'\n') => Ok(self.start_chunk(output)),
            (ChunkState::DataCarriage, b'\r') => Ok(ChunkState::DataEnd),
            (ChunkState::DataEnd, b'\n') => {
                output.extend_from_slice(b"\r\n");
                Ok(ChunkState::Size { digits: 0 })
            }
            (ChunkState::TrailerStart, b'\r') => Ok(ChunkState::LastEnd),
            (ChunkState::Trailer, b'\r') => Ok(ChunkState::TrailerEnd),
            (ChunkState::TrailerStart | ChunkState::Trailer, other) if other != b'\n' => {
                self.count_extra()?;
                Ok(ChunkState::Trailer)
            }
            (ChunkState::TrailerEnd, b'\n') => Ok(ChunkState::TrailerStart),
            (ChunkState::LastEnd, b'\n') => {
                output.extend_from_slice(b"0\r\n\r\n");
                Ok(ChunkState::Complete)
            }
            _ => Err(FilterError("the chunks of the request are not well-formed")),
        }
    }

    fn start_chunk(&mut self, output: &mut Vec<u8>) -> ChunkState {
        if self.left == 0 {
            return ChunkState::TrailerStart;
        }
        output.extend_from_slice(format!("{:x}\r\n", self.left).as_bytes());
        ChunkState::Data
    }

    fn count_extra(&mut self) -> Result<(), FilterError> {
        self.extras += 1;
        if self.extras > CHUNK_EXTRAS_MAX {
            return Err(FilterError(
                "the request has too many chunk extensions or trailers",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(body: &mut RequestBody, pieces: &[&[u8]]) -> Result<(Flow, String), FilterError> {
        let mut output = Vec::new();
        let mut flow = Flow::More;
        for piece in pieces {
            flow = body.pass(piece, &mut output)?;
        }
        Ok((flow, String::from_utf8(output).unwrap()))
    }

    #[test]
    fn a_body_ends_at_its_length() {
        let passed = pass(
            &mut RequestBody::of_length(5),
            &[b"he", b"lloGET http://evil/"],
        );
        assert_eq!(passed, Ok((Flow::Complete, "hello".to_owned())));
        let passed = pass(&mut RequestBody::of_length(0), &[b"GET http://evil/"]);
        assert_eq!(passed, Ok((Flow::Complete, String::new())));
    }

    #[test]
    fn chunks_end_at_the_empty_one() {
        let input = b"5;name=value\r\nhello\r\n01\r\n!\r\n0\r\nTrailer: x\r\n\r\nGET http://evil/";
        let expected = Ok((
            Flow::Complete,
            "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n".to_owned(),
        ));
        assert_eq!(pass(&mut RequestBody::chunked(), &[input]), expected);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(pass(&mut RequestBody::chunked(), &bytes), expected);
    }

    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_refused() {
        for input in [
            "5\nhello",
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x5\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5\r\rhello",
            "ffffffffffffffff\r\n",
            "0\r\nA\n",
            ";a\r\n",
            "5;a\nhello",
        ] {
            assert!(
                pass(&mut RequestBody::chunked(), &[input.as_bytes()]).is_err(),
                "{input:?}"
            );
        }
        let endless = vec![b'a'; CHUNK_EXTRAS_MAX + 1];
        assert!(pass(&mut RequestBody::chunked(), &[b"5;", &endless]).is_err());
    }

    proptest! {
        #[test]
        fn data_comes_through_however_it_is_cut(
            data in prop::collection::vec("[a-z]{1,20}", 0..8),
            cut in 1_usize..9,
        ) {
            let chunk = |data: &String| format!("{:X}\r\n{data}\r\n", data.len());
            let mut input: String = data.iter().map(chunk).collect();
            input += "0\r\n\r\n";
            let pieces: Vec<&[u8]> = input.as_bytes().chunks(cut).collect();
            let passed = pass(&mut RequestBody::chunked(), &pieces);
            prop_assert_eq!(passed, Ok((Flow::Complete, input.to_lowercase())));
        }

        #[test]
        fn any_bytes_are_survived(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut output = Vec::new();
            let _ = RequestBody::chunked().pass(&input, &mut output);
        }
    }
}
