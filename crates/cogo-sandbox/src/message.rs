//! Messages between processes of ours: JSON with descriptors beside it.
//!
//! Both ends are the same binary, so the form may change with every version. A message is a
//! `u32` length, the JSON text, and at most [`DESCRIPTORS_MAX`] descriptors that ride on the
//! first byte.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most descriptors beside one message. The kernel's own bound is 253.
pub(crate) const DESCRIPTORS_MAX: usize = 250;

/// A message longer than this is a mistake; the largest honest one holds a full environment.
const LENGTH_MAX: usize = 32 << 20;

/// A connected pair of stream sockets, both closed on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message; blocks while the socket is full.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len())
        .map_err(|_| io::ErrorKind::InvalidInput)?
        .to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        socket,
        &[IoSlice::new(&length), IoSlice::new(&text)],
        &mut beside,
        SendFlags::NOSIGNAL,
    )?;
    let whole = [&length[..], &text].concat();
    let mut rest = &whole[sent..];
    while !rest.is_empty() {
        let sent = send_some(socket, rest)?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// Waits for one message. `None` when the other end is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0_u8; 4];
    let (read, descriptors) = receive_with_descriptors(socket, &mut length)?;
    if read == 0 || !receive_exact(socket, &mut length[read..])? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LENGTH_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    if !receive_exact(socket, &mut text)? {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&text)?, descriptors)))
}

/// Puts one end of a connection into a queue, from which another process takes it without
/// anyone's help: the queue is a socket, and what nobody takes is closed with it.
pub(crate) fn put(queue: BorrowedFd<'_>, connection: BorrowedFd<'_>) -> io::Result<()> {
    send(queue, &(), &[connection])
}

/// Takes what was put into a queue; waits while it is empty. `None` when nobody will put more.
pub(crate) fn take(queue: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let message = receive::<()>(queue)?;
    Ok(message.and_then(|((), beside)| beside.into_iter().next()))
}

/// As [`take`], without waiting: `None` also when the queue is empty.
pub(crate) fn take_ready(queue: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut polled = [PollFd::from_borrowed_fd(queue, PollFlags::IN)];
    let now = Timespec::default();
    match poll(&mut polled, Some(&now))? {
        0 => Ok(None),
        _ => take(queue),
    }
}

/// Whether the process on the other side is gone.
pub(crate) fn is_hung_up(socket: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let now = Timespec::default();
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}

fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match recvmsg(socket, &mut slices, &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok((0, Vec::new())),
            other => break other?,
        }
    };
    let descriptors = beside
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((received.bytes, descriptors))
}

/// Fills the buffer; false when the other end is gone before that.
fn receive_exact(socket: BorrowedFd<'_>, mut buffer: &mut [u8]) -> io::Result<bool> {
    while !buffer.is_empty() {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => return Ok(false),
            Ok((read, _)) => buffer = &mut buffer[read..],
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(true)
}

fn send_some(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
