//! File locks, from `/proc/locks`.

use super::LockHolder;
use super::proc_file;

/// Who holds the lock that the process waits for.
pub(super) fn holder(pid: i32, is_inside: impl Fn(i32) -> bool) -> LockHolder {
    let table = proc_file::read("/proc/locks").unwrap_or_default();
    match holder_in(&table, pid) {
        Some(holder) if is_inside(holder) => LockHolder::Inside(holder),
        // An open file description keeps a lock after the process that took it is gone.
        Some(holder) if holder > 0 && is_alive(holder) => LockHolder::Outside(holder),
        Some(_) | None => LockHolder::Unknown,
    }
}

fn is_alive(pid: i32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

/// A waiter's line has the number of the lock and an arrow: `3: -> FLOCK ADVISORY WRITE 21 …`.
fn holder_in(table: &str, pid: i32) -> Option<i32> {
    let lines = || table.lines().filter_map(Line::parse);
    let waiter = lines().find(|line| line.waits && line.pid == pid)?;
    lines()
        .find(|line| !line.waits && line.number == waiter.number)
        .map(|line| line.pid)
}

struct Line<'a> {
    number: &'a str,
    waits: bool,
    pid: i32,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().peekable();
        let number = fields.next()?;
        let waits = fields.next_if_eq(&"->").is_some();
        let pid = fields.nth(3)?.parse().ok()?;
        Some(Self { number, waits, pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "1: FLOCK  ADVISORY  WRITE 23009 fe:00:5464243 0 EOF\n\
        2: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
        2: -> POSIX  ADVISORY  WRITE 12 fe:00:77 0 EOF\n\
        3: OFDLCK ADVISORY  READ -1 00:06:1028 0 EOF\n";

    #[test]
    fn a_waiter_finds_the_holder_of_its_lock() {
        assert_eq!(holder_in(TABLE, 12), Some(11));
        assert_eq!(holder_in(TABLE, 11), None);
        assert_eq!(holder_in(TABLE, 99), None);
    }
}
