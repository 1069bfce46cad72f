//! Bodies as threads that may block read and write them, a piece at a time.

use std::io::{self, Read, Write};

use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt, stream};
use rustix::io::Errno;
use tokio::sync::mpsc;

/// Pieces of a body on their way. What is not read waits at the client.
const PIECES_MAX: usize = 8;

type Piece = io::Result<Bytes>;

/// A request's body, for a thread that may block.
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    left: usize,
    /// Why it cannot be read on.
    pub(super) failure: Option<Errno>,
}

/// Hands a body over to its reader. Ends when it is read or the reader is gone.
pub(super) async fn feed(body: Body, pieces: mpsc::Sender<Piece>) {
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        if pieces.send(piece.map_err(io::Error::other)).await.is_err() {
            return;
        }
    }
}

impl BodyReader {
    /// A reader of so many bytes at most, and where they come from.
    pub(super) fn new(bytes_max: usize) -> (mpsc::Sender<Piece>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let reader = Self {
            pieces,
            current: Bytes::new(),
            left: bytes_max,
            failure: None,
        };
        (sender, reader)
    }

    fn fail(&mut self, errno: Errno) -> io::Error {
        self.failure = Some(errno);
        errno.into()
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Err(_)) => return Err(self.fail(Errno::CONNRESET)),
                Some(Ok(piece)) => {
                    let Some(left) = self.left.checked_sub(piece.len()) else {
                        return Err(self.fail(Errno::FBIG));
                    };
                    self.left = left;
                    self.current = piece;
                }
            }
        }
        let len = buffer.len().min(self.current.len());
        buffer[..len].copy_from_slice(&self.current.split_to(len));
        Ok(len)
    }
}

/// An answer's body, for a thread that may block.
pub(super) struct BodyWriter {
    pieces: mpsc::Sender<Piece>,
}

impl BodyWriter {
    /// A writer, and the pieces that it writes.
    pub(super) fn new() -> (Self, impl Stream<Item = Piece>) {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let read = stream::unfold(receiver, |mut receiver| async move {
            let piece = receiver.recv().await?;
            Some((piece, receiver))
        });
        (Self { pieces }, read)
    }

    /// Breaks the answer off, so that nobody takes what was sent for the whole.
    pub(super) fn break_off(self, error: io::Error) {
        // Whoever is gone needs not be told.
        let _ = self.pieces.blocking_send(Err(error));
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.pieces.blocking_send(Ok(piece));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
