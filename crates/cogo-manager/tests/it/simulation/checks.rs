//! What must hold after each step, told apart from how the coordinator does it.

use std::collections::BTreeMap;
use std::time::Duration;

use cogo_protocol::recovery::{Adjustment, Cause, RecoveryRecord, Strategy};
use cogo_protocol::task::{Priority, TaskId, TaskState};
use cogo_protocol::verdict::Outcome;
use cogo_protocol::worker::WorkerId;
use cogo_store::{AttemptEnd, Change, TaskRecord};

use super::store::Records;
use super::worker::Key;

/// A promise that was broken.
pub(super) type Broken = String;

/// What the checks know, gathered from outside the coordinator.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Everything that the coordinator has said, durable or not.
    pub(super) ordered: Records,
    /// How attempts really ended, and where; nothing for an end that nobody saw.
    pub(super) ends: BTreeMap<Key, (WorkerId, Option<Outcome>)>,
    /// Where attempts were started, and how much the worker had forgotten by then.
    starts: BTreeMap<Key, (WorkerId, u64)>,
    /// When tasks came, by the clock of the manager that runs now.
    came_at: BTreeMap<TaskId, Duration>,
    /// When a worker was last heard by the manager that runs now.
    pub(super) heard_at: BTreeMap<WorkerId, Duration>,
    /// Slots that workers really have.
    pub(super) slots: BTreeMap<WorkerId, u32>,
}

/// The times that the checks hold the coordinator to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) lease: Duration,
    pub(super) aging_step: Duration,
}

impl Checks {
    /// The manager has crashed: what was not durable was never said.
    pub(super) fn restart(&mut self, durable: &Records) {
        self.ordered = durable.clone();
        self.came_at.clear();
        self.heard_at.clear();
    }

    /// A worker has started an attempt. It may do so once, unless it has lost what it knew.
    pub(super) fn started(&mut self, key: &Key, at: &WorkerId, amnesia: u64) -> Result<(), Broken> {
        let before = self.starts.insert(key.clone(), (at.clone(), amnesia));
        match before {
            Some((worker, known)) if worker != *at || known == amnesia => Err(format!(
                "task `{}` was started twice under fence {}: on {worker} and {at}",
                key.0, key.1.0
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks what a step changes. `now` is the manager's.
    pub(super) fn step(
        &mut self,
        changes: &[Change],
        now: Duration,
        bounds: Bounds,
    ) -> Result<(), Broken> {
        let mut leased = Vec::new();
        for change in changes {
            if let Change::TaskPut(new) = change {
                let old = self.ordered.tasks.get(&new.id);
                if old.is_none() {
                    self.came_at.insert(new.id.clone(), now);
                }
                self.transition(old, new)?;
                if is_new_lease(old, new) {
                    leased.push((**new).clone());
                }
            }
            self.ordered.apply(change)?;
        }
        for record in &leased {
            self.order(record, now, bounds)?;
            self.capacity(record)?;
        }
        self.recovery(now, bounds)
    }

    fn transition(&self, old: Option<&TaskRecord>, new: &TaskRecord) -> Result<(), Broken> {
        let broken = |what: &str| Err(format!("{what}: {old:#?} became {new:#?}"));
        if let Some(old) = old {
            if old.state.is_final() {
                return broken("a final task changed");
            }
            if old.number != new.number || old.request != new.request {
                return broken("a task became another");
            }
            let last = |task: &TaskRecord| task.attempts.last().map(|attempt| attempt.fence);
            if last(new) < last(old) {
                return broken("a fence went back");
            }
            if is_new_lease(Some(old), new) && last(new) == last(old) {
                return broken("a fence was given twice");
            }
        }
        if !new
            .attempts
            .is_sorted_by(|one, other| one.fence < other.fence)
        {
            return broken("fences do not grow");
        }
        ladder(old, new)?;
        let live = new.attempts.iter().filter(|it| it.end.is_none()).count();
        let last_is_live = new.attempts.last().is_some_and(|it| it.end.is_none());
        match new.state {
            TaskState::Leased | TaskState::Running if live == 1 && last_is_live => Ok(()),
            TaskState::Leased | TaskState::Running => broken("not one live lease"),
            _ if live > 0 => broken("a lease of a task that nobody has"),
            TaskState::Queued => Ok(()),
            _ => self.ending(new),
        }
    }

    /// A final state has to be what really happened.
    fn ending(&self, new: &TaskRecord) -> Result<(), Broken> {
        let Some(last) = new.attempts.last() else {
            return match new.state {
                TaskState::Cancelled | TaskState::TimedOut | TaskState::Failed => Ok(()),
                _ => Err(format!("an end without an attempt: {new:#?}")),
            };
        };
        if last.end == Some(AttemptEnd::Answered) {
            let key = (new.id.clone(), last.fence);
            let truth = self.ends.get(&key);
            let told = new.verdict.as_ref().map(|verdict| &verdict.outcome);
            let real = truth.and_then(|(_, outcome)| outcome.as_ref());
            if told.is_none() || told != real || truth.map(|it| &it.0) != Some(&last.worker_id) {
                return Err(format!("not how it ended, which is {truth:?}: {new:#?}"));
            }
        }
        let success = new.verdict.as_ref().map(|verdict| &verdict.outcome)
            == Some(&Outcome::Exited { code: 0 });
        if (new.state == TaskState::Succeeded) != success {
            return Err(format!("success that is none, or the other way: {new:#?}"));
        }
        Ok(())
    }

    /// Nobody who asks for the same and is more urgent still waits.
    fn order(&self, served: &TaskRecord, now: Duration, bounds: Bounds) -> Result<(), Broken> {
        let Some(place) = self.place(served, now, bounds) else {
            return Ok(());
        };
        let same = |other: &&TaskRecord| {
            other.state == TaskState::Queued
                && other.request.requirements == served.request.requirements
                && other.request.command.limits == served.request.command.limits
        };
        for other in self.ordered.tasks.values().filter(same) {
            let Some(other_place) = self.place(other, now, bounds) else {
                continue;
            };
            let passed_over = other_place.0 > place.0
                || (other_place.0 == place.0
                    && other.submitter == served.submitter
                    && other_place.1 < place.1);
            if passed_over {
                return Err(format!(
                    "`{}` at {place:?} was served before `{}` at {other_place:?}",
                    served.id, other.id
                ));
            }
        }
        Ok(())
    }

    /// Level, then instant of ripeness and number, of a task that has not been tried before.
    fn place(
        &self,
        task: &TaskRecord,
        now: Duration,
        bounds: Bounds,
    ) -> Option<(u64, (u128, u64))> {
        let came_at = self.came_at.get(&task.id)?.as_millis();
        let tried = task.attempts.iter().any(|attempt| attempt.end.is_some());
        let priority = task.request.priority.level();
        let step = bounds.aging_step.as_millis();
        let steps = (now.as_millis() - came_at) / step;
        let level = (u64::from(priority) + steps as u64).min(u64::from(Priority::MAX.level()));
        let ripe_at = came_at + u128::from(Priority::MAX.level() - priority) * step;
        (!tried).then_some((level, (ripe_at, task.number)))
    }

    fn capacity(&self, leased: &TaskRecord) -> Result<(), Broken> {
        let Some(worker) = leased.attempts.last().map(|attempt| &attempt.worker_id) else {
            return Ok(());
        };
        let held = self
            .leases()
            .filter(|(_, holder)| *holder == worker)
            .count();
        let slots = self.slots.get(worker).copied().unwrap_or(0);
        if held > slots as usize {
            return Err(format!("{worker} has {slots} slots and {held} leases"));
        }
        Ok(())
    }

    /// Nobody keeps a lease in silence.
    fn recovery(&self, now: Duration, bounds: Bounds) -> Result<(), Broken> {
        let slack = Duration::from_secs(1);
        for (task, worker) in self.leases() {
            let heard_at = self.heard_at.get(worker).copied().unwrap_or_default();
            if heard_at + bounds.lease + slack < now {
                return Err(format!(
                    "{worker} was heard at {heard_at:?} and still has `{}` at {now:?}",
                    task.id
                ));
            }
        }
        Ok(())
    }

    fn leases(&self) -> impl Iterator<Item = (&TaskRecord, &WorkerId)> {
        (self.ordered.tasks.values())
            .filter(|task| matches!(task.state, TaskState::Leased | TaskState::Running))
            .filter_map(|task| Some((task, &task.attempts.last()?.worker_id)))
    }
}

/// What is tried after a failure is bounded, kept, and never in vain.
fn ladder(old: Option<&TaskRecord>, new: &TaskRecord) -> Result<(), Broken> {
    let broken = |what: &str| Err(format!("{what}: {new:#?}"));
    let before = old.map_or(&[][..], |old| &old.recoveries);
    let is_kept = before.len() <= new.recoveries.len()
        && before.iter().zip(&new.recoveries).all(|(before, now)| {
            let result = before.result.clone().or_else(|| now.result.clone());
            RecoveryRecord {
                result,
                ..before.clone()
            } == *now
        });
    if !is_kept {
        return broken("what was tried was forgotten");
    }
    let chosen = |record: &&RecoveryRecord| match record.cause {
        Cause::WorkerLost | Cause::WorkerHung | Cause::StartRefused | Cause::Unknown => false,
        _ => record.strategy != Strategy::Quarantine,
    };
    let asked = new.request.recovery.as_ref().filter(|it| it.enabled);
    let attempts_max = asked.map_or(0, |it| it.attempts_max.unwrap_or(6) as usize);
    if new.recoveries.iter().filter(chosen).count() > attempts_max {
        return broken("more was tried than was asked for");
    }
    let mut memory = new.request.command.limits.memory_bytes.unwrap_or(0);
    for record in &new.recoveries {
        let is_unchanged = record.change == Adjustment::default();
        let starved = matches!(record.cause, Cause::OutOfMemory { .. });
        if starved && is_unchanged && record.strategy != Strategy::Quarantine {
            return broken("it was tried again without more memory or less to do");
        }
        if let Some(more) = record.change.memory_bytes {
            if more <= memory || more > 1 << 30 {
                return broken("memory that is no more, or that nobody has");
            }
            memory = more;
        }
    }
    // Whoever did not do as it was told gets it never again.
    let avoided = |attempt: &cogo_store::AttemptRecord| {
        new.recoveries.iter().any(|record| {
            record.change.avoid_worker.as_ref() == Some(&attempt.worker_id)
                && record.after_attempt < attempt.number
        })
    };
    if new.attempts.iter().any(avoided) {
        return broken("it went back to the worker that it hung on");
    }
    Ok(())
}

fn is_new_lease(old: Option<&TaskRecord>, new: &TaskRecord) -> bool {
    let live = |task: &TaskRecord| {
        (task.attempts.last())
            .filter(|attempt| attempt.end.is_none())
            .map(|attempt| attempt.fence)
    };
    new.state == TaskState::Leased && old.and_then(live) != live(new)
}
