//! What a task needs of a worker.

use std::collections::{BTreeMap, BTreeSet};

use cogo_protocol::exec::Isolation;
use cogo_protocol::worker::WorkerId;
use cogo_store::{AttemptEnd, TaskRecord};

use super::recovery;

/// Everything about a task that decides which worker may have it. Tasks that ask for the same wait
/// in one line, so that a line is looked at once, however long it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Demand {
    /// Only this worker.
    pub pinned_to: Option<WorkerId>,
    /// Only workers of this type.
    pub kind: Option<String>,
    /// Only workers with these labels.
    pub labels: BTreeMap<String, String>,
    /// Only workers that can enforce this.
    pub isolation: Tier,
    /// What is set aside for it.
    pub room: Room,
    /// Workers that lost it, and get it only when no other can take it.
    pub shunned: BTreeSet<WorkerId>,
    /// Workers that said they cannot run it, or do not do as they are told.
    pub excluded: BTreeSet<WorkerId>,
}

/// Processor and memory of a worker that tasks share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Room {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory: u64,
}

impl Room {
    /// Cores as people write them, in thousandths; what is no sensible number is nothing.
    pub fn cpu_millis(cores: f64) -> u64 {
        (cores * 1000.0).round().clamp(0.0, 1e12) as u64
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    /// What is left of it.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory: self.memory.saturating_sub(other.memory),
        }
    }

    /// Whether `other` fits in.
    pub const fn holds(self, other: Self) -> bool {
        self.cpu_millis >= other.cpu_millis && self.memory >= other.memory
    }
}

/// A tier of isolation with a place in an order, which says nothing but makes demands sortable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(u8);

impl From<Isolation> for Tier {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::Strict => Self(0),
            Isolation::Standard => Self(1),
            Isolation::None => Self(2),
        }
    }
}

impl Demand {
    /// What a task needs, given what its attempts have shown.
    pub fn of(task: &TaskRecord) -> Self {
        let requirements = &task.request.requirements;
        let limit = task.request.command.limits.memory_bytes;
        let changes = task.recoveries.iter().map(|record| &record.change);
        let raised = changes.clone().filter_map(|it| it.memory_bytes).max();
        let mut demand = Self {
            pinned_to: requirements.worker.clone(),
            kind: requirements.kind.clone(),
            labels: requirements.labels.clone(),
            isolation: task.request.command.isolation.into(),
            room: Room {
                cpu_millis: requirements.cpu.map_or(0, Room::cpu_millis),
                memory: requirements.memory.or(limit).max(raised).unwrap_or(0),
            },
            excluded: changes.filter_map(|it| it.avoid_worker.clone()).collect(),
            ..Self::default()
        };
        // Where it stood still, something of the place may have been the reason.
        let hung = (task.recoveries.iter()).filter(|it| recovery::has_hung(&it.cause));
        demand.shunned.extend(hung.map(|it| it.worker_id.clone()));
        for attempt in &task.attempts {
            let worker = attempt.worker_id.clone();
            match attempt.end {
                Some(AttemptEnd::Lost | AttemptEnd::TakenBack) => demand.shunned.insert(worker),
                Some(AttemptEnd::Unable) => demand.excluded.insert(worker),
                Some(AttemptEnd::Answered | AttemptEnd::Superseded | AttemptEnd::Refused)
                | None => false,
            };
        }
        demand
    }
}
