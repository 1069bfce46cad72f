//! Something is used up.

use cogo_protocol::block::BlockReason;
use cogo_sandbox::evidence::Sample;

use super::{Finding, View};
use crate::block::words;

/// The kernel killed a process at the memory limit.
pub(in crate::block) fn oom(sample: &Sample) -> Finding {
    let limit = sample
        .memory
        .and_then(|memory| memory.limit)
        .map_or_else(String::new, |limit| format!(" of {}", words::bytes(limit)));
    Finding {
        reason: BlockReason::MemoryExhausted,
        since: None,
        evidence: vec![format!(
            "the kernel killed {} at the memory limit{limit}",
            words::count(sample.glance.oom_kills, "process", "processes")
        )],
    }
}

/// The kernel refused a fork at the pids limit.
pub(in crate::block) fn pids(sample: &Sample) -> Finding {
    let limit = sample
        .pids
        .limit
        .map_or_else(String::new, |limit| format!(" at the limit of {limit}"));
    Finding {
        reason: BlockReason::PidsExhausted,
        since: None,
        evidence: vec![
            format!(
                "the kernel refused {}{limit}",
                words::count(sample.glance.pids_refused, "fork", "forks")
            ),
            format!("{} processes and threads are alive", sample.pids.used),
        ],
    }
}

/// Memory that cannot be dropped is near its limit, and still grows, or program text is dropped
/// and read back all the time, which is how a group without swap thrashes. Page cache up to the
/// limit is no shortage.
pub(super) fn memory_short(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.memory_short, view.thresholds.memory_short) {
        return None;
    }
    let memory = view.sample.memory?;
    let limit = memory.limit?;
    Some(Finding {
        reason: BlockReason::MemoryExhausted,
        since: view.trace.memory_short,
        evidence: vec![
            format!(
                "{} of {} are in use and cannot be dropped",
                words::bytes(memory.held),
                words::bytes(limit)
            ),
            "it still grows, or pages are read back from disk all the time".to_owned(),
        ],
    })
}

/// The sandbox's private file system has no block or inode left.
pub(super) fn disk_full(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.disk_full, view.thresholds.exhausted) {
        return None;
    }
    let disk = view.sample.disk?;
    Some(Finding {
        reason: BlockReason::DiskExhausted,
        since: view.trace.disk_full,
        evidence: vec![format!(
            "{} of {} of private disk are used",
            words::bytes(disk.used),
            words::bytes(disk.limit?)
        )],
    })
}

/// A process has as many descriptors open as it may: the next open, pipe, socket or fork of it
/// fails. With the tree quiet, or trying again and again, nothing is about to close one.
pub(super) fn descriptors_full(view: &View<'_>) -> Option<Finding> {
    let time = view.thresholds.exhausted;
    let in_vain = view.trace.quiet.or(view.trace.spin);
    if !view.has_held(view.trace.descriptors_full, time) || !view.has_held(in_vain, time) {
        return None;
    }
    let full = view.sample.processes.iter().find(|process| {
        let descriptors = process.descriptors;
        descriptors
            .limit
            .is_some_and(|limit| descriptors.used >= limit)
    })?;
    Some(Finding {
        reason: BlockReason::Unknown,
        since: view.trace.descriptors_full,
        evidence: vec![format!(
            "{} has all of its {} descriptors open, and achieves nothing",
            words::process(full),
            full.descriptors.used
        )],
    })
}

/// In nearly every period for long the cpu limit took the processor away, and in all that time
/// nothing was said.
pub(super) fn throttled(view: &View<'_>) -> Option<Finding> {
    let silent = view.trace.output.unwrap_or(view.trace.started_at);
    let long = view.run_time() >= view.thresholds.throttled_run_time
        && view.has_held(view.trace.throttled, view.thresholds.throttled)
        && view.has_held(Some(silent), view.thresholds.throttled);
    let throttling = view.sample.throttling?;
    long.then(|| Finding {
        reason: BlockReason::CpuExhausted,
        since: view.trace.throttled,
        evidence: vec![format!(
            "the cpu limit was reached in {} of {} periods",
            throttling.throttled, throttling.periods
        )],
    })
}

/// It ran past the time that was set for it.
pub(super) fn out_of_time(view: &View<'_>) -> Option<Finding> {
    let bound = view.thresholds.run_time_max?;
    (view.run_time() >= bound).then(|| Finding {
        reason: BlockReason::Timeout,
        since: Some(view.trace.started_at),
        evidence: vec![format!("it runs for more than {}", words::time(bound))],
    })
}
