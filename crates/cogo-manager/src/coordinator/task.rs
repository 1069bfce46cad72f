//! A task that is not final, in memory.

use std::time::Duration;

use cogo_protocol::block::BlockInfo;
use cogo_protocol::task::{Fence, TaskState, TaskStatus};
use cogo_protocol::worker::WorkerId;
use cogo_store::{AttemptRecord, TaskRecord};

use crate::rules::aging::RipeAt;
use crate::rules::demand::Room;
use crate::rules::fair_share::Submitter;
use crate::rules::queue::Place;
use crate::rules::verdict::Circumstances;

/// A task that is not final.
#[derive(Debug)]
pub(super) struct Task {
    /// What the store has of it, or gets at the end of the step.
    pub(super) record: TaskRecord,
    /// Who asked, cheap to clone.
    pub(super) submitter: Submitter,
    /// When it reaches the highest level. Attempts do not change it.
    pub(super) ripe_at: RipeAt,
    /// Where it is.
    pub(super) stage: Stage,
    /// When its timer fires.
    pub(super) timer: Option<Duration>,
}

/// Where a task is. What of it matters after a restart is in the record's state.
#[derive(Debug)]
pub(super) enum Stage {
    /// In the queue.
    Waiting {
        /// Its place.
        place: Place,
        /// When it fails if it is still there.
        fails_at: Option<Duration>,
    },
    /// Not in the queue yet.
    Pausing {
        /// When it enters.
        until: Duration,
    },
    /// A worker has it, under the fence of the last attempt.
    Held(Lease),
}

/// What only the holder of a task's lease has.
#[derive(Debug)]
pub(super) struct Lease {
    /// The holder.
    pub(super) worker_id: WorkerId,
    /// What is set aside for it.
    pub(super) room: Room,
    /// When to look after it: it has to have started, or ended, by then.
    pub(super) check_at: Option<Duration>,
    /// Whether it is being ended.
    pub(super) ending: Option<Ending>,
    /// Why it hangs, if it hangs now.
    pub(super) block: Option<Box<BlockInfo>>,
    /// How its worker listed it when it was last compared with that.
    pub(super) listed: Listed,
}

/// How a worker lists an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Running,
    Ended,
    Not,
}

/// An attempt is being ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Why.
    pub(super) why: EndingReason,
    /// Time between the polite signal and the kill.
    pub(super) grace_period: Duration,
    /// When its lease is taken away if no end was told.
    pub(super) give_up_at: Duration,
}

/// Why an attempt is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndingReason {
    /// Someone asked.
    Cancel,
    /// It ran past its time and its worker did not notice.
    Deadline,
    /// It hangs, and something else is to be tried.
    Recovery,
}

impl Task {
    /// When something is due, by what it is doing.
    pub(super) fn due_at(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Waiting { fails_at, .. } => *fails_at,
            Stage::Pausing { until } => Some(*until),
            Stage::Held(lease) => (lease.ending.map(|ending| ending.give_up_at)).or(lease.check_at),
        }
    }

    /// Its lease, if a worker has it.
    pub(super) const fn lease(&self) -> Option<&Lease> {
        match &self.stage {
            Stage::Held(lease) => Some(lease),
            Stage::Waiting { .. } | Stage::Pausing { .. } => None,
        }
    }

    /// Its lease, if a worker has it.
    pub(super) const fn lease_mut(&mut self) -> Option<&mut Lease> {
        match &mut self.stage {
            Stage::Held(lease) => Some(lease),
            Stage::Waiting { .. } | Stage::Pausing { .. } => None,
        }
    }

    /// The right under which `worker` has it, if it has it.
    pub(super) fn fence_of(&self, worker: &WorkerId) -> Option<Fence> {
        let held = (self.lease()).is_some_and(|lease| lease.worker_id == *worker);
        self.record
            .attempts
            .last()
            .filter(|_| held)
            .map(|attempt| attempt.fence)
    }

    /// The attempt that holds the lease, or was the last one.
    pub(super) fn attempt_mut(&mut self) -> Option<&mut AttemptRecord> {
        self.record.attempts.last_mut()
    }

    /// Whether its command was heard to run.
    pub(super) fn is_running(&self) -> bool {
        self.record.state == TaskState::Running
    }

    /// What is known of the attempt besides its verdict.
    pub(super) fn circumstances(&self) -> Circumstances {
        let lease = self.lease();
        let why = lease.and_then(|lease| lease.ending).map(|it| it.why);
        Circumstances {
            cancel_requested: self.record.cancel_requested,
            deadline_passed: why == Some(EndingReason::Deadline),
            blocked: lease.is_some_and(|lease| lease.block.is_some()),
        }
    }

    /// Its command's own bound on time.
    pub(super) fn timeout(&self) -> Option<Duration> {
        (self.record.request.command.limits().timeout_ms).map(Duration::from_millis)
    }

    /// Time between the polite signal and the kill that the task asks for.
    pub(super) fn grace_period(&self) -> Option<Duration> {
        (self.record.request.command.grace_ms).map(Duration::from_millis)
    }
}

/// A task as clients see it. What only the queue knows is left out.
pub fn task_status(record: &TaskRecord) -> TaskStatus {
    TaskStatus {
        task_id: record.id.clone(),
        state: record.state,
        command: record.request.command.title(),
        priority: record.request.priority,
        submitter: record.submitter.clone(),
        worker_id: (record.attempts.last()).map(|attempt| attempt.worker_id.clone()),
        queue_position: None,
        exit_code: record.exit_code,
        verdict: record.verdict.clone(),
        usage: record.usage,
        error: record.error.clone(),
        block: None,
        attempts: record.attempts.iter().map(attempt_status).collect(),
        recoveries: record.recoveries.clone(),
        created_at: record.created_at_ms,
        started_at: record.started_at_ms,
        ended_at: record.ended_at_ms,
    }
}

fn attempt_status(attempt: &AttemptRecord) -> cogo_protocol::task::AttemptStatus {
    cogo_protocol::task::AttemptStatus {
        number: attempt.number,
        fence: attempt.fence,
        worker_id: attempt.worker_id.clone(),
        exec_id: attempt.exec_id,
        leased_at: attempt.leased_at_ms,
        started_at: attempt.started_at_ms,
        ended_at: attempt.ended_at_ms,
        result: attempt.result.clone(),
        output_missing: attempt.output_missing.clone(),
    }
}
