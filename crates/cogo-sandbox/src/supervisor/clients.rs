//! Clients of the control socket: who is connected, and what each was told last.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, bind, listen, recv, send};

use crate::control::{INPUT_MAX, Notice, Request, packet_socket, with_short_address};
use crate::exec_dir::ExecDir;

/// Most clients at once. More are turned away; the log itself has no such bound.
const CLIENTS_MAX: usize = 64;

/// Everyone connected.
pub(super) struct Clients {
    listener: OwnedFd,
    connected: Vec<Client>,
    /// Reused for every packet.
    packet: Vec<u8>,
}

struct Client {
    socket: OwnedFd,
    /// The log end it was told last.
    told: Option<u64>,
    /// Its queue was full; it is told the newest level when there is room.
    behind: bool,
    /// It sends input, and is not read from while that has no room.
    feeds: bool,
    gone: bool,
}

impl Clients {
    /// Opens the control socket of an exec.
    pub(super) fn listen(exec: &ExecDir) -> io::Result<Self> {
        let listener = packet_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        with_short_address(&exec.control_path(), |address| bind(&listener, address))?;
        listen(&listener, 16)?;
        Ok(Self {
            listener,
            connected: Vec::new(),
            packet: Vec::new(),
        })
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// What to poll for. While the input has no room, those who send input wait; a stop from
    /// anyone else gets through.
    pub(super) fn connections(
        &self,
        input_has_room: bool,
    ) -> impl Iterator<Item = (usize, BorrowedFd<'_>, PollFlags)> {
        self.connected
            .iter()
            .enumerate()
            .map(move |(index, client)| {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, input_has_room || !client.feeds);
                flags.set(PollFlags::OUT, client.behind);
                (index, client.socket.as_fd(), flags)
            })
    }

    /// Takes in those who wait, and tells each where the log ends.
    pub(super) fn accept(&mut self, log_end: u64) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = accept_with(&self.listener, flags) {
            if self.connected.len() >= CLIENTS_MAX {
                continue;
            }
            let mut client = Client {
                socket,
                told: None,
                behind: false,
                feeds: false,
                gone: false,
            };
            client.tell(Notice::Running);
            client.tell_log_end(log_end);
            self.connected.push(client);
        }
    }

    /// The next request of a client, if it sent a whole and known one.
    pub(super) fn receive(&mut self, index: usize) -> Option<Request> {
        let client = self.connected.get_mut(index)?;
        client.behind = false;
        self.packet.resize(INPUT_MAX + 16, 0);
        let mut received = recv(&client.socket, &mut *self.packet, RecvFlags::DONTWAIT);
        // A client that left without reading our notices resets the connection. The kernel tells
        // of that once, before the packets that it sent earlier.
        if matches!(received, Err(rustix::io::Errno::CONNRESET)) {
            received = recv(&client.socket, &mut *self.packet, RecvFlags::DONTWAIT);
        }
        let request = match received {
            Ok((0, _)) => {
                client.gone = true;
                None
            }
            Ok((length, _)) => Request::decode(&self.packet[..length]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
            Err(_) => {
                client.gone = true;
                None
            }
        };
        client.feeds |= matches!(request, Some(Request::Input(_)));
        // Idle supervisors hold no buffers.
        self.packet = Vec::new();
        request
    }

    /// Tells everyone who does not know yet where the log ends.
    pub(super) fn announce(&mut self, log_end: u64) {
        for client in &mut self.connected {
            client.tell_log_end(log_end);
        }
        self.connected.retain(|client| !client.gone);
    }

    pub(super) fn broadcast(&mut self, notice: Notice) {
        for client in &mut self.connected {
            client.tell(notice);
        }
    }
}

impl Client {
    fn tell_log_end(&mut self, log_end: u64) {
        if self.told != Some(log_end) && !self.behind && self.tell(Notice::LogEnd(log_end)) {
            self.told = Some(log_end);
        }
    }

    /// Whether the notice went out. Nobody waits for a client that does not read.
    fn tell(&mut self, notice: Notice) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match send(&self.socket, &notice.encode(), flags) {
            Ok(_) => true,
            Err(rustix::io::Errno::AGAIN) => {
                self.behind = true;
                false
            }
            // It left, but may have said something before: a client that sends a stop and goes
            // away at once is still to be heard. `receive` finds its end.
            Err(_) => false,
        }
    }
}
