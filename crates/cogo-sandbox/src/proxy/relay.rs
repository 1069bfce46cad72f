//! Carries bytes both ways between a client and a server until both, or one of them, are done.
//!
//! One thread and one buffer serve both directions. A direction reads only when all it has read
//! is written, so a slow reader slows its writer and nothing piles up.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::stream::{READ_BYTES, is_retry, wait};

/// Decides what of a direction's bytes is passed on.
pub(super) trait Filter {
    /// Appends what is to be passed on of `input`.
    fn pass(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Flow, FilterError>;

    /// Called at the end of the stream; an error says that it came too early.
    fn at_end(&mut self) -> Result<(), FilterError>;
}

/// Whether a filter takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It does.
    More,
    /// All that belongs to it has been passed on; the rest is not read.
    Complete,
}

/// Why a filter does not go on, for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterError(pub(super) &'static str);

/// Passes everything on.
pub(super) struct Everything;

impl Filter for Everything {
    fn pass(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Flow, FilterError> {
        output.extend_from_slice(input);
        Ok(Flow::More)
    }

    fn at_end(&mut self) -> Result<(), FilterError> {
        Ok(())
    }
}

/// When a relay is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Both sides have said their last.
    BothEnd,
    /// The server has.
    ServerEnds,
}

/// Why a relay ended before its time.
#[derive(Debug)]
pub(super) enum RelayError {
    /// The client is gone.
    Client(io::Error),
    /// The server is gone.
    Server(io::Error),
    /// Neither side sent anything for too long.
    Idle,
    /// What the client sent is not passed on.
    ClientBytes(FilterError),
    /// What the server sent is not passed on.
    ServerBytes(FilterError),
}

/// The two directions between a client and a server.
pub(super) struct Relay<'s, U, D> {
    client: &'s TcpStream,
    server: &'s TcpStream,
    upload: Direction<U>,
    download: Direction<D>,
    until: Until,
}

struct Direction<F> {
    filter: F,
    state: State,
    /// Passed by the filter and not yet written.
    pending: Vec<u8>,
    written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The filter has all that it wants; what is pending is still to be written.
    Complete,
    /// The source has ended; once all is written the sink is told.
    Ended,
    Closed,
}

impl<'s, U: Filter, D: Filter> Relay<'s, U, D> {
    /// Both connections must be non-blocking.
    pub(super) fn new(
        client: &'s TcpStream,
        server: &'s TcpStream,
        upload: U,
        download: D,
        until: Until,
    ) -> Self {
        let (upload, download) = (Direction::new(upload), Direction::new(download));
        Self {
            client,
            server,
            upload,
            download,
            until,
        }
    }

    /// Sends these bytes to the server first, past the filter.
    pub(super) fn send_first(&mut self, bytes: &[u8]) {
        self.upload.pending.extend_from_slice(bytes);
    }

    /// Hands in bytes of the client that were read before, through the filter.
    pub(super) fn take_client_bytes(&mut self, bytes: &[u8]) -> Result<(), RelayError> {
        self.upload.take(bytes).map_err(RelayError::ClientBytes)
    }

    /// Bytes written to the server so far.
    pub(super) fn sent(&self) -> u64 {
        self.upload.written
    }

    /// Bytes written to the client so far.
    pub(super) fn received(&self) -> u64 {
        self.download.written
    }

    /// Carries bytes until the end. Gives up when nothing moves for `idle_timeout`.
    pub(super) fn run(&mut self, idle_timeout: Duration) -> Result<(), RelayError> {
        let mut buffer = vec![0; READ_BYTES];
        self.write_upload();
        loop {
            if self.is_over() {
                return Ok(());
            }
            let (client, server) = self.wait(idle_timeout)?;
            if !client.is_empty() {
                self.write_download()?;
                if self.upload.wants_bytes() {
                    self.read_client(&mut buffer)?;
                    self.write_upload();
                } else if client.intersects(PollFlags::ERR | PollFlags::HUP) {
                    return Err(RelayError::Client(io::ErrorKind::ConnectionReset.into()));
                }
            }
            if !server.is_empty() {
                self.write_upload();
                if self.download.wants_bytes() {
                    self.read_server(&mut buffer)?;
                    self.write_download()?;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let client_done = self.until == Until::ServerEnds || self.upload.state == State::Closed;
        self.download.state == State::Closed && client_done
    }

    fn wait(&self, idle_timeout: Duration) -> Result<(PollFlags, PollFlags), RelayError> {
        let events = |reads: bool, writes: bool| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, reads);
            events.set(PollFlags::OUT, writes);
            events
        };
        let client = events(self.upload.wants_bytes(), self.download.has_pending());
        let server = events(self.download.wants_bytes(), self.upload.has_pending());
        let mut fds = [
            PollFd::from_borrowed_fd(self.client.as_fd(), client),
            PollFd::from_borrowed_fd(self.server.as_fd(), server),
        ];
        // A side that is waited for in neither way still reports that it is gone, again and again.
        // Of the server that is learned with the next read or write; of the client it matters
        // while it is owed something.
        let watches_client = !client.is_empty() || self.download.state != State::Closed;
        let watched = usize::from(!watches_client)..(1 + usize::from(!server.is_empty()));
        match wait(&mut fds[watched], Instant::now() + idle_timeout) {
            Ok(()) => Ok((fds[0].revents(), fds[1].revents())),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(RelayError::Idle),
            Err(error) => Err(RelayError::Client(error)),
        }
    }

    fn read_client(&mut self, buffer: &mut [u8]) -> Result<(), RelayError> {
        match read_some(self.client, buffer).map_err(RelayError::Client)? {
            None => Ok(()),
            Some(0) => self.upload.end().map_err(RelayError::ClientBytes),
            Some(count) => self
                .upload
                .take(&buffer[..count])
                .map_err(RelayError::ClientBytes),
        }
    }

    fn read_server(&mut self, buffer: &mut [u8]) -> Result<(), RelayError> {
        match read_some(self.server, buffer).map_err(RelayError::Server)? {
            None => Ok(()),
            Some(0) => self.download.end().map_err(RelayError::ServerBytes),
            Some(count) => self
                .download
                .take(&buffer[..count])
                .map_err(RelayError::ServerBytes),
        }
    }

    /// A server may stop listening before the client has said all, and still answer: a failure
    /// here ends the upload alone.
    fn write_upload(&mut self) {
        if self.upload.write_to(self.server).is_err() {
            self.upload.pending.clear();
            self.upload.state = State::Closed;
        }
    }

    fn write_download(&mut self) -> Result<(), RelayError> {
        self.download
            .write_to(self.client)
            .map_err(RelayError::Client)
    }
}

impl<F: Filter> Direction<F> {
    fn new(filter: F) -> Self {
        Self {
            filter,
            state: State::Open,
            pending: Vec::new(),
            written: 0,
        }
    }

    fn wants_bytes(&self) -> bool {
        self.state == State::Open && self.pending.is_empty()
    }

    fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), FilterError> {
        if self.filter.pass(bytes, &mut self.pending)? == Flow::Complete {
            self.state = State::Complete;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), FilterError> {
        self.filter.at_end()?;
        self.state = State::Ended;
        Ok(())
    }

    /// Writes what can be written now, and passes the end on once all is.
    fn write_to(&mut self, mut sink: &TcpStream) -> io::Result<()> {
        let mut done = 0;
        while done < self.pending.len() {
            match sink.write(&self.pending[done..]) {
                Ok(count) => done += count,
                Err(error) if is_retry(&error) => break,
                Err(error) => return Err(error),
            }
        }
        self.written += done as u64;
        self.pending.drain(..done);
        if self.pending.is_empty() {
            match self.state {
                State::Open | State::Closed => {}
                // The server is not told: some take a half-closed client for one that left.
                State::Complete => self.state = State::Closed,
                State::Ended => {
                    self.state = State::Closed;
                    sink.shutdown(Shutdown::Write)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads what is there; `None` if nothing is, 0 at the end of the stream.
fn read_some(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(count) => Ok(Some(count)),
        Err(error) if is_retry(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
