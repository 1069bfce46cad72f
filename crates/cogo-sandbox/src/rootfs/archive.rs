//! Reads the entries of a tar stream: old, ustar, GNU and pax.
//!
//! The `tar` crate decodes the header blocks; the walk over them is our own, since that crate
//! keeps long names and pax records of any size in memory, and lets a link carry data where
//! container tools let it have none.

use std::borrow::Cow;
use std::io::{self, Read};

use tar::{EntryType, Header};

use super::error::RootfsError;

const BLOCK: usize = 512;

/// The most that the long names and pax records of one entry may take. A path has at most 4 KiB.
const EXTENSION_MAX: u64 = 1 << 20;

/// A tar stream.
pub(super) struct Archive<R> {
    input: R,
    /// Bytes of the current entry's data that were not read yet.
    data_left: u64,
    /// Bytes after that data, up to the next block.
    padding: u64,
}

/// One entry. Its data follow in [`Archive::read`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub path: Vec<u8>,
    pub kind: EntryKind,
    pub mode: u32,
    /// Unix time in seconds.
    pub mtime: u64,
    pub size: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    /// A device node, a pipe, or a type that no tool agrees on.
    Special,
}

/// What extension headers say of the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<u64>,
    bytes: u64,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            data_left: 0,
            padding: 0,
        }
    }

    /// Skips what is left of the current entry and reads the next one's headers. `None` at the
    /// end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, RootfsError> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.next_header()? else {
                return match extensions.bytes {
                    0 => Ok(None),
                    _ => Err(malformed("it ends after an extension header")),
                };
            };
            let kind = header.entry_type();
            if !is_extension(kind) {
                return self.entry(&header, extensions).map(Some);
            }
            let size = header.entry_size().map_err(malformed)?;
            self.start_data(size)?;
            let data = self.extension_data(size, &mut extensions)?;
            match kind {
                EntryType::GNULongName => extensions.path = Some(until_nul(&data).to_vec()),
                EntryType::GNULongLink => extensions.target = Some(until_nul(&data).to_vec()),
                EntryType::XHeader => extensions.read_pax(&data)?,
                // A global header holds defaults of attributes that are not kept anyway.
                _ => {}
            }
        }
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, RootfsError> {
        let path = extensions
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let kind_byte = header.entry_type();
        let target = || {
            let in_header = header.link_name_bytes().map(Cow::into_owned);
            extensions.target.clone().or(in_header).unwrap_or_default()
        };
        let kind = match kind_byte {
            // In the oldest format only the name tells a directory.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => {
                EntryKind::Directory
            }
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink { target: target() },
            EntryType::Link => EntryKind::HardLink { target: target() },
            EntryType::GNUSparse => return Err(sparse()),
            _ => EntryKind::Special,
        };
        // Links, directories and special files have no data whatever their size says, as Go's
        // archive/tar, and with it container tools, read them.
        let has_data = !matches!(
            kind_byte,
            EntryType::Directory
                | EntryType::Symlink
                | EntryType::Link
                | EntryType::Char
                | EntryType::Block
                | EntryType::Fifo
        );
        let size = match extensions.size {
            _ if !has_data => 0,
            Some(size) => size,
            None => header.entry_size().map_err(malformed)?,
        };
        self.start_data(size)?;
        Ok(Entry {
            path,
            kind,
            mode: header.mode().unwrap_or(0o644),
            mtime: extensions
                .mtime
                .or_else(|| header.mtime().ok())
                .unwrap_or(0),
            size,
        })
    }

    fn start_data(&mut self, size: u64) -> Result<(), RootfsError> {
        let end = size.checked_next_multiple_of(BLOCK as u64);
        let end = end.ok_or_else(|| malformed("an entry's size overflows"))?;
        self.data_left = size;
        self.padding = end - size;
        Ok(())
    }

    /// The next header block, checked. `None` at the archive's end: a block of zeros, or the end
    /// of the stream.
    fn next_header(&mut self) -> Result<Option<Header>, RootfsError> {
        self.skip_data()?;
        let mut block = [0; BLOCK];
        if !self.read_block(&mut block)? || block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum counts its own field as spaces.
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let own: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
        if header.cksum().ok() != Some(sum - own + 8 * u32::from(b' ')) {
            return Err(malformed("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// Reads a whole block. False if the stream ends before it.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, RootfsError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(malformed("it ends inside a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_failed(error)),
            }
        }
        Ok(true)
    }

    fn skip_data(&mut self) -> Result<(), RootfsError> {
        let left = self.data_left + self.padding;
        let mut rest = (&mut self.input).take(left);
        let skipped = io::copy(&mut rest, &mut io::sink()).map_err(read_failed)?;
        // The last entry's padding may be missing; its data may not.
        if skipped < self.data_left {
            return Err(malformed("it ends inside an entry"));
        }
        (self.data_left, self.padding) = (0, 0);
        Ok(())
    }

    fn extension_data(
        &mut self,
        size: u64,
        extensions: &mut Extensions,
    ) -> Result<Vec<u8>, RootfsError> {
        extensions.bytes = extensions.bytes.saturating_add(size.max(1));
        if extensions.bytes > EXTENSION_MAX {
            return Err(malformed(
                "an entry's extension headers are larger than 1 MiB",
            ));
        }
        let mut data = Vec::new();
        self.read_to_end(&mut data).map_err(read_failed)?;
        Ok(data)
    }
}

/// Reads the current entry's data. Fails if the stream ends before them.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.data_left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.data_left -= count as u64;
        Ok(count)
    }
}

impl Extensions {
    /// Reads records of the form `LENGTH KEY=VALUE\n`, where the length counts the whole record.
    /// Values may hold any byte.
    fn read_pax(&mut self, mut data: &[u8]) -> Result<(), RootfsError> {
        let broken = || malformed("a pax record is broken");
        while !data.is_empty() && data[0] != 0 {
            let space = data
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(broken)?;
            let length: usize = ascii_number(&data[..space]).ok_or_else(broken)?;
            if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
                return Err(broken());
            }
            let record = &data[space + 1..length - 1];
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(broken)?;
            self.pax_record(&record[..equals], &record[equals + 1..])?;
            data = &data[length..];
        }
        Ok(())
    }

    fn pax_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), RootfsError> {
        // An empty value takes a default back; there are none.
        let broken = || malformed("a pax record holds a broken number");
        match key {
            _ if value.is_empty() => {}
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.target = Some(value.to_vec()),
            b"size" => self.size = Some(ascii_number(value).ok_or_else(broken)?),
            b"mtime" => {
                // Fractions and times before 1970 are not kept.
                let seconds = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                self.mtime = Some(ascii_number(seconds).unwrap_or(0));
            }
            _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
            _ => {}
        }
        Ok(())
    }
}

fn is_extension(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::GNULongName
            | EntryType::GNULongLink
            | EntryType::XHeader
            | EntryType::XGlobalHeader
    )
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn ascii_number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    // `parse` also takes a sign, which these numbers must not have.
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.starts_with('+'))?;
    text.parse().ok()
}

fn malformed(reason: impl ToString) -> RootfsError {
    RootfsError::malformed("the tar archive", reason)
}

fn sparse() -> RootfsError {
    RootfsError::Unsupported {
        what: "a sparse file in a tar archive".to_owned(),
    }
}

fn read_failed(error: io::Error) -> RootfsError {
    RootfsError::from_read("read the archive", error)
}
