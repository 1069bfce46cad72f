//! What follows from the end of an attempt: cause decides.
//!
//! A command's own end is an answer and is never asked for again. Only what nobody saw the end of
//! is repeated, and what never ran does not count.

use std::time::Duration;

use cogo_protocol::message::error_code;
use cogo_store::{AttemptEnd, AttemptRecord};

use super::backoff::Backoff;

/// Attempts at most, where a task does not say.
pub const ATTEMPTS_MAX: u32 = 3;

/// What becomes of a task after an attempt without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits, then goes to the queue.
    Again {
        /// How long it waits.
        after: Duration,
    },
    /// No attempt is left.
    GiveUp,
}

/// Attempts that are used up.
pub fn counted(attempts: &[AttemptRecord]) -> u32 {
    let counts = |attempt: &&AttemptRecord| attempt.end.is_some_and(AttemptEnd::counts);
    attempts.iter().filter(counts).count() as u32
}

/// Decides after an attempt has ended without an answer. `elsewhere` says whether there is a
/// worker that has not said it cannot run the task.
pub fn next(
    attempts: &[AttemptRecord],
    attempts_max: Option<u32>,
    elsewhere: bool,
    backoff: Backoff,
) -> Next {
    let counted = counted(attempts);
    let left = counted < attempts_max.unwrap_or(ATTEMPTS_MAX);
    match attempts.last().and_then(|attempt| attempt.end) {
        Some(AttemptEnd::Lost) if left => Next::Again {
            after: backoff.after(counted),
        },
        // Each worker is asked once, so that this ends without a count.
        Some(AttemptEnd::Unable) if elsewhere => Next::Again {
            after: Duration::ZERO,
        },
        Some(AttemptEnd::Superseded | AttemptEnd::Refused | AttemptEnd::TakenBack) | None => {
            Next::Again {
                after: Duration::ZERO,
            }
        }
        Some(AttemptEnd::Lost | AttemptEnd::Unable | AttemptEnd::Answered) => Next::GiveUp,
    }
}

/// What a worker means when it answers with an error instead of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// It has no room now.
    Busy,
    /// It takes no more tasks.
    Drains,
    /// It has something else under that name.
    Confused,
    /// Its host cannot run this.
    Unable,
    /// The command cannot be run anywhere.
    Impossible,
    /// It does not know how the command ended, or has never heard of it.
    Unknown,
    /// It is about something else than the attempt's life.
    Remark,
}

/// Reads the `code` of a `task_error`; `started` says whether the attempt was heard to run.
pub fn complaint(code: Option<&str>, started: bool) -> Complaint {
    match code {
        Some(error_code::AT_CAPACITY) => Complaint::Busy,
        Some(error_code::DRAINING) => Complaint::Drains,
        Some(error_code::TASK_EXISTS | error_code::STALE_FENCE) => Complaint::Confused,
        Some(error_code::UNSUPPORTED | error_code::SANDBOX_FAILED) => Complaint::Unable,
        Some(error_code::NOT_STARTED | error_code::INVALID_REQUEST) => Complaint::Impossible,
        Some(error_code::OUTCOME_UNKNOWN | error_code::NO_SUCH_TASK) => Complaint::Unknown,
        Some(
            error_code::BAD_MESSAGE
            | error_code::UNKNOWN_MESSAGE
            | error_code::NOT_APPLICABLE
            | error_code::INPUT_FULL
            // The end follows.
            | error_code::LOG_UNREADABLE,
        ) => Complaint::Remark,
        // A code of a later version: the end is not known, unless nothing was started.
        Some(_) | None if started => Complaint::Unknown,
        Some(_) | None => Complaint::Impossible,
    }
}

#[cfg(test)]
mod tests {
    use cogo_protocol::task::Fence;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(30),
    };

    fn attempts(ends: &[AttemptEnd]) -> Vec<AttemptRecord> {
        (ends.iter().zip(1..))
            .map(|(end, number)| AttemptRecord {
                number,
                fence: Fence(u64::from(number)),
                worker_id: "w".parse().unwrap(),
                exec_id: None,
                leased_at_ms: 0,
                started_at_ms: None,
                ended_at_ms: Some(0),
                end: Some(*end),
                result: None,
                log_end: None,
                output_missing: Vec::new(),
            })
            .collect()
    }

    fn decide(ends: &[AttemptEnd], elsewhere: bool) -> Next {
        next(&attempts(ends), None, elsewhere, BACKOFF)
    }

    #[test]
    fn only_lost_attempts_are_repeated_and_counted() {
        use AttemptEnd::{Answered, Lost, Refused, TakenBack, Unable};
        let again = |seconds| Next::Again {
            after: Duration::from_secs(seconds),
        };
        assert_eq!(decide(&[Lost], true), again(1));
        assert_eq!(decide(&[Lost, Lost], true), again(2));
        assert_eq!(decide(&[Lost, Lost, Lost], true), Next::GiveUp);
        assert_eq!(decide(&[Lost, Lost, Refused], true), again(0));
        assert_eq!(decide(&[TakenBack, TakenBack, Lost], true), again(1));
        assert_eq!(decide(&[Answered], true), Next::GiveUp);
        assert_eq!(decide(&[Unable], true), again(0));
        assert_eq!(decide(&[Unable], false), Next::GiveUp);
    }

    #[test]
    fn one_attempt_can_be_all_there_is() {
        let lost = attempts(&[AttemptEnd::Lost]);
        assert_eq!(next(&lost, Some(1), true, BACKOFF), Next::GiveUp);
    }

    #[test]
    fn an_unknown_code_is_never_taken_for_an_answer() {
        assert_eq!(complaint(Some("of tomorrow"), true), Complaint::Unknown);
        assert_eq!(complaint(None, true), Complaint::Unknown);
        assert_eq!(complaint(None, false), Complaint::Impossible);
    }
}
