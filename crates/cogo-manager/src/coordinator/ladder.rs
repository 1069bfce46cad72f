//! Recovery by cause: asks the [rules](crate::rules::recovery) what may help, keeps what they say,
//! and queues the task for it.
//!
//! What is decided is in the record of the task, and the record is stored before anything is done.

use std::time::Duration;

use cogo_protocol::block::{BlockInfo, BlockPolicy, BlockReason};
use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::recovery::{Adjustment, Cause, RecoveryRecord, Strategy};
use cogo_protocol::verdict::{Outcome, Usage};
use cogo_protocol::worker::WorkerId;
use cogo_store::{AttemptEnd, TaskRecord};

use super::Coordinator;
use super::attempts::{RoomAfter, Unanswered};
use super::task::EndingReason;
use crate::rules::demand::Demand;
use crate::rules::matching::room_of;
use crate::rules::queue::TaskNumber;
use crate::rules::recovery::{self, Decision, Offers, Plan, Situation, Told};

/// A known end of an attempt.
pub(super) struct Ended<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) usage: Option<Usage>,
    /// The same for a reader.
    pub(super) result: &'a str,
    pub(super) log_end: Option<u64>,
}

impl Coordinator {
    /// Tries something else after an attempt that has failed, if something may help.
    pub(super) fn tried_otherwise(&mut self, number: TaskNumber, end: &Ended<'_>) -> bool {
        let Some(cause) = self.cause(number, end) else {
            return false;
        };
        match self.decide(number, &cause) {
            Decision::Try(plan) => {
                self.close_attempt(
                    number,
                    AttemptEnd::Superseded,
                    end.result.to_owned(),
                    end.log_end,
                );
                self.release(number, RoomAfter::Free);
                self.goes_on(number, cause, plan, Duration::ZERO);
                true
            }
            Decision::GiveUp(Some(why)) => {
                self.note_result(number, end.result.to_owned());
                self.record_quarantine(number, cause, why);
                false
            }
            Decision::GiveUp(None) => false,
        }
    }

    fn cause(&self, number: TaskNumber, end: &Ended<'_>) -> Option<Cause> {
        let task = &self.tasks[&number];
        recovery::after_answer(&Told {
            outcome: end.outcome,
            usage: end.usage,
            circumstances: task.circumstances(),
            block: task.lease().and_then(|lease| lease.block.as_deref()),
            timeout_ms: task.record.request.command.limits().timeout_ms,
        })
    }

    /// Repeats an attempt whose worker is the cause, where the rules find a place for it.
    pub(super) fn moves_on(
        &mut self,
        number: TaskNumber,
        how: &Unanswered,
        after: Duration,
    ) -> bool {
        let plan = self.with_situation(number, &how.cause, recovery::after_loss);
        let Some(plan) = plan else {
            return false;
        };
        self.goes_on(number, how.cause.clone(), plan, after);
        true
    }

    /// Keeps what was decided, and queues the task.
    fn goes_on(&mut self, number: TaskNumber, cause: Cause, plan: Plan, after: Duration) {
        let Plan {
            strategy,
            change,
            note,
        } = plan;
        let why = format!("{}; next, {note}", cause.describe());
        // The process of one that was lost is looked after already, and not started in a hurry.
        let restarts = strategy == Strategy::RestartWorker && cause != Cause::WorkerLost;
        let record = self.record(number, cause, strategy, change, note);
        if let Some(record) = record.as_ref().filter(|_| restarts) {
            self.process_restart(&record.worker_id);
            self.arm_worker(&record.worker_id);
        }
        self.counters.recoveries += 1;
        self.requeue(number, &why, after, record.map(Box::new));
    }

    fn record(
        &mut self,
        number: TaskNumber,
        cause: Cause,
        strategy: Strategy,
        change: Adjustment,
        note: String,
    ) -> Option<RecoveryRecord> {
        let decided_at = self.now.unix_ms;
        let task = self.tasks.get_mut(&number)?;
        let attempt = task.record.attempts.last()?;
        let record = RecoveryRecord {
            after_attempt: attempt.number,
            worker_id: attempt.worker_id.clone(),
            cause,
            strategy,
            change,
            note,
            decided_at,
            result: None,
        };
        task.record.recoveries.push(record.clone());
        Some(record)
    }

    /// The end of an attempt is the result of what was decided before it.
    pub(super) fn note_result(&mut self, number: TaskNumber, result: String) {
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let last = task.record.recoveries.last_mut();
        if let Some(record) = last.filter(|it| it.strategy != Strategy::Quarantine) {
            record.result.get_or_insert(result);
        }
    }

    /// Notes that nothing more is tried for a task whose attempts found no answer.
    pub(super) fn quarantines(&mut self, number: TaskNumber, cause: &Cause) {
        let tried = !self.tasks[&number].record.recoveries.is_empty();
        if tried || recovery::is_on(&self.tasks[&number].record.request) {
            let why = "no attempt and no worker is left for it".to_owned();
            self.record_quarantine(number, cause.clone(), why);
        }
    }

    fn record_quarantine(&mut self, number: TaskNumber, cause: Cause, why: String) {
        let change = Adjustment::default();
        self.record(number, cause, Strategy::Quarantine, change, why);
    }

    fn decide(&self, number: TaskNumber, cause: &Cause) -> Decision {
        self.with_situation(number, cause, recovery::next)
    }

    fn with_situation<T>(
        &self,
        number: TaskNumber,
        cause: &Cause,
        ask: impl FnOnce(&Situation<'_>) -> T,
    ) -> T {
        let task = &self.tasks[&number];
        let ending = task.lease().and_then(|lease| lease.ending);
        let attempt = (task.record.attempts.last()).expect("an attempt has just failed");
        let started_at_ms = task.record.started_at_ms.unwrap_or(self.now.unix_ms);
        ask(&Situation {
            request: &task.record.request,
            tried: &task.record.recoveries,
            cause,
            worker: &attempt.worker_id,
            on_request: ending.is_some_and(|ending| ending.why == EndingReason::Recovery),
            elapsed: Duration::from_millis(self.now.unix_ms.saturating_sub(started_at_ms)),
            offers: self.offers(number, &attempt.worker_id),
        })
    }

    /// What workers offer to a task that has failed on one of them.
    fn offers(&self, number: TaskNumber, failed_on: &WorkerId) -> Offers {
        let demand = Demand::of(&self.tasks[&number].record);
        let takers = || {
            (self.workers.values()).filter(|worker| {
                worker.takes_part()
                    && !demand.excluded.contains(&worker.record.id)
                    && worker.whole_offer().meets(&demand)
            })
        };
        let failed_on = self.workers.get(failed_on);
        Offers {
            memory_max: takers()
                .map(|worker| room_of(&worker.record.capabilities).memory)
                .max()
                .unwrap_or(0),
            other_worker: takers()
                .any(|worker| failed_on.is_none_or(|it| it.record.id != worker.record.id)),
            restart: failed_on.is_some_and(|worker| worker.process.is_some()),
        }
    }

    /// A worker saw a task hang that it holds.
    pub(super) fn hangs(&mut self, number: TaskNumber, worker_id: &WorkerId, info: BlockInfo) {
        let cause = Cause::Blocked {
            reason: info.reason,
            evidence: info.evidence.clone(),
        };
        let ends = ends(&self.tasks[&number].record, &info);
        let block_info = BlockInfo {
            recoverable: self.with_situation(number, &cause, recovery::is_recoverable),
            ..info
        };
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        let task_id = task.record.id.clone();
        if let Some(lease) = task.lease_mut() {
            lease.block = Some(Box::new(block_info.clone()));
        }
        let recovers = ends && block_info.recoverable;
        self.announce(&ManagerEvent::BlockDetected {
            task_id,
            worker_id: worker_id.clone(),
            block_info,
        });
        if recovers {
            self.end_to_recover(number);
        }
    }

    /// Ends what hangs on a worker, so that something else is tried. Says whether anything does.
    pub(super) fn recover_blocked(&mut self, id: &WorkerId) -> bool {
        let held = (self.workers.get(id).into_iter()).flat_map(|worker| worker.held.keys());
        let hangs = |number: &&TaskNumber| {
            (self.tasks[*number].lease()).is_some_and(|lease| lease.block.is_some())
        };
        let hanging: Vec<TaskNumber> = held.filter(hangs).copied().collect();
        for number in &hanging {
            self.end_to_recover(*number);
        }
        !hanging.is_empty()
    }

    /// Ends an attempt that hangs, unless it is being ended already.
    fn end_to_recover(&mut self, number: TaskNumber) {
        let ends = self.tasks[&number]
            .lease()
            .is_none_or(|it| it.ending.is_some());
        if !ends {
            self.begin_ending(number, EndingReason::Recovery, None);
        }
    }
}

/// How much longer a task may wait for a worker, where recovery has left it fewer of them: others
/// may never come, and what is tried is bounded by time.
pub(super) fn patience(record: &TaskRecord, unix_ms: u64) -> Option<Duration> {
    let moved = (record.recoveries.iter()).any(|it| it.change.avoid_worker.is_some());
    let started_at_ms = record.started_at_ms.unwrap_or(record.created_at_ms);
    let elapsed = Duration::from_millis(unix_ms.saturating_sub(started_at_ms));
    moved.then(|| recovery::time_max(&record.request).saturating_sub(elapsed))
}

/// Whether the manager is to end a task that hangs, for something else to be tried. A worker with the
/// policy to recover ends what it knows a strategy for; of a limit that was hit, the verdict tells.
fn ends(record: &TaskRecord, info: &BlockInfo) -> bool {
    let by_verdict = match info.reason {
        BlockReason::MemoryExhausted | BlockReason::PidsExhausted | BlockReason::DiskExhausted => {
            true
        }
        BlockReason::Timeout
        | BlockReason::InfiniteLoop
        | BlockReason::CpuExhausted
        | BlockReason::Unknown
        | BlockReason::WaitingForInput
        | BlockReason::Deadlock
        | BlockReason::OutputStalled
        | BlockReason::HeartbeatLost => false,
    };
    let asked = record.request.command.block_policy;
    let leaves_it = asked.is_some_and(|policy| policy != BlockPolicy::Recover);
    let told = recovery::command(&record.request, &record.recoveries).block_policy;
    let by_worker = told == Some(BlockPolicy::Recover) && info.recoverable;
    recovery::is_on(&record.request) && !by_verdict && !leaves_it && !by_worker
}
