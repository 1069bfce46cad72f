//! Small files of `/proc`: one `open`, one or few `read`, no `stat`.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Most bytes taken from one file. Tables longer than this are cut.
const LENGTH_MAX: usize = 256 * 1024;

/// Reads a file whole.
pub(super) fn read(path: &str) -> io::Result<String> {
    let bytes = read_bytes(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_bytes(path: &str) -> io::Result<Vec<u8>> {
    let file = open(path, OFlags::RDONLY)?;
    let mut buffer = [0_u8; 4096];
    let mut bytes = Vec::new();
    while bytes.len() < LENGTH_MAX {
        match rustix::io::read(&file, &mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

pub(super) fn open(path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// The numbers that a directory's entries are named by.
pub(super) fn numbers_in(path: &str) -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir(path)?.filter_map(Result::ok);
    Ok(entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// The value behind `key` in a file of `key: value` lines.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
}

/// A piece of another process's memory.
pub(super) fn memory<const LENGTH: usize>(pid: i32, address: u64) -> Option<[u8; LENGTH]> {
    let mut bytes = [0_u8; LENGTH];
    let file = open(&format!("/proc/{pid}/mem"), OFlags::RDONLY).ok()?;
    let read = rustix::io::pread(&file, &mut bytes, address).ok()?;
    (read == LENGTH).then_some(bytes)
}

/// As many bytes of another process's memory.
pub(super) fn memory_vec(pid: i32, address: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    let file = open(&format!("/proc/{pid}/mem"), OFlags::RDONLY).ok()?;
    let read = rustix::io::pread(&file, &mut bytes, address).ok()?;
    (read == length).then_some(bytes)
}
