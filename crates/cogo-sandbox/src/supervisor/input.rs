//! Standard input of the command: a bounded queue in front of a pipe or terminal.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::control::INPUT_MAX;
use crate::spec::PtySize;

/// Bytes that may wait for a program that does not read. Beyond them, clients wait.
const QUEUE_MAX: usize = 4 * INPUT_MAX;

/// Where a terminal's line discipline sees the end of input (`VEOF`, Ctrl-D).
const END_OF_TRANSMISSION: u8 = 4;

/// Input on its way to the program.
pub(super) struct Input {
    sink: Sink,
    queue: VecDeque<u8>,
    /// No more input will come.
    ended: bool,
}

/// What the program reads from.
pub(super) enum Sink {
    /// Nothing: the program sees end of file.
    Closed,
    Pipe(OwnedFd),
    /// The terminal's master, also the source of all output.
    Terminal(OwnedFd),
}

impl Input {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            sink,
            queue: VecDeque::new(),
            ended: false,
        }
    }

    /// Queues bytes for the program. Bytes after the end are dropped.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.ended && !matches!(self.sink, Sink::Closed) {
            self.queue.extend(bytes);
            self.write();
        }
    }

    /// Ends the input after what is queued.
    pub(super) fn end(&mut self) {
        if matches!(self.sink, Sink::Terminal(_)) {
            self.push(&[END_OF_TRANSMISSION]);
            return;
        }
        self.ended = true;
        self.write();
    }

    pub(super) fn resize(&self, size: PtySize) {
        if let Sink::Terminal(master) = &self.sink {
            let size = rustix::termios::Winsize {
                ws_row: size.rows,
                ws_col: size.columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // The terminal may be gone already.
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < QUEUE_MAX
    }

    /// The descriptor to wait for, while something is queued.
    pub(super) fn wants_to_write(&self) -> Option<BorrowedFd<'_>> {
        if self.queue.is_empty() {
            return None;
        }
        match &self.sink {
            Sink::Closed => None,
            Sink::Pipe(fd) | Sink::Terminal(fd) => Some(fd.as_fd()),
        }
    }

    /// Writes what the program takes now.
    pub(super) fn write(&mut self) {
        while let Some(sink) = self.wants_to_write() {
            match rustix::io::write(sink, self.queue.as_slices().0) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The program closed its input; nobody will read this.
                Err(_) => {
                    self.queue.clear();
                    self.sink = Sink::Closed;
                }
            }
        }
        if self.queue.is_empty() {
            // An idle queue holds no memory.
            self.queue = VecDeque::new();
            if self.ended {
                self.sink = Sink::Closed;
            }
        }
    }
}
