//! Where live output goes, whose reader may go away.

use std::io::Write as _;

use cogo_protocol::record::Stream;

/// Standard output and standard error. Once one of them is closed, nothing is written any more: a
/// reader that went away changes nothing for what runs.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    is_closed: bool,
}

impl Outlet {
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if self.is_closed {
            return;
        }
        let written = match stream {
            Stream::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Stream::Stderr => std::io::stderr().lock().write_all(bytes),
        };
        self.is_closed = written.is_err();
    }
}
