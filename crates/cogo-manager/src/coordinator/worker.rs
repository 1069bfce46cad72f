//! A worker, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::worker::{CreateWorker, Health, WorkerInfo, WorkerStatus};
use cogo_store::WorkerRecord;

use super::input::{AttemptKey, ConnectionId};
use crate::rules::backoff::Failures;
use crate::rules::demand::Room;
use crate::rules::matching::{Class, Offer, Rank, room_of};
use crate::rules::queue::TaskNumber;

/// A worker that is known.
#[derive(Debug)]
pub(super) struct Worker {
    /// What the store has of it.
    pub(super) record: WorkerRecord,
    /// How it can be reached.
    pub(super) link: Link,
    /// When it last gave a sign of life, or was given the benefit of the doubt.
    pub(super) heard_at: Duration,
    /// The same in Unix milliseconds, for people.
    pub(super) heard_at_ms: u64,
    /// What it last said it is doing.
    pub(super) status: WorkerStatus,
    /// How its host is doing.
    pub(super) health: Health,
    /// Tasks whose lease it holds, with what is set aside for them.
    pub(super) held: BTreeMap<TaskNumber, Room>,
    /// Attempts whose lease was taken from it and whose end it has not told. They still take room.
    pub(super) leaving: BTreeMap<AttemptKey, Leaving>,
    /// When what it lists was last compared with all that is stored about it.
    pub(super) reconciled_at: Duration,
    /// Until when it gets nothing, because it said it is full.
    pub(super) paused_until: Option<Duration>,
    /// Whether it said that it takes no more.
    pub(super) refuses: bool,
    /// Why it is to go when it has no task any more.
    pub(super) removal: Option<String>,
    /// Since when it has had nothing to do.
    pub(super) idle_since: Option<Duration>,
    /// Its process, if this manager runs it.
    pub(super) process: Option<Process>,
    /// Its sort, by its record.
    pub(super) class: Arc<Class>,
    /// Its place among the ready ones, and under which sort.
    pub(super) rank: Option<(Arc<Class>, Rank)>,
    /// When its timer fires.
    pub(super) timer: Option<Duration>,
}

/// An attempt whose lease was taken away and that may still run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// What it takes.
    pub(super) room: Room,
    /// When its worker is told to kill it, if it still runs then.
    pub(super) kill_at: Duration,
}

/// How a worker can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Over this connection.
    Connected(ConnectionId),
    /// Not now; its leases run on.
    Away,
    /// It was silent for a whole lease, and has no task any more.
    Lost,
}

/// The process of a local worker.
#[derive(Debug)]
pub(super) struct Process {
    /// What it is to be.
    pub(super) request: CreateWorker,
    /// What it is doing.
    pub(super) phase: Phase,
    /// When it ended lately without being asked to.
    pub(super) failures: Failures,
}

/// What the process of a local worker is doing.
///
/// ```text
///  starting ──connected──▶ up ──removed──▶ stopping ──exited──▶ gone
///     ▲  │                  │
///     │  └──exited──▶ restarting ──▶ given up, if it happens again and again
///     └── after a wait ─────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was started and has to connect by then.
    Starting {
        /// By when.
        by: Duration,
    },
    /// It runs.
    Up,
    /// It was started by an earlier manager and may still be there. This one starts none.
    Inherited,
    /// It ended and is started again.
    Restarting {
        /// When.
        at: Duration,
    },
    /// It was asked to end, and is killed if it does not.
    Stopping {
        /// When.
        kill_at: Duration,
    },
    /// It ended too often.
    GivenUp,
}

impl Worker {
    pub(super) fn new(record: WorkerRecord, now: Duration, process: Option<Process>) -> Self {
        Self {
            heard_at_ms: record.created_at_ms,
            class: Arc::new(Class::of(&record)),
            record,
            link: Link::Away,
            heard_at: now,
            status: WorkerStatus::Idle,
            health: Health::default(),
            held: BTreeMap::new(),
            leaving: BTreeMap::new(),
            reconciled_at: now,
            paused_until: None,
            refuses: false,
            removal: None,
            idle_since: None,
            process,
            rank: None,
            timer: None,
        }
    }

    pub(super) const fn connection(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Connected(connection) => Some(connection),
            Link::Away | Link::Lost => None,
        }
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.process.as_ref().map(|process| process.phase)
    }

    /// From when on it counts as lost, if nothing more is heard. One that is started and has
    /// nothing to lose is not waited for by this clock.
    pub(super) fn lost_at(&self, lease: Duration) -> Option<Duration> {
        let starts = match self.phase() {
            Some(Phase::Starting { .. } | Phase::Restarting { .. } | Phase::GivenUp) => true,
            Some(Phase::Up | Phase::Inherited | Phase::Stopping { .. }) | None => false,
        };
        match self.link {
            Link::Lost => None,
            Link::Away if starts && self.held.is_empty() => None,
            Link::Connected(_) | Link::Away => Some(self.heard_at + lease),
        }
    }

    /// Whether it takes part: it can be given tasks, now or when it has room.
    pub(super) fn takes_part(&self) -> bool {
        self.connection().is_some()
            && self.status != WorkerStatus::Error
            && !self.record.draining
            && !self.refuses
            && self.removal.is_none()
    }

    fn used(&self) -> usize {
        self.held.len() + self.leaving.len()
    }

    /// What it has to give now.
    pub(super) fn offer(&self) -> Offer<'_> {
        let leaving = self.leaving.values().map(|leaving| &leaving.room);
        let taken =
            (self.held.values().chain(leaving)).fold(Room::default(), |sum, room| sum.plus(*room));
        let used = u32::try_from(self.used()).unwrap_or(u32::MAX);
        let whole = self.whole_offer();
        Offer {
            slots: whole.slots.saturating_sub(used),
            room: whole.room.minus(taken),
            ..whole
        }
    }

    /// What it has to give when it has no task.
    pub(super) fn whole_offer(&self) -> Offer<'_> {
        let capabilities = &self.record.capabilities;
        Offer {
            id: &self.record.id,
            class: &self.class,
            slots: capabilities.slots,
            room: room_of(capabilities),
        }
    }

    /// Its place among those that can be given a task now, if it is one of them.
    pub(super) fn ready_rank(&self) -> Option<(Arc<Class>, Rank)> {
        let slots = self.record.capabilities.slots;
        let has_slot = self.used() < slots as usize;
        (has_slot && self.paused_until.is_none() && self.takes_part()).then(|| {
            let (id, used) = (&self.record.id, self.used());
            let rank = Rank::new(id, self.status, &self.health, used, slots);
            (Arc::clone(&self.class), rank)
        })
    }

    /// What clients see as its status.
    pub(super) fn shown_status(&self) -> WorkerStatus {
        let gone = self.link == Link::Lost || self.phase() == Some(Phase::GivenUp);
        match self.status {
            WorkerStatus::Idle | WorkerStatus::Busy | WorkerStatus::Blocked if gone => {
                WorkerStatus::Error
            }
            WorkerStatus::Idle | WorkerStatus::Busy if self.held.is_empty() => WorkerStatus::Idle,
            WorkerStatus::Idle | WorkerStatus::Busy => WorkerStatus::Busy,
            status @ (WorkerStatus::Error | WorkerStatus::Blocked) => status,
        }
    }

    /// What clients see; `tasks` are the names of those that it holds.
    pub(super) fn info(&self, tasks: Vec<cogo_protocol::task::TaskId>) -> WorkerInfo {
        WorkerInfo {
            id: self.record.id.clone(),
            kind: self.record.kind.clone(),
            status: self.shown_status(),
            current_task: tasks.first().cloned(),
            health: self.health,
            last_heartbeat: self.heard_at_ms,
            tasks,
            connected: self.connection().is_some(),
            draining: self.record.draining || self.refuses || self.removal.is_some(),
            local: self.record.local,
            capabilities: self.record.capabilities.clone(),
            isolation: self.record.isolation.clone(),
        }
    }
}
