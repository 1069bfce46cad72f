//! Who may say something about a task.
//!
//! ```text
//!            lease                started               verdict
//!  queued ──────────▶ leased ──────────────▶ running ─────────────▶ final
//!    ▲  ▲               │ │                     │
//!    │  └── refused ────┘ │ lost: silent for    │ lost
//!    │     (not counted)  │ a lease, or unsure  │
//!    └──── backoff ◀──────┴─────────────────────┘──▶ final, when no attempt is left
//! ```
//!
//! Each lease has a fence, one higher than the one before. A worker keeps its leases by saying
//! anything at all; so all leases of a worker run out together, when it has been silent for too
//! long. A broken connection alone takes nothing away: the worker may come back with its tasks.

use cogo_protocol::message::TaskBrief;
use cogo_protocol::task::{Fence, TaskState};

/// Under which right a worker speaks about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Under the one that counts.
    Current,
    /// Under one that was taken away, or none at all. What it says is refused.
    Stale,
}

/// Judges a message: `held` is the fence of the lease that the speaking worker has on the task.
pub fn standing(held: Option<Fence>, spoken: Option<Fence>) -> Standing {
    match (held, spoken) {
        (Some(held), Some(spoken)) if held == spoken => Standing::Current,
        (Some(_) | None, Some(_) | None) => Standing::Stale,
    }
}

/// The fence of the next lease, after the last one.
pub fn next(last: Option<Fence>) -> Fence {
    Fence(last.map_or(0, |fence| fence.0) + 1)
}

/// What becomes of a lease whose worker has just come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The worker has the attempt; it goes on.
    Adopt,
    /// The worker never got to know of it: tell it again, under the same fence. This is sound
    /// because a worker keeps what it has started for as long as it keeps its name.
    SendAgain,
    /// The worker had it and has it no more.
    Lost,
}

/// Compares a lease with what its worker lists when it comes back.
pub fn on_return(state: TaskState, fence: Fence, listed: Option<&TaskBrief>) -> Return {
    match listed {
        Some(brief) if brief.fence == Some(fence) => Return::Adopt,
        Some(_) | None if state == TaskState::Leased => Return::SendAgain,
        Some(_) | None => Return::Lost,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_held_fence_counts(held in 1_u64..5, spoken in 1_u64..5) {
            let current = standing(Some(Fence(held)), Some(Fence(spoken))) == Standing::Current;
            prop_assert_eq!(current, held == spoken);
        }

        #[test]
        fn fences_grow(last: Option<u32>) {
            let last = last.map(|fence| Fence(u64::from(fence)));
            prop_assert!(Some(next(last)) > last);
        }
    }

    #[test]
    fn whoever_names_no_fence_is_stale() {
        assert_eq!(standing(Some(Fence(1)), None), Standing::Stale);
        assert_eq!(standing(None, Some(Fence(1))), Standing::Stale);
    }

    #[test]
    fn a_worker_that_returns_keeps_what_it_has() {
        let brief = |fence| TaskBrief {
            task_id: "t".parse().unwrap(),
            attempt: Some(1),
            fence: Some(Fence(fence)),
            exec_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            running: true,
            last_seq: 0,
            blocked: None,
        };
        for (state, listed, expected) in [
            (TaskState::Leased, Some(brief(2)), Return::Adopt),
            (TaskState::Running, Some(brief(2)), Return::Adopt),
            (TaskState::Leased, None, Return::SendAgain),
            (TaskState::Leased, Some(brief(1)), Return::SendAgain),
            (TaskState::Running, None, Return::Lost),
            (TaskState::Running, Some(brief(1)), Return::Lost),
        ] {
            assert_eq!(on_return(state, Fence(2), listed.as_ref()), expected);
        }
    }
}
