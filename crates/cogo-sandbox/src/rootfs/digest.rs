//! SHA-256 digests, as images write them.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::error::RootfsError;

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits, which name a blob's file.
    pub(super) fn hex(&self) -> String {
        const DIGITS: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
        ];
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        nibbles.map(|nibble| DIGITS[usize::from(nibble)]).collect()
    }

    /// Compares the digest that was promised with the one that came.
    pub(super) fn check(&self, what: &str, actual: &Self) -> Result<(), RootfsError> {
        if self == actual {
            return Ok(());
        }
        Err(RootfsError::WrongDigest {
            what: what.to_owned(),
            expected: self.to_string(),
            actual: actual.to_string(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// Reads only `sha256:` with lower-case hex, so that no digest can name another path than its own.
impl FromStr for Digest {
    type Err = RootfsError;

    fn from_str(text: &str) -> Result<Self, RootfsError> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(RootfsError::malformed(
                format!("digest `{text}`"),
                "no algorithm",
            ));
        };
        if algorithm != "sha256" {
            return Err(RootfsError::Unsupported {
                what: format!("digest `{text}`"),
            });
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let pairs = hex.as_bytes().chunks_exact(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?))
            .collect();
        bytes
            .filter(|_| hex.len() == 64)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| {
                RootfsError::malformed(format!("digest `{text}`"), "not 64 lower-case hex digits")
            })
    }
}

/// A reader that hashes what passes through it.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    /// The digest of all that was read.
    pub(super) fn finish(self) -> Digest {
        Digest(self.hasher.finalize().into())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
