//! In which order tasks that wait are served.
//!
//! Tasks with the same [`Demand`] form a line; within a line each submitter has its own, ordered by
//! when its tasks are ripe. The order never changes while time passes (see [`aging`](super::aging)),
//! so that nothing is ever sorted anew: a pick compares the heads.
//!
//! ```text
//! line (demand) ─┬─ submitter a: ripe first ▸ … ▸ ripe last
//!                └─ submitter b: …
//! line (demand) ─── submitter a: …
//! ```
//!
//! Among heads that a worker could take, the highest level wins, then the submitter whose
//! [turn](super::fair_share) it is, then the one that is ripe first, then the one submitted first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::worker::WorkerId;

use super::aging::{Aging, RipeAt};
use super::demand::Demand;
use super::fair_share::{FairShare, Submitter, Turn};

/// A task in the order of submission.
pub type TaskNumber = u64;

/// A waiting task's place within its line and submitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// When it reaches the highest level.
    pub ripe_at: RipeAt,
    /// Which it is.
    pub number: TaskNumber,
}

/// Where a waiting task stands, to take it out again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its line.
    pub demand: Arc<Demand>,
    /// Its submitter.
    pub submitter: Submitter,
    /// Its ticket.
    pub ticket: Ticket,
}

/// What decides between heads; the least is served.
type Order = (Reverse<u8>, Turn, Ticket);

#[derive(Clone, Debug, Default)]
struct Line {
    waiting: BTreeMap<Submitter, BTreeSet<Ticket>>,
    len: usize,
}

/// All tasks that wait and could be leased.
#[derive(Clone, Debug)]
pub struct Queue {
    aging: Aging,
    lines: BTreeMap<Option<WorkerId>, BTreeMap<Arc<Demand>, Line>>,
    share: FairShare,
    len: usize,
}

impl Queue {
    /// An empty one.
    pub fn new(aging: Aging) -> Self {
        Self {
            aging,
            lines: BTreeMap::new(),
            share: FairShare::default(),
            len: 0,
        }
    }

    /// Tasks that wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How tasks become more urgent.
    pub const fn aging(&self) -> Aging {
        self.aging
    }

    /// What submitters have had.
    pub const fn share_mut(&mut self) -> &mut FairShare {
        &mut self.share
    }

    /// Whether no task with this demand waits.
    pub fn is_line_empty(&self, demand: &Demand) -> bool {
        (self.lines.get(&demand.pinned_to)).is_none_or(|lines| !lines.contains_key(demand))
    }

    /// Adds a task.
    pub fn enter(&mut self, place: &Place) {
        let lines = self
            .lines
            .entry(place.demand.pinned_to.clone())
            .or_default();
        let line = lines.entry(Arc::clone(&place.demand)).or_default();
        let own = line
            .waiting
            .entry(Arc::clone(&place.submitter))
            .or_default();
        if own.insert(place.ticket) {
            line.len += 1;
            self.len += 1;
            self.share.waits(&place.submitter);
        }
    }

    /// Takes a task out; says whether it was there.
    pub fn leave(&mut self, place: &Place) -> bool {
        let Some(lines) = self.lines.get_mut(&place.demand.pinned_to) else {
            return false;
        };
        let Some(line) = lines.get_mut(&place.demand) else {
            return false;
        };
        let Some(own) = line.waiting.get_mut(&place.submitter) else {
            return false;
        };
        if !own.remove(&place.ticket) {
            return false;
        }
        line.len -= 1;
        self.len -= 1;
        if own.is_empty() {
            line.waiting.remove(&place.submitter);
        }
        if line.waiting.is_empty() {
            lines.remove(&place.demand);
        }
        if lines.is_empty() {
            self.lines.remove(&place.demand.pinned_to);
        }
        self.share.leaves(&place.submitter);
        true
    }

    /// The task that a worker should get now, among those whose demand `fits` accepts.
    pub fn best(
        &self,
        worker: &WorkerId,
        now: Duration,
        mut fits: impl FnMut(&Demand) -> bool,
    ) -> Option<TaskNumber> {
        let pinned = self.lines.get(&Some(worker.clone()));
        let open = self.lines.get(&None);
        (pinned.into_iter().chain(open).flatten())
            .filter(|(demand, _)| fits(demand))
            .flat_map(|(_, line)| self.heads(line, now))
            .min()
            .map(|(_, _, ticket)| ticket.number)
    }

    /// The task of one line that is served first.
    pub fn first_of(&self, demand: &Demand, now: Duration) -> Option<TaskNumber> {
        let line = self.lines.get(&demand.pinned_to)?.get(demand)?;
        self.heads(line, now)
            .min()
            .map(|(_, _, ticket)| ticket.number)
    }

    /// The lines, each with the number of tasks in it.
    pub fn lines(&self) -> impl Iterator<Item = (&Demand, usize)> {
        (self.lines.values().flatten()).map(|(demand, line)| (demand.as_ref(), line.len))
    }

    /// Tasks that wait for this worker only.
    pub fn pinned_to(&self, worker: &WorkerId) -> Vec<TaskNumber> {
        (self.lines.get(&Some(worker.clone())).into_iter().flatten())
            .flat_map(|(_, line)| line.waiting.values().flatten())
            .map(|ticket| ticket.number)
            .collect()
    }

    /// The first `limit` tasks in the order in which one worker that can take anything, and keeps
    /// what it has, would get them now.
    pub fn order(&self, now: Duration, limit: usize) -> Vec<TaskNumber> {
        let mut turns: BTreeMap<&Submitter, Turn> = BTreeMap::new();
        let mut rest: Vec<_> = (self.lines.values().flatten())
            .flat_map(|(_, line)| &line.waiting)
            .map(|(submitter, own)| {
                turns.insert(submitter, self.share.turn(submitter));
                (submitter, own.iter().peekable())
            })
            .collect();
        let mut order = Vec::new();
        while order.len() < limit {
            let next = (rest.iter_mut().enumerate())
                .filter_map(|(index, (submitter, own))| {
                    let ticket = **own.peek()?;
                    let level = Reverse(self.aging.level(ticket.ripe_at, now));
                    Some((level, turns[*submitter], ticket, index))
                })
                .min();
            let Some((_, _, ticket, index)) = next else {
                break;
            };
            order.push(ticket.number);
            let (submitter, own) = &mut rest[index];
            own.next();
            if let Some(turn) = turns.get_mut(*submitter) {
                turn.running += 1;
                turn.served += 1;
            }
        }
        order
    }

    fn heads<'a>(&'a self, line: &'a Line, now: Duration) -> impl Iterator<Item = Order> + 'a {
        line.waiting.iter().filter_map(move |(submitter, own)| {
            let ticket = *own.first()?;
            let level = self.aging.level(ticket.ripe_at, now);
            Some((Reverse(level), self.share.turn(submitter), ticket))
        })
    }
}

#[cfg(test)]
mod tests;
