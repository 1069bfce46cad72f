//! Who inside can go on by itself, and who waits for others inside.
//!
//! Everything a thread can wait for is changed by a thread of the exec, by time, by a device, or
//! by somebody outside. When no thread runs, none has a timer and none waits for anything
//! outside, then nothing inside will ever run again: what is left waits for itself.

use std::time::Duration;

use cogo_sandbox::evidence::{Call, Channel, LockHolder, Process, Sample, Target, Thread, Timeout};

/// What keeps a thread going, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs, or waits for a device that will answer.
    Active,
    /// Something outside of the exec can wake it.
    Outside,
    /// It wakes by itself; after what time, if that is known.
    Timed(Option<Duration>),
    /// Only whoever holds the exec's input can wake it.
    Input,
    /// Only others inside can wake it.
    Inside,
    /// It ended.
    Gone,
}

/// What keeps a thread going.
pub(super) fn life(thread: &Thread) -> Life {
    let wait = &thread.wait;
    let lasting = match &wait.call {
        Call::Running | Call::Disk | Call::Other { .. } | Call::Hidden => Life::Active,
        Call::Zombie => Life::Gone,
        Call::Lock(LockHolder::Outside(_)) => Life::Outside,
        Call::Read | Call::Poll | Call::Accept | Call::Connect | Call::Stopped => {
            among(wait.on.iter().map(readable))
        }
        Call::Write => among(wait.on.iter().map(writable)),
        Call::Sleep
        | Call::Futex { .. }
        | Call::Open
        | Call::Child
        | Call::Lock(LockHolder::Inside(_) | LockHolder::Unknown)
        | Call::Signal
        | Call::Message => Life::Inside,
    };
    match (wait.timeout, lasting) {
        (Timeout::Never, lasting) => lasting,
        // Whatever may come earlier, time will.
        (Timeout::After(_), Life::Active | Life::Gone) => lasting,
        (Timeout::After(_), Life::Outside) => Life::Outside,
        (Timeout::After(left), Life::Timed(other)) => Life::Timed(left.or(other)),
        (Timeout::After(left), Life::Input | Life::Inside) => Life::Timed(left),
    }
}

/// The strongest of several ways to be woken.
fn among(lives: impl Iterator<Item = Life>) -> Life {
    let strength = |life: &Life| match life {
        Life::Active => 5,
        Life::Outside => 4,
        Life::Timed(_) => 3,
        Life::Input => 2,
        Life::Inside => 1,
        Life::Gone => 0,
    };
    // Who waits for no descriptor at all waits for a signal.
    lives.max_by_key(strength).unwrap_or(Life::Inside)
}

/// Who makes something readable.
fn readable(target: &Target) -> Life {
    match target {
        Target::Input { .. } => Life::Input,
        Target::Pipe(channel) if channel.writers.is_empty() => Life::Outside,
        Target::Pipe(_)
        | Target::NamedPipe { .. }
        | Target::Terminal
        | Target::Connection(_)
        | Target::Event
        | Target::Timer { left: None }
        | Target::Process
        // The supervisor never writes to what it reads from.
        | Target::Output => Life::Inside,
        Target::Timer { left } => Life::Timed(*left),
        Target::Listener { .. } | Target::Remote { .. } | Target::FileChanges => Life::Outside,
        // Devices and sockets of which the kernel does not say who is at the other end.
        Target::File | Target::Other { .. } => Life::Active,
    }
}

/// Who makes room to write.
fn writable(target: &Target) -> Life {
    match target {
        Target::Pipe(channel) if channel.readers.is_empty() => Life::Outside,
        // The supervisor reads whatever comes.
        Target::Output | Target::Input { .. } => Life::Active,
        other => readable(other),
    }
}

/// Whether a thread waits for the exec's input.
pub(super) fn wants_input(thread: &Thread) -> bool {
    matches!(thread.wait.call, Call::Read | Call::Poll | Call::Stopped)
        && thread.wait.on.iter().any(is_input)
}

fn is_input(target: &Target) -> bool {
    matches!(target, Target::Input { .. })
}

/// Whether a thread cannot write because nobody makes room.
pub(super) fn is_full(thread: &Thread) -> bool {
    thread.wait.call == Call::Write && matches!(life(thread), Life::Inside)
}

/// The two ends of what a thread reads from or writes to.
pub(super) fn channel(thread: &Thread) -> Option<&Channel> {
    match thread.wait.on.first()? {
        Target::Pipe(channel) | Target::Connection(channel) => Some(channel),
        _ => None,
    }
}

/// Whether a thread asked for nothing but time.
pub(super) fn sleeps_on_purpose(thread: &Thread) -> bool {
    thread.wait.call == Call::Sleep
}

/// All threads, each with its process.
pub(super) fn threads(sample: &Sample) -> impl Iterator<Item = (&Process, &Thread)> {
    let processes = sample.processes.iter();
    processes.flat_map(|process| process.threads.iter().map(move |thread| (process, thread)))
}

/// A process by its id.
pub(super) fn process(sample: &Sample, pid: i32) -> Option<&Process> {
    sample.processes.iter().find(|process| process.pid == pid)
}

/// Whether all threads of a process wait, and those that a timer wakes wait for longer than that.
pub(super) fn sleeps_longer_than(process: &Process, time: Duration) -> bool {
    process.threads.iter().all(|thread| match life(thread) {
        Life::Active | Life::Timed(None) => false,
        Life::Timed(Some(left)) => left > time,
        Life::Outside | Life::Input | Life::Inside | Life::Gone => true,
    })
}
