//! Small control files: read whole, written with one `write`.
//!
//! The standard library's `fs::read_to_string` asks for size and position first, which these
//! files cannot answer; at several files per exec the extra calls are worth avoiding.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens a control file; the descriptor does not pass an `execve`.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Reads a whole control file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    read_to_end(&open(path, OFlags::RDONLY)?)
}

/// Reads an open control file from its current position to its end.
pub(super) fn read_to_end(file: impl AsFd) -> io::Result<String> {
    let mut buffer = [0_u8; 4096];
    let mut bytes = Vec::new();
    loop {
        match rustix::io::read(file.as_fd(), &mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a value in one call, as control files demand.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    rustix::io::write(open(path, OFlags::WRONLY)?, value.as_bytes())?;
    Ok(())
}

/// The number of a file that holds only one.
pub(super) fn read_number(path: &Path) -> io::Result<u64> {
    let text = read(path)?;
    text.trim()
        .parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The value behind `key` in a file of `key value` lines.
pub(super) fn keyed_number(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
}

/// The process ids of a `cgroup.procs` file. Processes of a foreign pid namespace show as 0 and
/// are left out: nothing can be done to them by id.
pub(super) fn parse_pids(text: &str) -> impl Iterator<Item = i32> {
    text.lines()
        .filter_map(|line| line.trim().parse().ok())
        .filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_number_matches_whole_keys_only() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(keyed_number(events, "oom"), Some(3));
        assert_eq!(keyed_number(events, "oom_kill"), Some(2));
        assert_eq!(keyed_number(events, "oom_k"), None);
        assert_eq!(keyed_number("", "max"), None);
        assert_eq!(keyed_number("max x\n", "max"), None);
    }

    #[test]
    fn pids_of_foreign_namespaces_are_left_out() {
        assert_eq!(parse_pids("12\n0\n7\n").collect::<Vec<_>>(), [12, 7]);
        assert_eq!(parse_pids("").count(), 0);
    }
}
