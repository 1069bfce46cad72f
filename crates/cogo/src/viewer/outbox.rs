//! Output on its way to our own stdout and stderr.
//!
//! Writes never block, so that Ctrl-C is heard while a pager sleeps or a pipe is full. Making
//! an inherited descriptor non-blocking would change it for everyone who shares it. A pipe or
//! a terminal is therefore opened anew; where that is not possible, only as much is written as
//! is certain to fit.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use cogo_sandbox::log::Stream;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::failure::Failure;

/// What a pipe that is ready takes at once, and a terminal too in practice.
const CERTAIN_TO_FIT: usize = 4096;

/// What was rendered and not yet written.
pub(super) struct Outbox {
    stdout: Destination,
    stderr: Destination,
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written.
    written: usize,
    /// Bytes not yet written.
    pending: usize,
    copy: Option<File>,
    copy_buffer: Vec<u8>,
}

/// Bytes for one destination.
struct Piece {
    stream: Stream,
    bytes: Vec<u8>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Some or all went out, or none for now.
    Progress,
    /// The reader of stdout is gone.
    ReaderGone,
}

impl Outbox {
    /// An empty outbox. `copy` gets all output as it is, both streams in their order.
    pub(super) fn new(copy: Option<File>) -> Self {
        Self {
            stdout: Destination::of(rustix::stdio::stdout()),
            stderr: Destination::of(rustix::stdio::stderr()),
            pieces: VecDeque::new(),
            written: 0,
            pending: 0,
            copy,
            copy_buffer: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes not yet written.
    pub(super) fn len(&self) -> usize {
        self.pending
    }

    /// Adds bytes for stdout or stderr.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        self.pending += bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.stream == stream => last.bytes.extend_from_slice(bytes),
            Some(_) | None => self.pieces.push_back(Piece {
                stream,
                bytes: bytes.to_vec(),
            }),
        }
    }

    /// Adds a line of ours to stdout.
    pub(super) fn event(&mut self, line: &str) {
        self.push(Stream::Stdout, line.as_bytes());
    }

    /// Adds bytes to the copy.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        if self.copy.is_some() {
            self.copy_buffer.extend_from_slice(bytes);
        }
    }

    /// The descriptor that has to be writable for the next [`Outbox::write`].
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.pieces
            .front()
            .map(|piece| self.destination(piece.stream).fd())
    }

    /// Writes what the current destination takes now.
    pub(super) fn write(&mut self) -> Result<Written, Failure> {
        self.flush_copy()?;
        let Some(piece) = self.pieces.front() else {
            return Ok(Written::Progress);
        };
        let stream = piece.stream;
        match self.destination(stream).write(&piece.bytes[self.written..]) {
            Ok(length) => self.advance(length),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::PIPE | Errno::IO) if stream == Stream::Stdout => {
                return Ok(Written::ReaderGone);
            }
            // Without a reader for stderr, stdout may still have one.
            Err(Errno::PIPE | Errno::IO | Errno::BADF) => self.advance(usize::MAX),
            Err(error) => return Err(Failure::caused("failed to write the output", &error)),
        }
        Ok(Written::Progress)
    }

    /// Makes the copy complete.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        self.flush_copy()
    }

    fn advance(&mut self, length: usize) {
        let Some(piece) = self.pieces.front() else {
            return;
        };
        let length = length.min(piece.bytes.len() - self.written);
        self.written += length;
        self.pending -= length;
        if self.written == piece.bytes.len() {
            self.written = 0;
            self.pieces.pop_front();
        }
    }

    fn flush_copy(&mut self) -> Result<(), Failure> {
        if let Some(copy) = &mut self.copy {
            copy.write_all(&self.copy_buffer).map_err(|error| {
                Failure::caused("failed to write the copy of the output", &error)
            })?;
            self.copy_buffer.clear();
        }
        Ok(())
    }

    fn destination(&self, stream: Stream) -> &Destination {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

/// One of our standard outputs.
enum Destination {
    /// A file: writes do not wait for a reader.
    File(BorrowedFd<'static>),
    /// A pipe or terminal, opened anew without blocking.
    Reopened(OwnedFd),
    /// A socket, or what cannot be opened anew.
    Careful(BorrowedFd<'static>),
}

impl Destination {
    fn of(fd: BorrowedFd<'static>) -> Self {
        let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            // A file opened anew would be written from its start.
            Ok(FileType::RegularFile) | Err(_) => return Self::File(fd),
            Ok(_) => {}
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(reopened) => Self::Reopened(reopened),
            Err(_) => Self::Careful(fd),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(fd) | Self::Careful(fd) => *fd,
            Self::Reopened(fd) => fd.as_fd(),
        }
    }

    fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match self {
            Self::File(fd) => rustix::io::write(fd, bytes),
            Self::Reopened(fd) => rustix::io::write(fd, bytes),
            Self::Careful(fd) => rustix::io::write(fd, &bytes[..bytes.len().min(CERTAIN_TO_FIT)]),
        }
    }
}

/// Lets plain text be written with `write!`.
pub(super) struct To<'a>(pub(super) &'a mut Outbox, pub(super) Stream);

impl Write for To<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(self.1, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
