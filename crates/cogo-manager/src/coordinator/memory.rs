//! What the coordinator remembers of things past, each within a bound.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use cogo_protocol::task::TaskId;
use cogo_protocol::worker::WorkerId;
use cogo_store::TaskRecord;

/// Names of tasks that ended lately.
#[derive(Debug, Default)]
pub(super) struct EndedNames {
    names: HashSet<TaskId>,
    order: VecDeque<(Duration, TaskId)>,
}

impl EndedNames {
    /// Adds one, and drops those older than `keep`.
    pub(super) fn note(&mut self, name: &TaskId, now: Duration, keep: Duration) {
        while let Some((at, _)) = self.order.front()
            && *at + keep < now
        {
            if let Some((_, old)) = self.order.pop_front() {
                self.names.remove(&old);
            }
        }
        if self.names.insert(name.clone()) {
            self.order.push_back((now, name.clone()));
        }
    }

    pub(super) fn contains(&self, name: &TaskId) -> bool {
        self.names.contains(name)
    }
}

/// Which worker last had which workspace of which submitter, and has it warm.
#[derive(Debug, Default)]
pub(super) struct Warm {
    workers: HashMap<WarmKey, WorkerId>,
    order: VecDeque<WarmKey>,
}

/// A submitter's workspace.
pub(super) type WarmKey = (String, String);

/// Workspaces that are remembered.
const WARM_MAX: usize = 10_000;

impl Warm {
    /// The workspace of a task that has one of its own.
    pub(super) fn key(task: &TaskRecord) -> Option<WarmKey> {
        let (path, _) = task.request.command.workspace.as_ref()?.parts();
        Some((task.submitter.clone(), path.to_owned()))
    }

    pub(super) fn note(&mut self, key: WarmKey, worker: &WorkerId) {
        if self.workers.insert(key.clone(), worker.clone()).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > WARM_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.workers.remove(&oldest);
        }
    }

    pub(super) fn worker(&self, key: &WarmKey) -> Option<&WorkerId> {
        self.workers.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_names_are_kept_for_a_while() {
        let mut ended = EndedNames::default();
        let keep = Duration::from_secs(10);
        let (one, two): (TaskId, TaskId) = ("one".parse().unwrap(), "two".parse().unwrap());
        ended.note(&one, Duration::from_secs(1), keep);
        ended.note(&two, Duration::from_secs(11), keep);
        assert!(ended.contains(&one) && ended.contains(&two));
        ended.note(&two, Duration::from_secs(12), keep);
        assert!(!ended.contains(&one) && ended.contains(&two));
    }

    #[test]
    fn warm_workspaces_are_bounded() {
        let mut warm = Warm::default();
        let worker = "w".parse().unwrap();
        let key = |number: usize| ("a".to_owned(), number.to_string());
        for number in 0..=WARM_MAX {
            warm.note(key(number), &worker);
        }
        assert_eq!(warm.worker(&key(0)), None);
        assert_eq!(warm.worker(&key(1)), Some(&worker));
    }
}
