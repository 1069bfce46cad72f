//! Which strategies address which cause, in which order.

use cogo_protocol::block::BlockReason;
use cogo_protocol::recovery::{Cause, Strategy};

/// `SIGKILL`, which no command gets from the kernel but by a limit, and that has its own cause: it
/// comes from outside, such as from a host that is out of memory.
pub(super) const KILL: i32 = 9;

/// What is tried for a cause, one after the other. `failure_retries` says how often a plain failure
/// is repeated; at 0 it is an answer.
pub fn ladder(cause: &Cause, failure_retries: u32) -> &'static [Strategy] {
    use Strategy::{
        Alternative, CleanWorkspace, ClearCaches, Input, LessParallelism, OtherWorker,
        RestartWorker, Retry,
    };
    match cause {
        Cause::Signaled { signal: KILL } => &[Retry, Alternative],
        Cause::Exited { .. } | Cause::Signaled { .. } if failure_retries == 0 => &[Alternative],
        // The task says that it is worth another try: chance first, then what earlier runs have
        // left behind, then what runs beside it.
        Cause::Exited { .. } | Cause::Signaled { .. } => &[
            Retry,
            ClearCaches,
            CleanWorkspace,
            LessParallelism,
            Alternative,
        ],
        Cause::OutOfMemory { .. } => BlockReason::MemoryExhausted.strategies(),
        Cause::PidsExhausted { .. } => BlockReason::PidsExhausted.strategies(),
        Cause::DiskFull { .. } => BlockReason::DiskExhausted.strategies(),
        // It stood still, and nothing says why: it may wait for input that nobody sends; a race may
        // go the other way the next time.
        Cause::TimedOut { busy: false, .. } | Cause::Silent { busy: false, .. } => {
            &[Input, Retry, LessParallelism, Alternative]
        }
        Cause::Blocked { reason, .. } => reason.strategies(),
        Cause::WorkerLost | Cause::WorkerHung => &[OtherWorker, RestartWorker, Retry],
        Cause::StartRefused => &[OtherWorker, Alternative],
        // It would be just as slow the next time, and slower with less at once; and what is not there
        // is not there the next time.
        Cause::TimedOut { busy: true, .. }
        | Cause::Silent { busy: true, .. }
        | Cause::NotStarted => &[Alternative],
        Cause::Unknown => &[Retry, OtherWorker],
    }
}

/// How often a strategy is tried for one task. [`Strategy::Retry`] is counted apart.
pub(super) const fn times_max(strategy: Strategy) -> u32 {
    match strategy {
        Strategy::MoreMemory | Strategy::OtherWorker => 3,
        // What it can know of the command, then of everything; the answer, then the end of input.
        Strategy::LessParallelism | Strategy::Input => 2,
        Strategy::Retry
        | Strategy::CleanWorkspace
        | Strategy::ClearCaches
        | Strategy::RestartWorker
        | Strategy::Alternative => 1,
        Strategy::Quarantine => 0,
    }
}
