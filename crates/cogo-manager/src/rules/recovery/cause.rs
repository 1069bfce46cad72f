//! Why an attempt failed.

use cogo_protocol::block::BlockInfo;
use cogo_protocol::recovery::Cause;
use cogo_protocol::verdict::{Outcome, TimeoutClock, Usage};

use super::ladder::KILL;
use crate::rules::verdict::Circumstances;

/// What is known of an attempt's end.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// How the command ended.
    pub outcome: &'a Outcome,
    /// What it used.
    pub usage: Option<Usage>,
    /// What the manager did about it.
    pub circumstances: Circumstances,
    /// The block that its worker saw last.
    pub block: Option<&'a BlockInfo>,
    /// The task's own bound on time, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// The cause of a known end. `None` for a success, and for what somebody wanted.
pub fn after_answer(told: &Told<'_>) -> Option<Cause> {
    if told.circumstances.cancel_requested {
        return None;
    }
    Some(match told.outcome {
        Outcome::Exited { code: 0 } => return None,
        Outcome::Exited { code } => Cause::Exited { code: *code },
        Outcome::Signaled { signal, .. } => Cause::Signaled { signal: *signal },
        Outcome::OutOfMemory {
            limit_bytes,
            peak_bytes,
            ..
        } => Cause::OutOfMemory {
            limit_bytes: *limit_bytes,
            peak_bytes: *peak_bytes,
        },
        Outcome::PidsExhausted { limit, .. } => Cause::PidsExhausted { limit: *limit },
        Outcome::DiskFull { limit_bytes, .. } => Cause::DiskFull {
            limit_bytes: *limit_bytes,
        },
        Outcome::TimedOut { after_ms, clock } => stopped(*after_ms, *clock, told),
        Outcome::Blocked {
            reason, evidence, ..
        } => Cause::Blocked {
            reason: *reason,
            evidence: evidence.clone(),
        },
        Outcome::Cancelled => return after_stop(told),
        Outcome::NotStarted { .. } => Cause::NotStarted,
        Outcome::Unknown { .. } => Cause::Unknown,
    })
}

/// A cancelled exec does not say who ended it.
fn after_stop(told: &Told<'_>) -> Option<Cause> {
    if told.circumstances.deadline_passed {
        let after = told.timeout_ms.unwrap_or_default();
        return Some(stopped(after, TimeoutClock::Wall, told));
    }
    told.block.map(|block| Cause::Blocked {
        reason: block.reason,
        evidence: block.evidence.clone(),
    })
}

fn stopped(after_ms: u64, clock: TimeoutClock, told: &Told<'_>) -> Cause {
    let busy = is_busy(after_ms, told.usage);
    match clock {
        TimeoutClock::Wall => Cause::TimedOut { after_ms, busy },
        TimeoutClock::Silence => Cause::Silent { after_ms, busy },
    }
}

/// Whether the last `after_ms` were spent computing: more processor time was used than what came
/// before can account for, and a fifth of a processor on top, which is left to a program on a host
/// with five times too much to do. What hangs uses next to none.
fn is_busy(after_ms: u64, usage: Option<Usage>) -> bool {
    usage.is_some_and(|usage| {
        let cpu = usage.cpu_user_ms + usage.cpu_system_ms;
        cpu >= usage.wall_ms.saturating_sub(after_ms) + after_ms / 5 && cpu > 0
    })
}

/// Whether it is the command's own answer.
pub(super) const fn is_failure(cause: &Cause) -> bool {
    match cause {
        Cause::Exited { .. } => true,
        Cause::Signaled { signal } => *signal != KILL,
        _ => false,
    }
}

/// Whether the attempt stood still, so that another worker is the better place for the next one.
pub const fn has_hung(cause: &Cause) -> bool {
    match cause {
        Cause::TimedOut { busy, .. } | Cause::Silent { busy, .. } => !*busy,
        Cause::Blocked { .. } | Cause::WorkerLost | Cause::WorkerHung => true,
        Cause::Exited { .. }
        | Cause::Signaled { .. }
        | Cause::OutOfMemory { .. }
        | Cause::PidsExhausted { .. }
        | Cause::DiskFull { .. }
        | Cause::StartRefused
        | Cause::NotStarted
        | Cause::Unknown => false,
    }
}
