//! What is tried when an attempt has failed: the cause decides.
//!
//! ```text
//!  verdict, block, loss ──cause──▶ ladder of strategies ──▶ the first that is allowed, was not
//!                        [cause]   [ladder]                 tried too often, and changes what
//!                                                           the cause complains of
//!                                                             │
//!                            next attempt ◀── command ◀── adjustment, or nothing: give up
//!                                             [command]
//! ```
//!
//! The ladder is bounded by a count and by time, and each strategy by a count of its own. What was
//! decided is kept as [`RecoveryRecord`]s; the command of the next attempt follows from them alone,
//! so that a restart of the manager changes nothing.
//!
//! A command that failed by its exit code has answered. That is asked again only if the task says
//! so ([`RecoveryRequest::failure_retries`]).

mod caches;
mod cause;
mod command;
mod ladder;
mod memory;
mod parallelism;

use std::time::Duration;

use cogo_protocol::command::{CommandRequest, StdinRequest};
use cogo_protocol::exec::WorkspaceMode;
use cogo_protocol::recovery::{Adjustment, Cause, RecoveryRecord, RecoveryRequest, Strategy};
use cogo_protocol::task::TaskRequest;
use cogo_protocol::worker::WorkerId;

pub use cause::{Told, after_answer, has_hung};
pub use command::command;
pub use ladder::ladder;
pub use memory::next_limit;

/// Attempts made by recovery at most, where a task does not say.
pub const ATTEMPTS_MAX: u32 = 6;

/// Time from the first start after which nothing more is tried, where a task does not say.
pub const TIME_MAX: Duration = Duration::from_hours(1);

/// An attempt that has failed, with what can be done around it.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What was asked.
    pub request: &'a TaskRequest,
    /// What was decided before.
    pub tried: &'a [RecoveryRecord],
    /// Why it failed now.
    pub cause: &'a Cause,
    /// Where it failed.
    pub worker: &'a WorkerId,
    /// Whether someone asked for recovery just now, whatever the task says.
    pub on_request: bool,
    /// Time since its first start.
    pub elapsed: Duration,
    /// What workers offer.
    pub offers: Offers,
}

/// What workers offer to a task that has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// The most memory that one which could take it has for all its tasks.
    pub memory_max: u64,
    /// Whether one could take it besides the one where it failed.
    pub other_worker: bool,
    /// Whether the process of the one where it failed can be started anew.
    pub restart: bool,
}

/// What follows from a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Another attempt.
    Try(Plan),
    /// No more; says why. Nothing is said where recovery is off.
    GiveUp(Option<String>),
}

/// One rung of the ladder.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is tried.
    pub strategy: Strategy,
    /// What it changes.
    pub change: Adjustment,
    /// The same in words.
    pub note: String,
}

/// Whether a task wants anything tried beyond lost attempts.
pub fn is_on(request: &TaskRequest) -> bool {
    (request.recovery.as_ref()).is_some_and(|recovery| recovery.enabled)
}

/// Time from a task's first start after which nothing more is tried.
pub fn time_max(request: &TaskRequest) -> Duration {
    let asked = request.recovery.as_ref().and_then(|it| it.time_max);
    asked.map_or(TIME_MAX, Duration::from_millis)
}

/// Attempts that recovery has made.
pub fn attempts(tried: &[RecoveryRecord]) -> usize {
    (tried.iter())
        .filter(|record| record.strategy != Strategy::Quarantine)
        .count()
}

/// Decides what is tried next.
pub fn next(situation: &Situation<'_>) -> Decision {
    let request = situation.request;
    if !is_on(request) && !situation.on_request {
        return Decision::GiveUp(None);
    }
    let default = RecoveryRequest::default();
    let options = request.recovery.as_ref().unwrap_or(&default);
    let rungs = ladder(situation.cause, options.failure_retries);
    if rungs.is_empty() {
        return Decision::GiveUp(None);
    }
    let made = attempts(situation.tried);
    let attempts_max = options.attempts_max.unwrap_or(ATTEMPTS_MAX);
    if made >= attempts_max as usize {
        return Decision::GiveUp(Some(format!("{made} more attempts were made already")));
    }
    if situation.elapsed >= time_max(request) {
        let seconds = situation.elapsed.as_secs();
        let why = format!("{seconds} s have passed since its first start");
        return Decision::GiveUp(Some(why));
    }
    let failed = command::changed(request, situation.tried);
    let plan = rungs
        .iter()
        .filter(|strategy| is_allowed(**strategy, options, &failed))
        .filter(|strategy| may_repeat(**strategy, situation, options))
        .find_map(|strategy| plan(*strategy, situation, options, &failed));
    match plan {
        Some(plan) => Decision::Try(plan),
        // Nothing but an alternative could have helped, and there is none: it is the task's answer.
        None if made == 0 && rungs == [Strategy::Alternative] => Decision::GiveUp(None),
        None => Decision::GiveUp(Some("nothing is left that could help".to_owned())),
    }
}

/// Whether anything would be tried if the attempt failed by this cause now.
pub fn is_recoverable(situation: &Situation<'_>) -> bool {
    let asked = Situation {
        on_request: true,
        ..*situation
    };
    matches!(next(&asked), Decision::Try(_))
}

/// Whether the task and its workspace allow a strategy. What is removed from a copy is lost to
/// nobody; what is removed in place may be missed, so that the task has to name it.
fn is_allowed(strategy: Strategy, options: &RecoveryRequest, failed: &CommandRequest) -> bool {
    if let Some(named) = &options.strategies {
        return named.contains(&strategy);
    }
    let works_on_copy = (failed.workspace.as_ref())
        .is_some_and(|workspace| workspace.parts().1 == WorkspaceMode::Copy);
    strategy != Strategy::CleanWorkspace || works_on_copy
}

fn may_repeat(strategy: Strategy, situation: &Situation<'_>, options: &RecoveryRequest) -> bool {
    let made = |counts: &dyn Fn(&RecoveryRecord) -> bool| {
        let same = |record: &&RecoveryRecord| record.strategy == strategy && counts(record);
        situation.tried.iter().filter(same).count() as u32
    };
    if strategy == Strategy::Retry {
        let is_failure = cause::is_failure(situation.cause);
        let made = made(&|record| cause::is_failure(&record.cause) == is_failure);
        return made
            < if is_failure {
                options.failure_retries
            } else {
                1
            };
    }
    made(&|_| true) < ladder::times_max(strategy)
}

/// What a strategy would do; nothing where it cannot help.
fn plan(
    strategy: Strategy,
    situation: &Situation<'_>,
    options: &RecoveryRequest,
    failed: &CommandRequest,
) -> Option<Plan> {
    let (change, note) = match strategy {
        Strategy::Retry => (Adjustment::default(), "the same again".to_owned()),
        Strategy::Input => input(options, failed)?,
        Strategy::MoreMemory => memory::plan(situation)?,
        Strategy::LessParallelism => parallelism::plan(failed)?,
        Strategy::CleanWorkspace => clean_workspace(failed)?,
        Strategy::ClearCaches => caches::plan(failed)?,
        Strategy::RestartWorker | Strategy::OtherWorker => {
            return elsewhere(situation, strategy);
        }
        Strategy::Alternative => alternative(situation, options)?,
        Strategy::Quarantine => return None,
    };
    Some(Plan {
        strategy,
        change,
        note,
    })
}

/// The configured answer first, then the end of input. Only a command with an open input waits.
fn input(options: &RecoveryRequest, failed: &CommandRequest) -> Option<(Adjustment, String)> {
    let waits = failed.stdin != StdinRequest::Closed || failed.pty.is_some();
    let answer = options.answer.as_ref().map(|answer| {
        let line_feed = if answer.ends_with('\n') { "" } else { "\n" };
        StdinRequest::Text(format!("{answer}{line_feed}"))
    });
    let (stdin, note) = match answer {
        Some(answer) if failed.stdin != answer => (answer, "with the configured answer as input"),
        Some(_) | None if waits && failed.stdin != StdinRequest::Closed => {
            (StdinRequest::Closed, "with its input at an end")
        }
        Some(_) | None => return None,
    };
    let change = Adjustment {
        stdin: Some(stdin),
        ..Adjustment::default()
    };
    Some((change, note.to_owned()))
}

/// A workspace that the task did not name is fresh each time.
fn clean_workspace(failed: &CommandRequest) -> Option<(Adjustment, String)> {
    let (_, mode) = failed.workspace.as_ref()?.parts();
    if mode == WorkspaceMode::ReadOnly {
        return None;
    }
    let change = Adjustment {
        clean_workspace: true,
        ..Adjustment::default()
    };
    let note = "without ignored files and tagged cache directories in the workspace";
    Some((change, note.to_owned()))
}

fn alternative(
    situation: &Situation<'_>,
    options: &RecoveryRequest,
) -> Option<(Adjustment, String)> {
    let command = options.alternative.clone()?;
    let note = format!("`{}` instead", command::title(&command));
    let runs = (situation.tried.iter()).any(|it| it.strategy == Strategy::Alternative);
    let change = Adjustment {
        command: Some(command),
        ..Adjustment::default()
    };
    (!runs).then_some((change, note))
}

/// What is tried when the worker is the cause: never again the one that did not do as it was told,
/// unless its process is another one by then.
pub fn elsewhere(situation: &Situation<'_>, strategy: Strategy) -> Option<Plan> {
    let worker = situation.worker;
    let offers = situation.offers;
    match strategy {
        Strategy::OtherWorker if offers.other_worker => Some(Plan {
            strategy,
            change: Adjustment {
                avoid_worker: Some(worker.clone()),
                ..Adjustment::default()
            },
            note: format!("on another worker than `{worker}`"),
        }),
        Strategy::RestartWorker if offers.restart => Some(Plan {
            strategy,
            change: Adjustment::default(),
            note: format!("after a new start of worker `{worker}`"),
        }),
        _ => None,
    }
}

/// What is recorded of an attempt whose worker is the cause. Such attempts are repeated whether or
/// not the task asks for recovery, by [`retry`](super::retry); this says where. `None` for a worker
/// that hangs, when there is neither another one nor a way to start it anew.
pub fn after_loss(situation: &Situation<'_>) -> Option<Plan> {
    let moved = elsewhere(situation, Strategy::OtherWorker);
    let restarted = elsewhere(situation, Strategy::RestartWorker);
    let again = Plan {
        strategy: Strategy::Retry,
        change: Adjustment::default(),
        note: "the same again".to_owned(),
    };
    match situation.cause {
        Cause::WorkerHung => moved.or(restarted),
        // A worker that was merely away may come back; it gets the task when no other can take it.
        Cause::WorkerLost => Some(match moved {
            Some(moved) => Plan {
                change: Adjustment::default(),
                ..moved
            },
            None => restarted.unwrap_or(again),
        }),
        // It has said that it cannot, and is never asked again.
        Cause::StartRefused => moved.map(|moved| Plan {
            change: Adjustment::default(),
            ..moved
        }),
        Cause::Exited { .. }
        | Cause::Signaled { .. }
        | Cause::OutOfMemory { .. }
        | Cause::PidsExhausted { .. }
        | Cause::DiskFull { .. }
        | Cause::TimedOut { .. }
        | Cause::Silent { .. }
        | Cause::Blocked { .. }
        | Cause::NotStarted
        | Cause::Unknown => Some(again),
    }
}

#[cfg(test)]
mod tests;
