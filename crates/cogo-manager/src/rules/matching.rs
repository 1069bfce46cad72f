//! Which worker may have a task, and which one should.

use std::collections::{BTreeMap, BTreeSet};

use cogo_protocol::worker::{Capabilities, Health, WorkerId, WorkerStatus};

use cogo_store::WorkerRecord;

use super::demand::{Demand, Room, Tier};

/// What is the same for all workers of a sort. Few sorts make up a large pool, so that a worker
/// for a task is looked for among those of the right sorts only.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    kind: String,
    labels: BTreeMap<String, String>,
    isolation: BTreeSet<Tier>,
}

impl Class {
    /// Of a worker.
    pub fn of(worker: &WorkerRecord) -> Self {
        Self {
            kind: worker.kind.clone(),
            labels: worker.capabilities.labels.clone(),
            isolation: worker.isolation.iter().copied().map(Tier::from).collect(),
        }
    }

    /// Whether its workers are of the sort that a task asks for.
    pub fn suits(&self, demand: &Demand) -> bool {
        (demand.kind.as_ref()).is_none_or(|kind| *kind == self.kind)
            && self.isolation.contains(&demand.isolation)
            && (demand.labels.iter()).all(|(label, value)| self.labels.get(label) == Some(value))
    }
}

/// What a worker has to give.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Which worker.
    pub id: &'a WorkerId,
    /// Its sort.
    pub class: &'a Class,
    /// Tasks it could take, processor and memory aside.
    pub slots: u32,
    /// What is not set aside.
    pub room: Room,
}

impl Offer<'_> {
    /// Whether it can take a task, apart from what earlier attempts have shown.
    pub fn meets(&self, demand: &Demand) -> bool {
        self.slots > 0
            && self.room.holds(demand.room)
            && (demand.pinned_to.as_ref()).is_none_or(|pinned| pinned == self.id)
            && self.class.suits(demand)
    }
}

/// All that a worker's tasks share.
pub fn room_of(capabilities: &Capabilities) -> Room {
    Room {
        cpu_millis: Room::cpu_millis(capabilities.cpus),
        memory: capabilities.memory_bytes,
    }
}

/// A worker's place among those with a free slot; the least is asked first: the healthy ones,
/// then the least loaded, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    strained: bool,
    load_permille: u32,
    id: WorkerId,
}

/// Percent of processor, memory or disk from which on a host is strained.
const STRAINED_FROM: f64 = 90.0;

impl Rank {
    /// Ranks a worker with `used` of `slots` taken.
    pub fn new(
        id: &WorkerId,
        status: WorkerStatus,
        health: &Health,
        used: usize,
        slots: u32,
    ) -> Self {
        let pressure = health.cpu.max(health.memory).max(health.disk);
        let hangs = match status {
            WorkerStatus::Blocked | WorkerStatus::Error => true,
            WorkerStatus::Idle | WorkerStatus::Busy => false,
        };
        Self {
            strained: hangs || pressure >= STRAINED_FROM,
            load_permille: (used as u64 * 1000 / u64::from(slots.max(1))).min(u64::from(u32::MAX))
                as u32,
            id: id.clone(),
        }
    }

    /// The worker.
    pub const fn worker(&self) -> &WorkerId {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use cogo_protocol::exec::Isolation;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        (pairs.iter())
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn check(change: impl FnOnce(&mut Demand), expected: bool) {
        let id = "w".parse().unwrap();
        let class = Class {
            kind: "basic".to_owned(),
            labels: labels(&[("os", "linux")]),
            isolation: [Isolation::Strict.into()].into(),
        };
        let offer = Offer {
            id: &id,
            class: &class,
            slots: 1,
            room: Room {
                cpu_millis: 1500,
                memory: 100,
            },
        };
        let mut demand = Demand::default();
        change(&mut demand);
        assert_eq!(offer.meets(&demand), expected, "{demand:?}");
        let full = Offer { slots: 0, ..offer };
        assert!(!full.meets(&demand));
    }

    #[test]
    fn everything_asked_for_has_to_be_there() {
        check(|_| (), true);
        check(|demand| demand.kind = Some("basic".into()), true);
        check(|demand| demand.kind = Some("flutter".into()), false);
        check(|demand| demand.labels = labels(&[("os", "linux")]), true);
        check(|demand| demand.labels = labels(&[("os", "bsd")]), false);
        check(|demand| demand.labels = labels(&[("gpu", "")]), false);
        check(|demand| demand.isolation = Isolation::None.into(), false);
        check(|demand| demand.room.cpu_millis = 1500, true);
        check(|demand| demand.room.cpu_millis = 1501, false);
        check(|demand| demand.room.memory = 101, false);
        check(|demand| demand.pinned_to = Some("w".parse().unwrap()), true);
        check(
            |demand| demand.pinned_to = Some("v".parse().unwrap()),
            false,
        );
    }

    #[test]
    fn the_healthy_and_idle_come_first() {
        let rank = |name: &str, cpu: f64, used: usize| {
            let health = Health {
                cpu,
                ..Health::default()
            };
            Rank::new(&name.parse().unwrap(), WorkerStatus::Idle, &health, used, 4)
        };
        assert!(rank("b", 10.0, 1) < rank("a", 10.0, 2));
        assert!(rank("b", 10.0, 3) < rank("a", 95.0, 0));
        assert!(rank("a", 10.0, 1) < rank("b", 50.0, 1));
    }
}
