//! Forwards what arrives on our standard input to the program's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use cogo_sandbox::control::{ControlClient, INPUT_MAX, Request};
use cogo_sandbox::exec_dir::ExecDir;

use super::terminal::RawMode;

const CTRL_P: u8 = 0x10;
const CTRL_Q: u8 = 0x11;

/// Standard input on its way to the program. Reads only when what was read before is sent, so
/// at most one message is held.
pub(crate) struct Input {
    connection: ControlClient,
    waiting: Option<Request>,
    ended: bool,
    detach_keys: Option<DetachKeys>,
    /// Undone when the input is over, also before its owner says its last words.
    _raw_mode: Option<RawMode>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// Something to forward, or nothing.
    Bytes,
    /// The keys that leave the exec alone.
    Detach,
}

impl Input {
    /// Forwards a pipe or a file.
    pub(crate) fn pipe(exec: &ExecDir) -> io::Result<Self> {
        Self::new(exec, None, None)
    }

    /// Forwards the keys of a terminal in raw mode.
    pub(crate) fn terminal(exec: &ExecDir, raw_mode: RawMode) -> io::Result<Self> {
        Self::new(exec, Some(raw_mode), None)
    }

    /// Lets Ctrl-P Ctrl-Q end the view.
    pub(crate) fn with_detach_keys(mut self) -> Self {
        self.detach_keys = Some(DetachKeys::default());
        self
    }

    fn new(
        exec: &ExecDir,
        raw_mode: Option<RawMode>,
        detach_keys: Option<DetachKeys>,
    ) -> io::Result<Self> {
        let connection = ControlClient::connect(exec)?;
        Ok(Self {
            connection,
            waiting: None,
            ended: false,
            detach_keys,
            _raw_mode: raw_mode,
        })
    }

    /// Where keys come from, until they end.
    pub(super) fn keys(&self) -> Option<BorrowedFd<'static>> {
        (!self.ended).then(rustix::stdio::stdin)
    }

    /// Whether the program was told that there is no more, or is about to be.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// The socket that must take something before more is read.
    pub(super) fn waits_for_room(&self) -> Option<BorrowedFd<'_>> {
        self.waiting.is_some().then(|| self.connection.as_fd())
    }

    /// Reads once.
    pub(super) fn read(&mut self) -> Pressed {
        let mut buffer = vec![0; INPUT_MAX];
        let length = match rustix::io::read(rustix::stdio::stdin(), &mut buffer[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Pressed::Bytes,
            // A terminal that went away reads as an error.
            Err(_) => 0,
        };
        buffer.truncate(length);
        if buffer.is_empty() {
            self.ended = true;
            self.waiting = Some(Request::Eof);
            return Pressed::Bytes;
        }
        if let Some(keys) = &mut self.detach_keys
            && keys.filter(&mut buffer) == Pressed::Detach
        {
            return Pressed::Detach;
        }
        self.waiting = (!buffer.is_empty()).then_some(Request::Input(buffer));
        Pressed::Bytes
    }

    /// Sends what waits. An error means that there is nobody to forward to any more.
    pub(super) fn send(&mut self) -> io::Result<()> {
        match self.waiting.take() {
            Some(request) => self.connection.send(&request),
            None => Ok(()),
        }
    }
}

/// Finds Ctrl-P Ctrl-Q among the keys, also when they arrive one by one.
#[derive(Debug, Default)]
struct DetachKeys {
    ctrl_p_held: bool,
}

impl DetachKeys {
    /// Takes a trailing Ctrl-P back until it is known what follows.
    fn filter(&mut self, keys: &mut Vec<u8>) -> Pressed {
        if self.ctrl_p_held {
            keys.insert(0, CTRL_P);
        }
        if keys.windows(2).any(|pair| pair == [CTRL_P, CTRL_Q]) {
            return Pressed::Detach;
        }
        self.ctrl_p_held = keys.last() == Some(&CTRL_P);
        if self.ctrl_p_held {
            keys.pop();
        }
        Pressed::Bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(reads: &[&[u8]]) -> Option<Vec<u8>> {
        let mut keys = DetachKeys::default();
        let mut all = Vec::new();
        for read in reads {
            let mut buffer = read.to_vec();
            if keys.filter(&mut buffer) == Pressed::Detach {
                return None;
            }
            all.extend(buffer);
        }
        Some(all)
    }

    #[test]
    fn the_detach_keys_are_found_across_reads() {
        assert_eq!(forwarded(&[b"ls\n"]), Some(b"ls\n".to_vec()));
        assert_eq!(forwarded(&[b"\x10\x11"]), None);
        assert_eq!(forwarded(&[b"a\x10", b"\x11"]), None);
        assert_eq!(
            forwarded(&[b"a\x10", b"b\x11"]),
            Some(b"a\x10b\x11".to_vec())
        );
        assert_eq!(forwarded(&[b"\x10", b"\x10", b"\x11"]), None);
    }
}
