//! Tasks of a server, as commands show them.

pub(crate) mod command;
mod exit_code;
mod viewer;

pub(crate) use exit_code::exit_code;
pub(crate) use viewer::{Ending, Keys, Shows, TaskView};

use cogo_protocol::task::{TaskState, TaskStatus};

/// A state as people read it.
pub(crate) const fn state_text(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Leased => "starting",
        TaskState::Running => "running",
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::TimedOut => "timed out",
        TaskState::Blocked => "blocked",
        TaskState::Cancelled => "cancelled",
        TaskState::Lost => "lost",
    }
}

/// How a task stands or ended, in a few words.
pub(crate) fn describe(task: &TaskStatus) -> String {
    match (&task.verdict, &task.error) {
        (Some(verdict), _) => verdict.outcome.describe(),
        (None, Some(error)) => format!("{}: {error}", state_text(task.state)),
        (None, None) => state_text(task.state).to_owned(),
    }
}
