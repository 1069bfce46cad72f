//! The control socket of a supervisor: input, signals and stop one way, progress the other.
//!
//! A `SOCK_SEQPACKET` Unix socket in the exec's folder; one packet is one message. Who may
//! open the folder may control the exec; there is no other authentication.
//!
//! | first byte | to the supervisor | rest, little endian |
//! |---|---|---|
//! | 1 | input | bytes for the program, at most [`INPUT_MAX`] |
//! | 2 | end of input | – |
//! | 3 | resize terminal | rows u16, columns u16 |
//! | 4 | signal the command's process group | signal i32 |
//! | 5 | stop: signal, grace period, kill | grace period in ms u64 |
//! | 6 | the same, because it hangs | grace period in ms u64, the cause as JSON |
//!
//! | first byte | from the supervisor | rest |
//! |---|---|---|
//! | 128 | the log ends at | sequence number u64 |
//! | 129 | the command runs | – |
//! | 130 | the verdict is written | – |
//!
//! Progress is a level, not a list: a client that does not read gets the newest level later
//! and holds nobody up.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

use crate::exec_dir::ExecDir;
use crate::spec::PtySize;
use crate::verdict::BlockCause;

/// Most bytes of input in one message.
pub const INPUT_MAX: usize = 60 * 1024;

/// What a client asks of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Bytes for the program's standard input.
    Input(Vec<u8>),
    /// Close standard input; on a terminal, send end-of-file.
    Eof,
    /// The client's terminal changed size.
    Resize(PtySize),
    /// Send a signal to the command's process group.
    Signal(i32),
    /// End the exec: SIGTERM to all of it, then, after the grace period, the kill.
    Stop {
        /// Time between the two. Zero kills at once.
        grace_period: Duration,
    },
    /// As [`Self::Stop`], because the exec hangs; the verdict tells the cause.
    StopBlocked {
        /// Time between the two. Zero kills at once.
        grace_period: Duration,
        /// Why it hangs. Must be far shorter than [`INPUT_MAX`] as JSON.
        block: BlockCause,
    },
}

/// What a supervisor tells its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Records before this sequence number can be read from the log.
    LogEnd(u64),
    /// The command runs.
    Running,
    /// The verdict is written; nothing more will come.
    Ended,
}

impl Request {
    /// The message as one packet.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Input(bytes) => [&[1], bytes.as_slice()].concat(),
            Self::Eof => vec![2],
            Self::Resize(size) => [
                &[3][..],
                &size.rows.to_le_bytes(),
                &size.columns.to_le_bytes(),
            ]
            .concat(),
            Self::Signal(signal) => [&[4][..], &signal.to_le_bytes()].concat(),
            Self::Stop { grace_period } => [&[5][..], &milliseconds(*grace_period)].concat(),
            Self::StopBlocked {
                grace_period,
                block,
            } => {
                let cause = serde_json::to_vec(block).unwrap_or_default();
                [&[6][..], &milliseconds(*grace_period), &cause].concat()
            }
        }
    }

    /// Reads a packet; `None` if it is none of ours.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let (&kind, rest) = packet.split_first()?;
        match kind {
            1 => Some(Self::Input(rest.to_vec())),
            2 => rest.is_empty().then_some(Self::Eof),
            3 => {
                let (rows, columns) = rest.split_at_checked(2)?;
                Some(Self::Resize(PtySize {
                    rows: u16::from_le_bytes(rows.try_into().ok()?),
                    columns: u16::from_le_bytes(columns.try_into().ok()?),
                }))
            }
            4 => Some(Self::Signal(i32::from_le_bytes(rest.try_into().ok()?))),
            5 => {
                let ms = u64::from_le_bytes(rest.try_into().ok()?);
                Some(Self::Stop {
                    grace_period: Duration::from_millis(ms),
                })
            }
            6 => {
                let (ms, cause) = rest.split_at_checked(8)?;
                let ms = u64::from_le_bytes(ms.try_into().ok()?);
                Some(Self::StopBlocked {
                    grace_period: Duration::from_millis(ms),
                    block: serde_json::from_slice(cause).ok()?,
                })
            }
            _ => None,
        }
    }
}

fn milliseconds(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_millis())
        .unwrap_or(u64::MAX)
        .to_le_bytes()
}

impl Notice {
    /// The message as one packet.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::LogEnd(seq) => [&[128][..], &seq.to_le_bytes()].concat(),
            Self::Running => vec![129],
            Self::Ended => vec![130],
        }
    }

    /// Reads a packet; `None` if it is none of ours.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let (&kind, rest) = packet.split_first()?;
        match kind {
            128 => Some(Self::LogEnd(u64::from_le_bytes(rest.try_into().ok()?))),
            129 => Some(Self::Running),
            130 => Some(Self::Ended),
            _ => None,
        }
    }
}

/// A client's connection to a supervisor.
#[derive(Debug)]
pub struct ControlClient {
    socket: OwnedFd,
}

impl ControlClient {
    /// Connects to the supervisor of an exec.
    ///
    /// # Errors
    ///
    /// Fails with `NotFound` or `ConnectionRefused` when there is no supervisor any more.
    pub fn connect(exec: &ExecDir) -> io::Result<Self> {
        let socket = packet_socket(SocketFlags::CLOEXEC)?;
        with_short_address(&exec.control_path(), |address| connect(&socket, address))?;
        Ok(Self { socket })
    }

    /// Sends one request; waits while the supervisor's queue is full, as it is when the program
    /// does not read its input.
    ///
    /// # Errors
    ///
    /// Fails when the supervisor is gone.
    pub fn send(&self, request: &Request) -> io::Result<()> {
        send(&self.socket, &request.encode(), SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Sends one request if there is room for it. `WouldBlock` when there is none; the socket is
    /// writable again once there is.
    ///
    /// # Errors
    ///
    /// Fails when the supervisor is gone.
    pub fn try_send(&self, request: &Request) -> io::Result<()> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        send(&self.socket, &request.encode(), flags)?;
        Ok(())
    }

    /// Waits for the next notice; `None` when the supervisor is gone.
    ///
    /// # Errors
    ///
    /// Fails when the socket does.
    pub fn receive(&self) -> io::Result<Option<Notice>> {
        self.receive_with(RecvFlags::empty())
    }

    /// The next notice that is there already. `WouldBlock` when there is none.
    ///
    /// # Errors
    ///
    /// Fails when the socket does.
    pub fn try_receive(&self) -> io::Result<Option<Notice>> {
        self.receive_with(RecvFlags::DONTWAIT)
    }

    fn receive_with(&self, flags: RecvFlags) -> io::Result<Option<Notice>> {
        let mut packet = [0_u8; 16];
        loop {
            let (length, _) = match recv(&self.socket, &mut packet, flags) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                other => other?,
            };
            if length == 0 {
                return Ok(None);
            }
            // Notices that this version does not know are passed over.
            if let Some(notice) = Notice::decode(&packet[..length]) {
                return Ok(Some(notice));
            }
        }
    }
}

/// For readiness APIs that take raw descriptors.
impl AsRawFd for ControlClient {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for ControlClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(crate) fn packet_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Socket addresses hold 107 bytes; state directories may be deeper. The way through
/// `/proc/self/fd` is always short.
pub(crate) fn with_short_address<T>(
    path: &Path,
    use_address: impl FnOnce(&SocketAddrUnix) -> rustix::io::Result<T>,
) -> io::Result<T> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = rustix::fs::open(
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    Ok(use_address(&SocketAddrUnix::new(&short)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let requests = [
            Request::Input(b"yes\n".to_vec()),
            Request::Eof,
            Request::Resize(PtySize {
                rows: 24,
                columns: 80,
            }),
            Request::Signal(15),
            Request::Stop {
                grace_period: Duration::from_millis(1500),
            },
            Request::StopBlocked {
                grace_period: Duration::ZERO,
                block: BlockCause {
                    reason: "deadlock".to_owned(),
                    duration: Duration::from_millis(700),
                    evidence: vec!["no thread runs".to_owned()],
                },
            },
        ];
        for request in requests {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
    }

    #[test]
    fn notices_survive_the_wire() {
        for notice in [Notice::LogEnd(u64::MAX), Notice::Running, Notice::Ended] {
            assert_eq!(Notice::decode(&notice.encode()), Some(notice));
        }
    }

    #[test]
    fn malformed_packets_are_refused() {
        for packet in [
            &[][..],
            &[0],
            &[2, 0],
            &[3, 1, 0, 1],
            &[4, 1],
            &[5],
            &[6, 0, 0, 0, 0, 0, 0, 0, 0],
            &[77],
            &[200],
        ] {
            assert_eq!(Request::decode(packet), None, "{packet:?}");
        }
    }
}
