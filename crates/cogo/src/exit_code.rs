//! The exit codes of `cogo`, the contract with scripts. The page for people is
//! `docs/exit-codes.md`.

use cogo_sandbox::verdict::{ExitStatus, Outcome};

/// A command of ours other than `run`, `attach` and `wait` failed.
pub(crate) const FAILURE: u8 = 1;
/// Bad usage of a command other than `run`, `attach` and `wait`.
pub(crate) const USAGE: u8 = 2;
/// `fix` repaired some errors, and the command still fails.
pub(crate) const IMPROVED: u8 = 3;
/// `fix` found nothing that helps.
pub(crate) const NOT_FIXED: u8 = 4;
/// The command hung and was stopped for that.
pub(crate) const BLOCKED: u8 = 122;
/// Nobody saw how the command ended.
pub(crate) const UNKNOWN: u8 = 123;
/// A timeout stopped the command.
pub(crate) const TIMED_OUT: u8 = 124;
/// cogo could not start the command, or was used wrongly.
pub(crate) const NOT_STARTED: u8 = 125;
/// The program is there but cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
pub(crate) const NOT_FOUND: u8 = 127;
/// A signal adds its number to this.
pub(crate) const SIGNAL_BASE: u8 = 128;

const SIGTERM: i32 = 15;
const ENOENT: i32 = 2;

/// The exit code for an outcome. `cancelled_by` is the signal through which this process was
/// asked to cancel; a cancel that came from elsewhere reads as SIGTERM.
pub(crate) fn of(outcome: &Outcome, cancelled_by: Option<i32>) -> u8 {
    match outcome {
        Outcome::Exited { code } => of_status(ExitStatus::Exited(*code)),
        Outcome::Signaled { signal, .. } => of_status(ExitStatus::Signaled(*signal)),
        Outcome::OutOfMemory { status, .. }
        | Outcome::PidsExhausted { status, .. }
        | Outcome::DiskFull { status, .. } => not_zero(of_status(*status)),
        Outcome::TimedOut { .. } => TIMED_OUT,
        Outcome::Blocked { .. } => BLOCKED,
        Outcome::Cancelled => of_signal(cancelled_by.unwrap_or(SIGTERM)),
        Outcome::NotStarted { errno: ENOENT, .. } => NOT_FOUND,
        Outcome::NotStarted { .. } => NOT_EXECUTABLE,
        Outcome::Unknown { .. } => UNKNOWN,
    }
}

fn of_status(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Exited(code) => u8::try_from(code).unwrap_or(u8::MAX),
        ExitStatus::Signaled(signal) => of_signal(signal),
    }
}

fn of_signal(signal: i32) -> u8 {
    u8::try_from(signal)
        .unwrap_or(0)
        .saturating_add(SIGNAL_BASE)
}

/// The sandbox calls it a failure only if the command failed; never say success here.
fn not_zero(code: u8) -> u8 {
    if code == 0 { FAILURE } else { code }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cogo_sandbox::verdict::{BlockCause, TimeoutClock};

    use super::*;

    #[test]
    fn every_outcome_has_its_code() {
        let oom = |status| Outcome::OutOfMemory {
            limit: 1,
            peak: 1,
            status,
        };
        let not_started = |errno| Outcome::NotStarted {
            errno,
            message: String::new(),
        };
        let cases = [
            (Outcome::Exited { code: 0 }, 0),
            (Outcome::Exited { code: 42 }, 42),
            (Outcome::Exited { code: 255 }, 255),
            (
                Outcome::Signaled {
                    signal: 11,
                    core_dumped: true,
                },
                139,
            ),
            (oom(ExitStatus::Signaled(9)), 137),
            (oom(ExitStatus::Exited(101)), 101),
            (oom(ExitStatus::Exited(0)), 1),
            (
                Outcome::PidsExhausted {
                    limit: 1,
                    status: ExitStatus::Exited(2),
                },
                2,
            ),
            (
                Outcome::DiskFull {
                    limit: 1,
                    status: ExitStatus::Exited(28),
                },
                28,
            ),
            (
                Outcome::TimedOut {
                    after: Duration::from_secs(1),
                    clock: TimeoutClock::Silence,
                },
                124,
            ),
            (
                Outcome::Blocked {
                    block: BlockCause {
                        reason: "deadlock".to_owned(),
                        duration: Duration::from_secs(1),
                        evidence: Vec::new(),
                    },
                    status: Some(ExitStatus::Signaled(9)),
                },
                122,
            ),
            (Outcome::Cancelled, 143),
            (not_started(2), 127),
            (not_started(13), 126),
            (not_started(8), 126),
            (
                Outcome::Unknown {
                    reason: String::new(),
                },
                123,
            ),
        ];
        for (outcome, code) in cases {
            assert_eq!(of(&outcome, None), code, "{outcome:?}");
        }
    }

    #[test]
    fn a_cancel_carries_the_signal_that_asked_for_it() {
        assert_eq!(of(&Outcome::Cancelled, Some(2)), 130);
        assert_eq!(of(&Outcome::Cancelled, Some(1)), 129);
    }
}
