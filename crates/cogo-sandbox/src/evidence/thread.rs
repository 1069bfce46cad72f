//! Processes and threads as `/proc` lists them.

use std::time::Duration;

use super::call::Arguments;
use super::proc_file;

/// The fields of `/proc/<pid>/task/<tid>/stat` that are used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stat {
    pub(super) name: String,
    pub(super) state: char,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) terminal: u64,
    pub(super) terminal_group: i32,
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    /// In clock ticks of 10 ms.
    pub(super) ticks: u64,
}

impl Stat {
    pub(super) fn read(pid: i32, tid: i32) -> Option<Self> {
        Self::parse(&proc_file::read(&format!("/proc/{pid}/task/{tid}/stat")).ok()?)
    }

    /// A name may itself hold spaces and parentheses, so the last one ends it.
    fn parse(text: &str) -> Option<Self> {
        let (start, rest) = text.rsplit_once(')')?;
        let (_, name) = start.split_once('(')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| -> Option<u64> { fields.get(index)?.parse().ok() };
        let signed = |index: usize| -> Option<i32> { fields.get(index)?.parse().ok() };
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: signed(1)?,
            group: signed(2)?,
            terminal: number(4)?,
            terminal_group: signed(5)?,
            minor_faults: number(7)?,
            major_faults: number(9)?,
            ticks: number(11)? + number(12)?,
        })
    }
}

/// What the scheduler says of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) cpu: Duration,
    pub(super) queued: Duration,
    pub(super) turns: u64,
}

pub(super) fn schedule(pid: i32, tid: i32) -> Option<Schedule> {
    parse_schedule(&proc_file::read(&format!("/proc/{pid}/task/{tid}/schedstat")).ok()?)
}

fn parse_schedule(text: &str) -> Option<Schedule> {
    let mut fields = text.split_ascii_whitespace();
    let mut next = || fields.next()?.parse().ok();
    Some(Schedule {
        cpu: Duration::from_nanos(next()?),
        queued: Duration::from_nanos(next()?),
        turns: next()?,
    })
}

/// Where a thread is, as `/proc/<pid>/task/<tid>/syscall` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Running,
    /// Asleep, but not in a system call: a page fault, or stopped.
    Outside,
    In(Arguments),
    Hidden,
}

pub(super) fn place(pid: i32, tid: i32) -> Place {
    match proc_file::read(&format!("/proc/{pid}/task/{tid}/syscall")) {
        Ok(text) => parse_place(&text).unwrap_or(Place::Hidden),
        Err(_) => Place::Hidden,
    }
}

fn parse_place(text: &str) -> Option<Place> {
    if text.starts_with("running") {
        return Some(Place::Running);
    }
    let mut fields = text.split_ascii_whitespace();
    let number: i64 = fields.next()?.parse().ok()?;
    if number < 0 {
        return Some(Place::Outside);
    }
    let mut values = [0_u64; 6];
    for value in &mut values {
        *value = u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(Place::In(Arguments { number, values }))
}

/// A thread's id as it knows itself, in the innermost namespace.
pub(super) fn id_inside(pid: i32, tid: i32) -> Option<i32> {
    let text = proc_file::read(&format!("/proc/{pid}/task/{tid}/status")).ok()?;
    let ids = proc_file::value(&text, "NSpid")?;
    ids.split_ascii_whitespace().next_back()?.parse().ok()
}

/// Whether a process has a handler for `SIGQUIT`, by which some runtimes are asked about themselves.
pub fn handles_quit(pid: i32) -> bool {
    let text = proc_file::read(&format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = proc_file::value(&text, "SigCgt");
    let caught = caught.and_then(|bits| u64::from_str_radix(bits, 16).ok());
    caught.is_some_and(|bits| bits & (1 << (libc::SIGQUIT - 1)) != 0)
}

/// The kernel function a thread sleeps in; empty where that is not told.
pub(super) fn kernel_function(pid: i32, tid: i32) -> String {
    let text = proc_file::read(&format!("/proc/{pid}/task/{tid}/wchan")).unwrap_or_default();
    if text == "0" { String::new() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let text = "7 (a) R (b) S 3 7 7 34816 7 4194304 11 0 5 0 120 30 0 0 20 0 1 0 9 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.name.as_str(), stat.state), ("a) R (b", 'S'));
        assert_eq!(
            (stat.parent, stat.terminal, stat.terminal_group),
            (3, 34816, 7)
        );
        assert_eq!(
            (stat.minor_faults, stat.major_faults, stat.ticks),
            (11, 5, 150)
        );
    }

    #[test]
    fn time_and_turns() {
        let expected = Some(Schedule {
            cpu: Duration::from_nanos(915_082),
            queued: Duration::from_nanos(431_503),
            turns: 3,
        });
        assert_eq!(parse_schedule("915082 431503 3\n"), expected);
        assert_eq!(parse_schedule(""), None);
    }

    #[test]
    fn places() {
        assert_eq!(parse_place("running\n"), Some(Place::Running));
        assert_eq!(parse_place("-1 0x7ffd 0x7f2d\n"), Some(Place::Outside));
        let expected = Arguments {
            number: 0,
            values: [3, 0x7f, 1, 0, 0, 0],
        };
        let text = "0 0x3 0x7f 0x1 0x0 0x0 0x0 0x7fff3035ccc8 0x7f2d561162ad\n";
        assert_eq!(parse_place(text), Some(Place::In(expected)));
        assert_eq!(parse_place("0 0x3"), None);
    }
}
