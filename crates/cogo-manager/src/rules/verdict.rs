//! What the end of a command makes of its task.

use cogo_protocol::task::TaskState;
use cogo_protocol::verdict::Outcome;

/// What the manager knows of an attempt that the verdict does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Someone asked to cancel the task.
    pub cancel_requested: bool,
    /// The manager itself ended it, because it ran past its time.
    pub deadline_passed: bool,
    /// Its worker saw it hang.
    pub blocked: bool,
}

/// The final state for a known end; `None` when nobody saw it.
pub const fn final_state(outcome: &Outcome, circumstances: Circumstances) -> Option<TaskState> {
    Some(match outcome {
        Outcome::Exited { code: 0 } => TaskState::Succeeded,
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::PidsExhausted { .. }
        | Outcome::DiskFull { .. }
        | Outcome::NotStarted { .. } => TaskState::Failed,
        Outcome::TimedOut { .. } => TaskState::TimedOut,
        Outcome::Blocked { .. } => TaskState::Blocked,
        // A cancelled exec does not say who ended it: the client, the manager, or its worker
        // because it hung.
        Outcome::Cancelled if circumstances.cancel_requested => TaskState::Cancelled,
        Outcome::Cancelled if circumstances.deadline_passed => TaskState::TimedOut,
        Outcome::Cancelled if circumstances.blocked => TaskState::Blocked,
        Outcome::Cancelled => TaskState::Cancelled,
        Outcome::Unknown { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_decides_unless_it_was_ended() {
        let calm = Circumstances::default();
        let asked = Circumstances {
            cancel_requested: true,
            blocked: true,
            deadline_passed: true,
        };
        for circumstances in [calm, asked] {
            let state = |outcome| final_state(&outcome, circumstances);
            assert_eq!(
                state(Outcome::Exited { code: 0 }),
                Some(TaskState::Succeeded)
            );
            assert_eq!(state(Outcome::Exited { code: 1 }), Some(TaskState::Failed));
            assert_eq!(state(Outcome::Cancelled), Some(TaskState::Cancelled));
            let reason = "worker died".to_owned();
            assert_eq!(state(Outcome::Unknown { reason }), None);
        }
    }

    #[test]
    fn whoever_ended_it_gives_the_state() {
        let blocked = Circumstances {
            blocked: true,
            ..Circumstances::default()
        };
        assert_eq!(
            final_state(&Outcome::Cancelled, blocked),
            Some(TaskState::Blocked)
        );
        let late = Circumstances {
            deadline_passed: true,
            ..blocked
        };
        assert_eq!(
            final_state(&Outcome::Cancelled, late),
            Some(TaskState::TimedOut)
        );
    }
}
