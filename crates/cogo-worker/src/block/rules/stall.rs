//! Waiting for a reader that does not read, an end that does not come, a server that is silent.

use std::time::{Duration, Instant};

use cogo_protocol::block::BlockReason;
use cogo_sandbox::evidence::{Call, Channel, Process, Target, Thread, Timeout};

use super::{Finding, View};
use crate::block::life::{self, Life};
use crate::block::words;

/// Nothing inside can go on, and exactly one process writes to something full: whoever could read
/// it waits for something else. Where two write to each other, they wait for each other.
pub(super) fn nobody_reads(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.still, view.thresholds.still) || view.may_get_input() {
        return None;
    }
    let writers = || life::threads(view.sample).filter(|(_, thread)| life::is_full(thread));
    let (process, thread) = writers().next()?;
    let one_process = writers().all(|(other, _)| other.pid == process.pid);
    let waits_for_each_other = !one_process && writers().count() > 1 && in_a_circle(view);
    if waits_for_each_other {
        return None;
    }
    Some(stalled(view, process, thread, view.trace.still))
}

/// Whether every reader of what is full is itself a process that cannot write.
fn in_a_circle(view: &View<'_>) -> bool {
    let full = || life::threads(view.sample).filter(|(_, thread)| life::is_full(thread));
    let is_writer = |pid: i32| full().any(|(process, _)| process.pid == pid);
    full().all(|(process, thread)| {
        let readers = life::channel(thread).map(|channel| channel.readers.as_slice());
        let mut others = readers
            .into_iter()
            .flatten()
            .filter(|pid| **pid != process.pid);
        others.any(|pid| is_writer(*pid))
    })
}

/// A thread cannot write because the pipe is full, and every process that could read it sleeps
/// for longer than any pause in work.
pub(super) fn readers_sleep(view: &View<'_>) -> Option<Finding> {
    let (process, thread) = life::threads(view.sample).find(|(_, thread)| life::is_full(thread))?;
    let since = view.trace.asleep_since(thread.tid);
    if !view.has_held(since, view.thresholds.stall) {
        return None;
    }
    let readers = &life::channel(thread)?.readers;
    let asleep = readers.iter().all(|pid| is_away(view, *pid));
    // The reader may be another thread of the writer, which is awake if it has anything to do.
    (asleep && !readers.is_empty()).then(|| stalled(view, process, thread, since))
}

/// Whether a process is one that nothing can be expected from for a long time.
fn is_away(view: &View<'_>, pid: i32) -> bool {
    life::process(view.sample, pid)
        .is_none_or(|process| life::sleeps_longer_than(process, view.thresholds.long_sleep))
}

/// The tree is quiet, and a thread reads a pipe to its end; all that still hold the other end are
/// orphans that do not write: whoever was meant to write has ended. The end never comes while
/// they live.
pub(super) fn held_open(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.quiet, view.thresholds.stall) {
        return None;
    }
    let (process, thread, writers) = life::threads(view.sample).find_map(|(process, thread)| {
        let writers = &life::channel(thread)
            .filter(|_| thread.wait.call == Call::Read)?
            .writers;
        let orphans = writers.iter().all(|pid| is_orphan(view, *pid));
        (orphans && !writers.contains(&process.pid)).then_some((process, thread, writers))
    })?;
    let away = writers.iter().all(|pid| is_away(view, *pid));
    if !away || writers.is_empty() {
        return None;
    }
    let holders = writers
        .iter()
        .filter_map(|pid| life::process(view.sample, *pid));
    let names: Vec<String> = holders.map(words::process).collect();
    Some(Finding {
        reason: BlockReason::Deadlock,
        since: view.trace.quiet,
        evidence: vec![
            words::wait(process, thread),
            format!(
                "the pipe is only held open by {}, whose parent has ended",
                names.join(" and ")
            ),
        ],
    })
}

fn is_orphan(view: &View<'_>, pid: i32) -> bool {
    let found = life::process(view.sample, pid);
    found.is_some_and(|process| process.parent == view.sample.init && pid != view.sample.command)
}

/// A thread waits for an answer over a connection inside, and the other side sleeps for longer
/// than any pause in work. If what was sent lies unread there, nobody will answer; if it was read,
/// the same follows where the exec itself waits for that answer.
pub(super) fn nobody_answers(view: &View<'_>) -> Option<Finding> {
    const SETTLED: Duration = Duration::from_secs(5);
    if !view.has_held(view.trace.quiet, view.thresholds.stall) {
        return None;
    }
    let settled = view.has_held(view.trace.quiet, SETTLED);
    let (process, thread, channel) = life::threads(view.sample).find_map(|(process, thread)| {
        let channel = thread.wait.on.iter().find_map(connection)?;
        let reads = thread.wait.call == Call::Read && thread.wait.timeout == Timeout::Never;
        let asks = if channel.unread > 0 {
            reads || thread.wait.call == Call::Poll
        } else {
            reads && settled && view.is_waited_for(process)
        };
        let away = channel.readers.iter().all(|pid| is_away(view, *pid));
        (asks && away && !channel.readers.is_empty()).then_some((process, thread, channel))
    })?;
    let mut evidence = vec![words::wait(process, thread)];
    if channel.unread > 0 {
        evidence.push("what it sent lies unread on the other side".to_owned());
    }
    evidence.extend(words::others(view.sample, thread.tid));
    Some(Finding {
        reason: BlockReason::Deadlock,
        since: view.trace.quiet,
        evidence,
    })
}

fn connection(target: &Target) -> Option<&Channel> {
    match target {
        Target::Connection(channel) => Some(channel),
        _ => None,
    }
}

/// The tree is quiet, and what was asked for waits for somebody outside who has been silent for
/// long. A server that waits for clients does not wait for an answer.
pub(super) fn remote_is_silent(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.quiet, view.thresholds.remote) {
        return None;
    }
    let is_remote = |target: &Target| matches!(target, Target::Remote { .. });
    let waits = |(_, thread): &(&Process, &Thread)| {
        let asks = matches!(thread.wait.call, Call::Read | Call::Poll | Call::Connect);
        asks && thread.wait.on.iter().any(is_remote)
    };
    let serves = life::threads(view.sample).any(|(_, thread)| {
        thread
            .wait
            .on
            .iter()
            .any(|target| matches!(target, Target::Listener { .. }))
    });
    let (process, thread) = life::threads(view.sample).find(waits)?;
    (!serves).then(|| Finding {
        reason: BlockReason::Unknown,
        since: view.trace.quiet,
        evidence: vec![
            words::wait(process, thread),
            "nothing has come from outside, and nothing else happens".to_owned(),
        ],
    })
}

/// The tree wakes by timers only to sleep again, for very long, and says and achieves nothing. It
/// polls for something that does not happen. A single long sleep is asked for, and no polling.
pub(super) fn only_wakes_to_sleep(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.quiet, view.thresholds.idle_time) {
        return None;
    }
    let lives = || life::threads(view.sample).map(|(_, thread)| life::life(thread));
    let outside = lives().any(|life| life == Life::Outside);
    let asleep_long = life::threads(view.sample).any(|(_, thread)| {
        let asleep = view.trace.asleep_since(thread.tid);
        thread.wait.call == Call::Sleep && view.has_held(asleep, view.thresholds.stall)
    });
    if outside || asleep_long || view.may_get_input() {
        return None;
    }
    let mut evidence = vec!["it only wakes to sleep again".to_owned()];
    evidence.extend(words::others(view.sample, 0));
    Some(Finding {
        reason: BlockReason::Unknown,
        since: view.trace.quiet,
        evidence,
    })
}

fn stalled(view: &View<'_>, process: &Process, thread: &Thread, since: Option<Instant>) -> Finding {
    let mut evidence = vec![words::wait(process, thread)];
    let readers = life::channel(thread).map(|channel| channel.readers.as_slice());
    for pid in readers.into_iter().flatten() {
        if let Some(reader) = life::process(view.sample, *pid) {
            evidence.push(format!(
                "{} could read it, and does not",
                words::process(reader)
            ));
        }
    }
    evidence.extend(words::others(view.sample, thread.tid));
    Finding {
        reason: BlockReason::OutputStalled,
        since,
        evidence,
    }
}
