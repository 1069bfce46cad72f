//! The exit code for a task, by the same contract as for an exec: `docs/exit-codes.md`.

use cogo_protocol::task::{TaskState, TaskStatus};
use cogo_protocol::verdict::Outcome;

use crate::exit_code::{NOT_EXECUTABLE, NOT_FOUND, NOT_STARTED, SIGNAL_BASE, TIMED_OUT, UNKNOWN};

const SIGTERM: u8 = 15;
const ENOENT: i32 = 2;

/// The exit code for a task that has ended.
pub(crate) fn exit_code(task: &TaskStatus) -> u8 {
    match &task.verdict {
        Some(verdict) => of_outcome(&verdict.outcome),
        None => of_state(task.state),
    }
}

fn of_outcome(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::NotStarted { errno: ENOENT, .. } => NOT_FOUND,
        Outcome::NotStarted { .. } => NOT_EXECUTABLE,
        Outcome::Unknown { .. } => UNKNOWN,
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::PidsExhausted { .. }
        | Outcome::DiskFull { .. }
        | Outcome::TimedOut { .. }
        | Outcome::Blocked { .. }
        | Outcome::Cancelled => outcome
            .exit_code()
            .map_or(UNKNOWN, |code| u8::try_from(code).unwrap_or(u8::MAX)),
    }
}

/// For a task whose command never ran, or whose end nobody saw.
const fn of_state(state: TaskState) -> u8 {
    match state {
        TaskState::Succeeded => 0,
        TaskState::TimedOut => TIMED_OUT,
        TaskState::Cancelled => SIGNAL_BASE + SIGTERM,
        TaskState::Failed => NOT_STARTED,
        TaskState::Lost
        | TaskState::Blocked
        | TaskState::Queued
        | TaskState::Leased
        | TaskState::Running => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_the_codes_of_run() {
        let not_started = |errno| Outcome::NotStarted {
            errno,
            message: String::new(),
        };
        for (outcome, code) in [
            (Outcome::Exited { code: 7 }, 7),
            (
                Outcome::Signaled {
                    signal: 9,
                    core_dumped: false,
                },
                137,
            ),
            (Outcome::Cancelled, 143),
            (not_started(2), 127),
            (not_started(13), 126),
        ] {
            assert_eq!(of_outcome(&outcome), code, "{outcome:?}");
        }
        assert_eq!(of_state(TaskState::TimedOut), 124);
        assert_eq!(of_state(TaskState::Lost), 123);
    }
}
