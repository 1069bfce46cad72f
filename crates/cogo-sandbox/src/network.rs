//! Network namespaces made ahead of need.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::sys;

/// Makes a network namespace with nothing but a loopback that is up. The calling process must
/// be single-threaded; it is back in its own network afterwards.
pub(crate) fn make() -> io::Result<OwnedFd> {
    let own = File::open("/proc/self/ns/net")?;
    // SAFETY: one thread, and descriptors stay shared with nobody.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
    let made = sys::loopback_up().and_then(|()| File::open("/proc/self/ns/net"));
    enter(own.as_fd())?;
    Ok(made?.into())
}

/// Enters a network namespace; returns the one left.
pub(crate) fn exchange(namespace: &OwnedFd) -> io::Result<OwnedFd> {
    let own = File::open("/proc/self/ns/net")?;
    enter(namespace.as_fd())?;
    Ok(own.into())
}

fn enter(namespace: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(
        namespace,
        Some(LinkNameSpaceType::Network),
    )?)
}
