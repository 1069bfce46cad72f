//! Follows a task: its attempts, the output of each from the log, and its end.
//!
//! A follower pulls. It reads the log at its own pace, asks for the task's state when that
//! changed, and otherwise sleeps until it is woken. So a slow one costs nothing but itself.
//!
//! Order is what makes the end reliable: a worker's word that an attempt ended is taken only
//! when all output before it is in the log. Whoever sees the end, then reads the log and finds
//! nothing more, has seen all of it.

use std::sync::Arc;

use cogo_protocol::frame::{HEADER_LEN, OutputHeader};
use cogo_protocol::task::{AttemptStatus, Fence, TaskId, TaskStatus};
use cogo_store::task_log::{Reader, TaskLogError, TaskLogs};

use crate::runtime::{TaskWatch, TaskWatches};
use crate::tasks::{TaskFailure, Tasks};

/// Bytes of output that are read at once.
const BATCH_MAX: usize = 256 * 1024;

/// Begins to follow tasks.
#[derive(Clone)]
pub(crate) struct Follows {
    pub(crate) tasks: Tasks,
    pub(crate) logs: Arc<TaskLogs>,
    pub(crate) watches: Arc<TaskWatches>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    /// At this attempt; `None` for the latest one there is.
    pub(crate) attempt: Option<u32>,
    /// At this record of it. Later attempts are told from their start.
    pub(crate) from_seq: u64,
    /// Tell a few records before it too. Whoever makes text of output needs them, because a
    /// character may be torn between two records.
    pub(crate) lead_in: bool,
}

/// Records before the first one that are told as a lead-in.
const LEAD_IN: u64 = 64;

/// One piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) header: OutputHeader,
    /// Header and output as a binary frame, with handle 0.
    pub(crate) frame: Vec<u8>,
}

impl Record {
    /// What the program wrote.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.frame[HEADER_LEN..]
    }
}

/// What a follower tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// An attempt runs, or ran.
    Started(AttemptStatus),
    /// It wrote this.
    Output(Vec<Record>),
    /// All of it was told; another attempt may follow.
    AttemptOver {
        /// Number after its last record.
        log_end: u64,
    },
    /// The task is over.
    Ended(Box<TaskStatus>),
}

/// Why a follower cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowFailure {
    #[error(transparent)]
    Task(#[from] TaskFailure),
    #[error("failed to read the output")]
    Log(#[from] TaskLogError),
}

/// Follows one task.
pub(crate) struct Follow {
    follows: Follows,
    task_id: TaskId,
    watch: TaskWatch,
    status: TaskStatus,
    /// Up to which change of its state `status` is true.
    state_seen: u64,
    start: Start,
    current: Option<Current>,
    /// The last attempt that was told to its end.
    done: u32,
    ended: bool,
}

/// The attempt that is being told.
struct Current {
    number: u32,
    fence: Fence,
    /// Where the next output comes from, as far as there is a reader to know it.
    from_seq: u64,
    /// There is none before the first output.
    reader: Option<Reader>,
}

impl Current {
    /// What is in the log by now, up to a bound.
    ///
    /// Reads come from the page cache as a rule and are short, so that they happen on the spot.
    fn read(&mut self, logs: &TaskLogs, task_id: &TaskId) -> Result<Vec<Record>, TaskLogError> {
        if self.reader.is_none() {
            self.reader = logs.reader(task_id, self.fence, self.from_seq)?;
        }
        let mut records = Vec::new();
        let Some(reader) = &mut self.reader else {
            return Ok(records);
        };
        let mut bytes = 0;
        while bytes < BATCH_MAX
            && let Some(record) = reader.next()?
        {
            bytes += record.frame.len();
            records.push(Record {
                header: record.header,
                frame: record.frame.to_vec(),
            });
        }
        self.from_seq = reader.next_seq();
        Ok(records)
    }
}

impl Follows {
    /// Follows a task.
    pub(crate) async fn follow(
        &self,
        task_id: &TaskId,
        start: Start,
    ) -> Result<Follow, TaskFailure> {
        let mut watch = self.watches.watch(task_id);
        let state_seen = watch.seen().state;
        let status = self.tasks.status(task_id).await?;
        // Without a wish, what earlier attempts wrote is history.
        let first = start.attempt.unwrap_or_else(|| latest(&status));
        Ok(Follow {
            follows: self.clone(),
            task_id: task_id.clone(),
            watch,
            status,
            state_seen,
            start: Start {
                attempt: Some(first),
                ..start
            },
            current: None,
            done: first.saturating_sub(1),
            ended: false,
        })
    }
}

fn latest(status: &TaskStatus) -> u32 {
    status.attempts.last().map_or(1, |attempt| attempt.number)
}

impl Follow {
    /// Number after the last record that was told of the attempt that is being told.
    pub(crate) fn position(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.from_seq)
    }

    /// What comes next; waits for it. `None` after the end. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Told>, FollowFailure> {
        loop {
            if let Some(told) = self.now().await? {
                return Ok(Some(told));
            }
            if self.ended {
                return Ok(None);
            }
            self.watch.wait().await;
        }
    }

    /// What comes next, if it is there already.
    pub(crate) async fn now(&mut self) -> Result<Option<Told>, FollowFailure> {
        if self.ended {
            return Ok(None);
        }
        let news = self.watch.seen();
        if news.state != self.state_seen {
            self.status = self.follows.tasks.status(&self.task_id).await?;
            self.state_seen = news.state;
        }
        if let Some(current) = &mut self.current {
            let records = current.read(&self.follows.logs, &self.task_id)?;
            if !records.is_empty() {
                return Ok(Some(Told::Output(records)));
            }
            return Ok(self.leave_attempt());
        }
        let Some(next) = self.next_attempt() else {
            return Ok(self.end());
        };
        if next.started_at.is_none() && next.ended_at.is_none() {
            return Ok(None);
        }
        let next = next.clone();
        self.enter_attempt(&next);
        Ok(Some(Told::Started(next)))
    }

    fn next_attempt(&self) -> Option<&AttemptStatus> {
        self.status
            .attempts
            .iter()
            .find(|attempt| attempt.number > self.done)
    }

    fn enter_attempt(&mut self, attempt: &AttemptStatus) {
        let first = self.start.attempt == Some(attempt.number);
        let from_seq = match (first, self.start.lead_in) {
            (true, true) => self.start.from_seq.saturating_sub(LEAD_IN),
            (true, false) => self.start.from_seq,
            (false, _) => 0,
        };
        self.current = Some(Current {
            number: attempt.number,
            fence: attempt.fence,
            from_seq,
            reader: None,
        });
    }

    /// Called when the log has no more: the attempt is over, or there will be more.
    fn leave_attempt(&mut self) -> Option<Told> {
        let number = self.current.as_ref()?.number;
        let over = self.status.state.is_final()
            || self
                .status
                .attempts
                .iter()
                .any(|attempt| attempt.number == number && attempt.ended_at.is_some());
        if !over {
            return None;
        }
        let log_end = self.position();
        self.current = None;
        self.done = number;
        Some(Told::AttemptOver { log_end })
    }

    fn end(&mut self) -> Option<Told> {
        if !self.status.state.is_final() {
            return None;
        }
        self.ended = true;
        Some(Told::Ended(Box::new(self.status.clone())))
    }
}
