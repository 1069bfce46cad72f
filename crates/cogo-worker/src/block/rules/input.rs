//! Waiting for input that nobody sends.

use std::time::Duration;

use cogo_protocol::block::BlockReason;
use cogo_sandbox::evidence::{Call, Process, Thread};

use super::{Finding, View};
use crate::block::life::{self, Life};
use crate::block::words;

/// Nothing inside can go on, and a thread reads the exec's input: only whoever holds that could
/// wake anything, and sends nothing.
pub(super) fn stands_still(view: &View<'_>) -> Option<Finding> {
    let patience = patience(view)?;
    if !view.has_held(view.trace.still, patience) {
        return None;
    }
    let (process, thread) = reader(view)?;
    Some(finding(view, process, thread, view.trace.still?))
}

/// The same in a program with threads or background jobs that keep their own time, such as those
/// of a language runtime: they wake and sleep again, nothing is achieved, and the process that was
/// asked for, or the one it waits for, reads its input. A process that sleeps on purpose, and one
/// that serves somebody outside, has something else to do.
pub(super) fn waits_quietly(view: &View<'_>) -> Option<Finding> {
    const SETTLED: Duration = Duration::from_millis(1100);
    let patience = patience(view)?.max(SETTLED);
    if !view.has_held(view.trace.quiet, patience) || serves_outside(view) {
        return None;
    }
    let (process, thread) = reader(view)?;
    let asleep = view.trace.asleep_since(thread.tid);
    let only_waits = !process.threads.iter().any(life::sleeps_on_purpose);
    if !only_waits || !view.is_waited_for(process) {
        return None;
    }
    // A thread that polls its input with a timeout wakes now and then.
    let since = asleep.filter(|_| thread.wait.call == Call::Read);
    if thread.wait.call == Call::Read && !view.has_held(asleep, patience) {
        return None;
    }
    Some(finding(view, process, thread, since.or(view.trace.quiet)?))
}

/// How long to wait for whoever could send; `None` if waiting is what the exec is for.
fn patience(view: &View<'_>) -> Option<Duration> {
    if view.input.expected {
        return None;
    }
    let attended = view.thresholds.input_attended;
    match view.input.sent_at {
        Some(sent_at) if view.now.saturating_duration_since(sent_at) < attended => None,
        Some(_) => Some(attended),
        None => Some(view.thresholds.input),
    }
}

fn reader<'a>(view: &View<'a>) -> Option<(&'a Process, &'a Thread)> {
    life::threads(view.sample).find(|(_, thread)| life::wants_input(thread))
}

fn serves_outside(view: &View<'_>) -> bool {
    life::threads(view.sample).any(|(_, thread)| match life::life(thread) {
        Life::Outside => true,
        Life::Active | Life::Timed(_) | Life::Input | Life::Inside | Life::Gone => false,
    })
}

fn finding(
    view: &View<'_>,
    process: &Process,
    thread: &Thread,
    since: std::time::Instant,
) -> Finding {
    let mut evidence = vec![words::input_wait(process, thread)];
    if view.sample.output.is_some_and(|output| output.mid_line) {
        evidence.push("the output ends in the middle of a line, as a question does".to_owned());
    }
    evidence.push(match view.input.sent_at {
        None => "nobody sent any input".to_owned(),
        Some(at) => format!(
            "the last input came {} ago",
            words::time(view.now.saturating_duration_since(at))
        ),
    });
    evidence.extend(words::others(view.sample, thread.tid));
    Finding {
        reason: BlockReason::WaitingForInput,
        since: Some(since),
        evidence,
    }
}
