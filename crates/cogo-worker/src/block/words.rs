//! Evidence in words.

use std::time::Duration;

use cogo_sandbox::evidence::{Call, LockHolder, Process, Sample, Target, Thread, Timeout};

use super::life::{self, Life};

/// Most threads that are told of.
pub(super) const LINES_MAX: usize = 8;

pub(super) fn process(process: &Process) -> String {
    format!("{} ({})", process.name, process.pid)
}

/// What a thread waits for.
pub(super) fn wait(process: &Process, thread: &Thread) -> String {
    let who = if thread.tid == process.pid {
        self::process(process)
    } else {
        format!("thread {} of {}", thread.tid, self::process(process))
    };
    let limit = match thread.wait.timeout {
        Timeout::Never => String::new(),
        Timeout::After(None) => " for a time".to_owned(),
        Timeout::After(Some(left)) => format!(" for {} at most", time(left)),
    };
    let place = match thread.kernel_function.as_str() {
        "" => String::new(),
        function => format!(" [{function}]"),
    };
    format!("{who} {}{limit}{place}", call(thread))
}

fn call(thread: &Thread) -> String {
    match &thread.wait.call {
        Call::Running => "runs".to_owned(),
        Call::Disk => "waits for a device".to_owned(),
        Call::Sleep => "sleeps".to_owned(),
        Call::Futex { address, owner } => {
            let owner = owner.map_or_else(String::new, |tid| format!(", held by thread {tid}"));
            format!("waits for another thread at {address:#x}{owner}")
        }
        Call::Read => format!("reads {}", targets(thread)),
        Call::Write => format!("writes to {}", targets(thread)),
        Call::Poll if thread.wait.on.is_empty() => "waits for nothing".to_owned(),
        Call::Poll => format!("waits for {}", targets(thread)),
        Call::Accept => "waits for a client".to_owned(),
        Call::Connect => format!("connects to {}", targets(thread)),
        Call::Open => "opens a named pipe that has no other end".to_owned(),
        Call::Child => "waits for a child".to_owned(),
        Call::Lock(LockHolder::Inside(pid)) => {
            format!("waits for a file lock that process {pid} inside holds")
        }
        Call::Lock(LockHolder::Outside(pid)) => {
            format!("waits for a file lock that process {pid} outside holds")
        }
        Call::Lock(LockHolder::Unknown) => "waits for a file lock".to_owned(),
        Call::Signal => "waits for a signal".to_owned(),
        Call::Message => "waits for a semaphore or message".to_owned(),
        Call::Stopped => "is stopped".to_owned(),
        Call::Zombie => "has ended and was not asked how".to_owned(),
        Call::Other { number } => format!("is in system call {number}"),
        Call::Hidden => "sleeps where it cannot be seen".to_owned(),
    }
}

fn targets(thread: &Thread) -> String {
    let mut names: Vec<String> = thread.wait.on.iter().map(target).collect();
    names.dedup();
    let more = names.len().saturating_sub(4);
    names.truncate(4);
    let list = names.join(", ");
    if more > 0 {
        format!("{list} and {more} more")
    } else {
        list
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Input {
            descriptor,
            terminal: true,
        } => format!("its terminal (descriptor {descriptor})"),
        Target::Input { descriptor: 0, .. } => "its standard input".to_owned(),
        Target::Input { descriptor, .. } => format!("its input (descriptor {descriptor})"),
        Target::Output => "its output".to_owned(),
        Target::Pipe(channel) => format!("pipe {}", channel.inode),
        Target::NamedPipe { path } => format!("named pipe `{path}`"),
        Target::Terminal => "a terminal made inside".to_owned(),
        Target::Listener { waiting: 0 } => "clients".to_owned(),
        Target::Listener { waiting } => format!("clients, of which {waiting} wait"),
        Target::Connection(channel) => format!("connection {} inside", channel.inode),
        Target::Remote { peer } => format!("connection to {peer}"),
        Target::Event => "an event of its own".to_owned(),
        Target::Timer { left: None } => "a timer that is not set".to_owned(),
        Target::Timer { left: Some(left) } => format!("a timer in {}", time(*left)),
        Target::Process => "a signal or the end of a process".to_owned(),
        Target::FileChanges => "changes of files".to_owned(),
        Target::File => "a file".to_owned(),
        Target::Other { name } => name.clone(),
    }
}

/// Who reads the exec's input, and that nobody sends any.
pub(super) fn input_wait(process: &Process, thread: &Thread) -> String {
    let is_terminal = thread
        .wait
        .on
        .iter()
        .any(|target| matches!(target, Target::Input { terminal: true, .. }));
    let who = self::process(process);
    match (&thread.wait.call, is_terminal) {
        (Call::Stopped, _) => {
            format!("{who} was stopped because it read its terminal in the background")
        }
        (_, true) => format!("{who} reads its terminal, and nobody types"),
        (_, false) => format!("{who} reads its standard input, to which nobody writes"),
    }
}

/// The waits of the other threads.
pub(super) fn others(sample: &Sample, tid: i32) -> Vec<String> {
    let others = life::threads(sample)
        .filter(|(_, thread)| thread.tid != tid && life::life(thread) != Life::Gone);
    others
        .take(LINES_MAX)
        .map(|(process, thread)| wait(process, thread))
        .collect()
}

/// A time for a reader, in a unit that fits.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// A size for a reader.
pub(super) fn bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 {
        format!("{mebibytes:.1} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}

pub(super) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
