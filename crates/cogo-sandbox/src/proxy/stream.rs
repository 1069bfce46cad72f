//! Reads and writes on a non-blocking connection, each with a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longest head of a request or an answer.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes read at once.
pub(super) const READ_BYTES: usize = 16 * 1024;

/// What is read and thrown away before a connection is closed, and for how long.
const DISCARD_BYTES_MAX: usize = 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until one of the descriptors is ready, or the deadline passes (`TimedOut`).
pub(super) fn wait(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads what is there, waiting for it until the deadline. 0 means the end of the stream.
pub(super) fn read_before(
    stream: &TcpStream,
    buffer: &mut [u8],
    deadline: Instant,
) -> io::Result<usize> {
    let mut stream = stream;
    loop {
        // Wait first: a client that always has a byte ready must not outrun the deadline.
        wait(
            &mut [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)],
            deadline,
        )?;
        match stream.read(buffer) {
            Err(error) if is_retry(&error) => {}
            result => return result,
        }
    }
}

/// Writes everything before the deadline.
pub(super) fn write_before(
    stream: &TcpStream,
    mut bytes: &[u8],
    deadline: Instant,
) -> io::Result<()> {
    let mut stream = stream;
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_retry(&error) => {
                wait(
                    &mut [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::OUT)],
                    deadline,
                )?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the call is to be made again when the descriptor is ready.
pub(super) fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Where the empty line that ends a head is over. The first `searched` bytes held none before.
pub(super) fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let start = searched.saturating_sub(2);
    let mut rest = memchr::memchr_iter(b'\n', &bytes[start..]).map(|at| start + at);
    rest.find_map(|at| match bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Ends our side and waits shortly for the peer's: closing with unread bytes would reset the
/// connection, and the peer could lose what was just written.
pub(super) fn close_gently(stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let deadline = Instant::now() + DISCARD_TIMEOUT;
    let mut buffer = [0; 4096];
    let mut discarded = 0;
    while discarded < DISCARD_BYTES_MAX {
        match read_before(stream, &mut buffer, deadline) {
            Ok(0) | Err(_) => return,
            Ok(count) => discarded += count,
        }
    }
}

/// Makes the coming close a reset, so that the peer does not take what it has for the whole.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Failure leaves an ordinary close, which is all that can be done about it.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_wherever_it_was_cut() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\n\r\nbody", Some(18)),
            ("GET / HTTP/1.1\n\nbody", Some(16)),
            ("GET / HTTP/1.1\r\nA: b\r\n", None),
            ("\n", None),
            ("", None),
        ] {
            let found_from = |searched| head_end(text.as_bytes(), searched);
            assert_eq!(found_from(0), end, "{text:?}");
            for searched in 0..end.unwrap_or(text.len()) {
                assert_eq!(found_from(searched), end, "{text:?} after {searched}");
            }
        }
    }
}
