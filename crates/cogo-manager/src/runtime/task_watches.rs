//! Wakes those who look at a task when there is something new of it.
//!
//! A watch carries no output and no state, only that there is more: whoever is woken reads the
//! log and asks for the state. So a slow one costs nothing, and misses nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cogo_protocol::task::TaskId;
use tokio::sync::watch;

/// What is new of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Rises when its log grew.
    pub(crate) log: u64,
    /// Rises when its state changed.
    pub(crate) state: u64,
}

type Watched = HashMap<TaskId, watch::Sender<News>>;

/// The tasks that someone looks at.
#[derive(Debug, Default)]
pub(crate) struct TaskWatches {
    watched: Mutex<Watched>,
}

/// One look at a task; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct TaskWatch {
    watches: Arc<TaskWatches>,
    task_id: TaskId,
    /// Always there, until it is dropped.
    receiver: Option<watch::Receiver<News>>,
}

impl TaskWatches {
    /// Looks at a task from now on, whether it exists or not.
    pub(crate) fn watch(self: &Arc<Self>, task_id: &TaskId) -> TaskWatch {
        let receiver = self
            .lock()
            .entry(task_id.clone())
            .or_insert_with(|| watch::channel(News::default()).0)
            .subscribe();
        TaskWatch {
            watches: Arc::clone(self),
            task_id: task_id.clone(),
            receiver: Some(receiver),
        }
    }

    /// The task's log grew.
    pub(crate) fn log_grew(&self, task_id: &TaskId) {
        self.wake(task_id, |news| news.log += 1);
    }

    /// The task's state changed.
    pub(crate) fn changed(&self, task_id: &TaskId) {
        self.wake(task_id, |news| news.state += 1);
    }

    fn wake(&self, task_id: &TaskId, change: impl FnOnce(&mut News)) {
        if let Some(sender) = self.lock().get(task_id) {
            sender.send_modify(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskWatch {
    /// What is new; marks it as seen.
    pub(crate) fn seen(&mut self) -> News {
        self.receiver().borrow_and_update().to_owned()
    }

    /// Waits for something that was not seen. Cancelling it loses nothing.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as somebody watches.
        let _ = self.receiver().changed().await;
    }

    fn receiver(&mut self) -> &mut watch::Receiver<News> {
        self.receiver
            .as_mut()
            .expect("the receiver is only taken by drop")
    }
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        let mut watched = self.watches.lock();
        self.receiver = None;
        if watched
            .get(&self.task_id)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            watched.remove(&self.task_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_sees_what_comes_after_it_and_leaves_nothing_behind() {
        let watches = Arc::new(TaskWatches::default());
        let id: TaskId = "t".parse().unwrap();
        watches.log_grew(&id);
        let mut first = watches.watch(&id);
        let mut second = watches.watch(&id);
        assert_eq!(first.seen(), News::default());
        watches.log_grew(&id);
        watches.changed(&id);
        first.wait().await;
        second.wait().await;
        assert_eq!(first.seen(), News { log: 1, state: 1 });
        drop(first);
        assert_eq!(watches.lock().len(), 1);
        drop(second);
        assert!(watches.lock().is_empty());
    }
}
