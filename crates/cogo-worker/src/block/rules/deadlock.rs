//! Threads and processes that wait for each other, or for themselves.

use std::time::Duration;

use cogo_protocol::block::BlockReason;
use cogo_sandbox::evidence::{self, Call, Process, Thread, Timeout};

use super::{Finding, View};
use crate::block::life::{self, Life};
use crate::block::words;

/// Each of these threads waits without a timeout for a mutex whose word names another of them as
/// its owner. Only the owner can unlock it, so none of them runs again, whatever the rest does.
pub(super) fn owners_in_a_circle(view: &View<'_>) -> Option<Finding> {
    let circle = view.sample.processes.iter().find_map(circle)?;
    let asleep = |thread: &&Thread| view.trace.asleep_since(thread.tid);
    let since = circle.iter().filter_map(asleep).max()?;
    if !view.has_held(Some(since), view.thresholds.still) {
        return None;
    }
    let line = |thread: &&Thread| {
        let owner = owner(thread).unwrap_or_default();
        format!(
            "thread {} waits for a mutex that thread {owner} holds",
            thread.tid
        )
    };
    Some(Finding {
        reason: BlockReason::Deadlock,
        since: Some(since),
        evidence: circle.iter().map(line).collect(),
    })
}

/// A runtime that keeps the owners of its locks to itself said that some of its threads wait for
/// each other, when the tree was quiet, and nothing was printed since. None of those threads runs
/// again, whatever the rest does.
pub(super) fn told_by_runtime(view: &View<'_>) -> Option<Finding> {
    let told = view.told?;
    Some(Finding {
        reason: BlockReason::Deadlock,
        since: Some(told.since),
        evidence: told.deadlocks.clone(),
    })
}

/// Whether the kernel cannot tell, and a runtime may know: the tree is quiet, and several threads
/// of a process that is waited for sit in futexes without a limit and have not run since, while
/// others of the same process keep time. Those alone keep it from being proven that nothing can
/// go on. What can be asked handles `SIGQUIT`.
pub(in crate::block) fn has_question(view: &View<'_>) -> bool {
    const SETTLED: Duration = Duration::from_millis(1100);
    if !view.sample.complete || !view.has_held(view.trace.quiet, SETTLED) {
        return false;
    }
    view.sample.processes.iter().any(|process| {
        let stuck = |thread: &&Thread| {
            let waits = matches!(thread.wait.call, Call::Futex { .. });
            let asleep = view.has_held(view.trace.asleep_since(thread.tid), SETTLED);
            waits && thread.wait.timeout == Timeout::Never && asleep
        };
        let keeps_time = |thread: &Thread| matches!(life::life(thread), Life::Timed(_));
        process.threads.iter().filter(stuck).count() >= 2
            && process.threads.iter().any(keeps_time)
            && view.is_waited_for(process)
            && evidence::handles_quit(process.pid)
    })
}

fn owner(thread: &Thread) -> Option<i32> {
    match thread.wait.call {
        Call::Futex { owner, .. } if thread.wait.timeout == Timeout::Never => owner,
        _ => None,
    }
}

/// Follows owners from each thread until one comes twice.
fn circle(process: &Process) -> Option<Vec<&Thread>> {
    let find = |tid: i32| process.threads.iter().find(|thread| thread.tid == tid);
    process.threads.iter().find_map(|start| {
        let mut path = vec![start];
        loop {
            let next = find(owner(path[path.len() - 1])?)?;
            if let Some(first) = path.iter().position(|thread| thread.tid == next.tid) {
                return Some(path.split_off(first));
            }
            path.push(next);
        }
    })
}

/// No thread ran between two looks, none has a timer, and none waits for anything outside: what
/// each waits for can only come from one of the others, and so never comes.
pub(super) fn stands_still(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.still, view.thresholds.still) || view.may_get_input() {
        return None;
    }
    let waits = || life::threads(view.sample).filter(|(_, thread)| is_waiting(thread));
    let all = |call: &Call| waits().all(|(_, thread)| thread.wait.call == *call);
    // A signal may come from outside, though a program that waits for one seldom means that.
    let signal_alone = all(&Call::Signal) && view.sample.processes.len() == 1;
    if signal_alone && !view.has_held(view.trace.still, view.thresholds.signal) {
        return None;
    }
    let is_stopped = waits().any(|(_, thread)| thread.wait.call == Call::Stopped);
    let mut evidence = Vec::new();
    evidence.push(match (signal_alone, is_stopped) {
        (true, _) => "it waits for a signal, and nobody inside can send one".to_owned(),
        (_, true) => "it is stopped, and nobody inside can continue it".to_owned(),
        _ => "no thread runs, has a timer or waits for anything outside".to_owned(),
    });
    evidence.extend(
        waits()
            .take(words::LINES_MAX)
            .map(|(process, thread)| words::wait(process, thread)),
    );
    Some(Finding {
        reason: if signal_alone || is_stopped {
            BlockReason::Unknown
        } else {
            BlockReason::Deadlock
        },
        since: view.trace.still,
        evidence,
    })
}

fn is_waiting(thread: &Thread) -> bool {
    life::life(thread) != Life::Gone
}
