//! What verdicts mean, in a sentence.

use std::time::Duration;

use cogo_protocol::task::TaskState;
use cogo_protocol::verdict::{Incident, Outcome, TimeoutClock, Usage};

use crate::measure;

pub(super) const fn of_outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Exited { code: 0 } => "the command says that it succeeded",
        Outcome::Exited { .. } => "the command itself says that it failed; its output says why",
        Outcome::Signaled { .. } => "a signal ended the command, and no limit was the reason",
        Outcome::OutOfMemory { .. } => {
            "the kernel killed a process of it because all of them together passed the memory limit"
        }
        Outcome::PidsExhausted { .. } => {
            "the kernel refused it another process or thread, and then it failed"
        }
        Outcome::DiskFull { .. } => "it filled its private disk, and then it failed",
        Outcome::TimedOut {
            clock: TimeoutClock::Wall,
            ..
        } => "it was stopped because it ran longer than it may",
        Outcome::TimedOut {
            clock: TimeoutClock::Silence,
            ..
        } => "it was stopped because it printed nothing for longer than it may",
        Outcome::Blocked { .. } => "it hung and was ended for that",
        Outcome::Cancelled => "it was stopped because someone asked",
        Outcome::NotStarted { .. } => "there was nothing to run: the command could not be executed",
        Outcome::Unknown { .. } => {
            "nobody saw how it ended; this is neither a success nor a failure"
        }
    }
}

pub(super) const fn of_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "it waits for a worker that has room for it",
        TaskState::Leased => "a worker has it and is about to start it",
        TaskState::Running => "it runs",
        TaskState::Succeeded => "the command says that it succeeded",
        TaskState::Failed => "it could not be run",
        TaskState::TimedOut => "it ran or waited longer than it may",
        TaskState::Blocked => "it hung and was ended for that",
        TaskState::Cancelled => "it was stopped because someone asked",
        TaskState::Lost => "no attempt at it came to an end that anybody saw",
    }
}

/// What the kernel said, in numbers.
pub(super) fn facts(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::OutOfMemory {
            limit_bytes,
            peak_bytes,
            ..
        } => vec![format!(
            "limit {}, peak {}",
            measure::bytes(*limit_bytes),
            measure::bytes(*peak_bytes)
        )],
        Outcome::PidsExhausted { limit, .. } => {
            vec![format!("at most {limit} processes and threads")]
        }
        Outcome::DiskFull { limit_bytes, .. } => {
            vec![format!("private disk of {}", measure::bytes(*limit_bytes))]
        }
        Outcome::TimedOut { after_ms, .. } => vec![format!(
            "after {}",
            measure::time(Duration::from_millis(*after_ms))
        )],
        Outcome::Blocked {
            reason,
            duration_ms,
            evidence,
            ..
        } => {
            let time = measure::time(Duration::from_millis(*duration_ms));
            let fact = format!("{}, for {time}", reason.describe());
            std::iter::once(fact)
                .chain(evidence.iter().cloned())
                .collect()
        }
        Outcome::NotStarted { message, .. } => vec![message.clone()],
        Outcome::Unknown { reason } => vec![reason.clone()],
        Outcome::Exited { .. } | Outcome::Signaled { .. } | Outcome::Cancelled => Vec::new(),
    }
}

pub(super) fn of_incident(incident: &Incident) -> String {
    match incident {
        Incident::OomKills { count, .. } => {
            format!(
                "{} by the kernel at the memory limit",
                measure::count(*count, "kill")
            )
        }
        Incident::PidsLimitHits { count, limit } => {
            format!(
                "{} refused at the limit of {limit}",
                measure::count(*count, "fork")
            )
        }
        Incident::DiskFull { limit_bytes } => {
            format!("private disk of {} was full", measure::bytes(*limit_bytes))
        }
        Incident::NetworkRefused { servers, count } => format!(
            "{} refused: {}",
            measure::count(*count, "connection"),
            servers.join(", ")
        ),
        Incident::LeftoversKilled { count } => format!(
            "{} killed at the end",
            measure::count(u64::from(*count), "left-over process")
        ),
        Incident::LogCut { bytes } => {
            format!("{} of output cut from the log", measure::bytes(*bytes))
        }
        Incident::LogWriteFailed { message } => format!("the log is not complete: {message}"),
    }
}

pub(super) fn of_usage(usage: &Usage) -> String {
    let time = |ms| measure::time(Duration::from_millis(ms));
    format!(
        "in {}, processor {}, memory peak {}",
        time(usage.wall_ms),
        time(usage.cpu_user_ms + usage.cpu_system_ms),
        measure::bytes(usage.memory_peak_bytes)
    )
}

/// What a person can do.
pub(super) const fn advice(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::OutOfMemory { .. } => Some("raise --memory, or run fewer things at once"),
        Outcome::PidsExhausted { .. } => Some("raise --pids, or run fewer things at once"),
        Outcome::DiskFull { .. } => Some("raise --disk"),
        Outcome::TimedOut {
            clock: TimeoutClock::Wall,
            ..
        } => Some("raise --timeout if it was slow; if it hung, see what it waits for"),
        Outcome::TimedOut {
            clock: TimeoutClock::Silence,
            ..
        } => Some("raise --silence-timeout if it is silent by nature"),
        Outcome::Blocked { .. } => {
            Some("answer what it waits for, or let it go on with --block-policy warn")
        }
        Outcome::NotStarted { .. } => {
            Some("check the name, or show more of the host with --expose PATH")
        }
        Outcome::Unknown { .. } => Some("submit it again"),
        Outcome::Exited { .. } | Outcome::Signaled { .. } | Outcome::Cancelled => None,
    }
}

/// Whether recovery might have helped.
pub(super) fn is_recoverable(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::OutOfMemory { .. }
        | Outcome::PidsExhausted { .. }
        | Outcome::DiskFull { .. }
        | Outcome::TimedOut { .. } => true,
        Outcome::Blocked { reason, .. } => reason.is_recoverable(),
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::Cancelled
        | Outcome::NotStarted { .. }
        | Outcome::Unknown { .. } => false,
    }
}
