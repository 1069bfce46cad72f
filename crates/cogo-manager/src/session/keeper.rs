//! Keeps the output that comes over one connection.
//!
//! Each attempt has a log and a place in the talk with its worker:
//!
//! ```text
//! log:   Begin ─▶ fresh ──first output──▶ open ◀──has the log── waiting ◀─ Resume
//!
//! talk:  Begin ─▶ unheard ──start──▶ heard ◀──start── asked ◀─ Resume
//!                    │                 │                ▲
//!                    └─── an end that tells of more ────┘
//! ```
//!
//! A frame carries the number of the last record in it, so numbers rise and skip. What a worker
//! tells of an attempt begins with its start, is in order and is whole. What an earlier connection
//! lost is asked for from where the log ends, and an end that tells of more than came is answered
//! with that question too. Until the worker begins anew with the attempt's start, what comes was
//! sent before it heard the question: it counts for nothing.
//!
//! An end is passed on when all output before it is in the log, or the worker has said of the rest
//! that it is gone. There is no other way, however often it has to be asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use cogo_protocol::frame::{BadFrame, OutputHeader};
use cogo_protocol::message::{Attach, FromWorker, OutputCut, ToWorker, error_code};
use cogo_protocol::task::{Fence, TaskId};
use cogo_store::Durability;
use cogo_store::task_log::{Appender, TaskLogError, TaskLogs};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::coordinator::ConnectionId;
use crate::http::Api;
use crate::runtime::TaskWatches;

/// What to do with something that a worker said.
pub(super) enum Verdict {
    /// The coordinator has to know.
    PassOn,
    /// The coordinator has to know when this log is on the disk.
    PassOnSynced(Box<Appender>),
    /// It was for this place, or comes again.
    Keep,
}

pub(super) struct Keeper {
    logs: Arc<TaskLogs>,
    watches: Arc<TaskWatches>,
    durability: Durability,
    connection: ConnectionId,
    attempts: HashMap<TaskId, Attempt>,
    /// What stands for which attempt in frames.
    handles: HashMap<u32, (TaskId, Fence)>,
    /// Frames that were read and are not in their logs.
    pending: Vec<(TaskId, Fence, Bytes)>,
}

/// One attempt whose output comes over the connection.
struct Attempt {
    fence: Fence,
    log: Log,
    talk: Talk,
    /// The lowest number that is missing.
    next_seq: u64,
    /// When to ask for it, if that is to be done.
    ask_at: Option<Instant>,
    /// Questions since something new came.
    asked: u32,
    /// Whether output came since the last order to ask for it.
    grew: bool,
}

enum Log {
    /// Nothing was written yet.
    Fresh,
    /// An older connection may still have it.
    Waiting,
    Open(Appender),
}

/// What the worker has said of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// Nothing yet.
    Unheard,
    /// Its start. Output follows.
    Heard,
    /// It was asked, and has not begun anew.
    Asked,
}

/// Wait before a worker is asked again that has answered and left something out.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// The longest such wait, after doubling.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(5);

impl Keeper {
    pub(super) fn new(api: &Api, connection: ConnectionId) -> Self {
        Self::over(
            Arc::clone(&api.logs),
            Arc::clone(&api.watches),
            api.durability,
            connection,
        )
    }

    fn over(
        logs: Arc<TaskLogs>,
        watches: Arc<TaskWatches>,
        durability: Durability,
        connection: ConnectionId,
    ) -> Self {
        Self {
            logs,
            watches,
            durability,
            connection,
            attempts: HashMap::new(),
            handles: HashMap::new(),
            pending: Vec::new(),
        }
    }

    /// An attempt is new on this connection.
    pub(super) fn begin(&mut self, task_id: TaskId, fence: Fence) {
        self.attempts
            .insert(task_id, Attempt::new(fence, Log::Fresh));
    }

    /// What is missing of an attempt is to be asked for: it was running before this connection, or
    /// has ended without telling so.
    pub(super) fn resume(&mut self, task_id: TaskId, fence: Fence) {
        let known = self.attempts.get_mut(&task_id);
        if let Some(attempt) = known.filter(|attempt| attempt.fence == fence) {
            // While its output comes, its end is on its way behind that.
            if !std::mem::take(&mut attempt.grew) {
                attempt.ask_at.get_or_insert_with(Instant::now);
            }
        } else {
            let mut attempt = Attempt::new(fence, Log::Waiting);
            attempt.ask_at = Some(Instant::now());
            self.attempts.insert(task_id, attempt);
        }
    }

    /// Whether there is something to ask for, now or later.
    pub(super) fn has_questions(&self) -> bool {
        (self.attempts.values()).any(|attempt| attempt.ask_at.is_some())
    }

    /// The questions that are due. Takes over the logs for them, if they are free by now.
    pub(super) fn questions(&mut self) -> Result<Vec<ToWorker>, TaskLogError> {
        let now = Instant::now();
        let mut questions = Vec::new();
        for (task_id, attempt) in &mut self.attempts {
            let due = attempt.ask_at.is_some_and(|at| at <= now);
            if due && attempt.open(&self.logs, task_id)? {
                questions.push(ToWorker::Attach(attempt.ask(task_id)));
            }
        }
        Ok(questions)
    }

    /// Takes a frame of output. It is in the log after the next [`Self::flush`].
    pub(super) fn output(&mut self, frame: Bytes) -> Result<(), BadFrame> {
        let (header, _) = OutputHeader::decode(&frame)?;
        // Output of an attempt that is over for us has no place any more. What should not be
        // missing is noticed at the attempt's end.
        if let Some((task_id, fence)) = self.handles.get(&header.handle) {
            self.pending.push((task_id.clone(), *fence, frame));
        }
        Ok(())
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self) -> Result<(), TaskLogError> {
        let pending = std::mem::take(&mut self.pending);
        // Frames of one attempt mostly come in a row.
        for run in pending.chunk_by(|a, b| a.0 == b.0 && a.1 == b.1) {
            let (task_id, fence, _) = &run[0];
            let attempt = self.attempts.get_mut(task_id);
            let Some(attempt) = attempt.filter(|attempt| attempt.fence == *fence) else {
                continue;
            };
            let before = attempt.next_seq;
            attempt.append(&self.logs, task_id, run)?;
            if attempt.next_seq != before {
                self.watches.log_grew(task_id);
            }
        }
        Ok(())
    }

    /// Looks at what a worker said, when all output before it was flushed.
    pub(super) fn heard(&mut self, message: &FromWorker) -> Verdict {
        match message {
            FromWorker::ExecutionStarted(started) => {
                if let (Some(handle), Some(fence)) = (started.handle, started.fence) {
                    self.handles
                        .insert(handle, (started.task_id.clone(), fence));
                    let attempt = self.attempts.get_mut(&started.task_id);
                    if let Some(attempt) = attempt.filter(|attempt| attempt.fence == fence) {
                        attempt.talk = Talk::Heard;
                    }
                }
                Verdict::PassOn
            }
            FromWorker::TaskComplete(complete) => {
                self.ended(&complete.task_id, complete.fence, complete.last_seq)
            }
            FromWorker::TaskError(error) => match (&error.task_id, error.last_seq) {
                (Some(task_id), Some(last_seq)) => self.ended(task_id, error.fence, Some(last_seq)),
                (Some(task_id), None) => {
                    if error.code.as_deref() == Some(error_code::NO_SUCH_TASK) {
                        self.forgotten(task_id);
                    }
                    Verdict::PassOn
                }
                (None, _) => Verdict::PassOn,
            },
            FromWorker::OutputCut(cut) => self.cut(cut),
            FromWorker::TaskOutput(output) => {
                // Only a worker that was asked for JSON sends this.
                warn!(connection = self.connection.0, task_id = %output.task_id, "output came as text; left out");
                Verdict::Keep
            }
            FromWorker::Welcome(_) | FromWorker::Pong(_) => Verdict::Keep,
            FromWorker::BlockDetected(_)
            | FromWorker::ProgressUpdate(_)
            | FromWorker::Heartbeat(_)
            | FromWorker::BlockReport(_)
            | FromWorker::TaskList(_) => Verdict::PassOn,
        }
    }

    /// Records are gone for good; what comes next is behind them.
    fn cut(&mut self, cut: &OutputCut) -> Verdict {
        let attempt = (self.attempts.get_mut(&cut.task_id))
            .filter(|attempt| Some(attempt.fence) == cut.fence && attempt.talk == Talk::Heard);
        match attempt {
            Some(attempt)
                if cut.first_seq <= attempt.next_seq && attempt.next_seq < cut.end_seq =>
            {
                let (from, to) = (attempt.next_seq, cut.end_seq);
                info!(task_id = %cut.task_id, from, to, "output is gone on the worker");
                attempt.next_seq = cut.end_seq;
                attempt.asked = 0;
                Verdict::PassOn
            }
            Some(_) | None => Verdict::Keep,
        }
    }

    /// The worker has no such task. If it was asked for output, there is none to come; what became
    /// of the attempt is for the coordinator to find out.
    fn forgotten(&mut self, task_id: &TaskId) {
        let asked = |attempt: &Attempt| attempt.talk == Talk::Asked;
        if self.attempts.get(task_id).is_some_and(asked) {
            self.forget(task_id);
        }
    }

    fn forget(&mut self, task_id: &TaskId) -> Option<Attempt> {
        self.handles.retain(|_, (of, _)| of != task_id);
        self.attempts.remove(task_id)
    }

    /// The end of an attempt counts when its whole output is in the log.
    fn ended(&mut self, task_id: &TaskId, fence: Option<Fence>, last_seq: Option<u64>) -> Verdict {
        let Some(attempt) = self.attempts.get_mut(task_id) else {
            return Verdict::PassOn;
        };
        if fence != Some(attempt.fence) {
            return Verdict::PassOn;
        }
        if attempt.talk == Talk::Asked {
            return Verdict::Keep;
        }
        if let Some(last_seq) = last_seq
            && last_seq > attempt.next_seq
        {
            attempt.ask_again(task_id, last_seq);
            return Verdict::Keep;
        }
        match self.forget(task_id).map(|attempt| attempt.log) {
            Some(Log::Open(appender)) if self.durability == Durability::Full => {
                Verdict::PassOnSynced(Box::new(appender))
            }
            Some(Log::Open(_) | Log::Fresh | Log::Waiting) | None => Verdict::PassOn,
        }
    }
}

impl Attempt {
    const fn new(fence: Fence, log: Log) -> Self {
        Self {
            fence,
            log,
            talk: Talk::Unheard,
            next_seq: 0,
            ask_at: None,
            asked: 0,
            grew: false,
        }
    }

    /// The question for what is missing.
    fn ask(&mut self, task_id: &TaskId) -> Attach {
        self.talk = Talk::Asked;
        self.ask_at = None;
        self.asked += 1;
        Attach {
            task_id: task_id.clone(),
            from_seq: self.next_seq,
        }
    }

    /// An end told of more than came.
    fn ask_again(&mut self, task_id: &TaskId, last_seq: u64) {
        let wait = match self.asked {
            0 => Duration::ZERO,
            more => (ASK_AGAIN * 2_u32.pow(more.min(16) - 1)).min(ASK_AGAIN_MAX),
        };
        if self.asked > 0 {
            let (from, asked) = (self.next_seq, self.asked);
            warn!(%task_id, from, to = last_seq, asked, "the worker was asked for output and left it out; asking again");
        }
        self.ask_at = Some(Instant::now() + wait);
    }

    /// Opens the log. Whether it is open: an older connection may still have it.
    fn open(&mut self, logs: &TaskLogs, task_id: &TaskId) -> Result<bool, TaskLogError> {
        if matches!(self.log, Log::Open(_)) {
            return Ok(true);
        }
        match logs.appender(task_id, self.fence) {
            Ok(appender) => {
                self.next_seq = self.next_seq.max(appender.end());
                self.log = Log::Open(appender);
                Ok(true)
            }
            Err(TaskLogError::Appending { .. }) => {
                // What comes before it was taken over comes again.
                self.log = Log::Waiting;
                self.ask_at.get_or_insert_with(Instant::now);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Appends frames that continue the log. What is in it already came twice.
    fn append(
        &mut self,
        logs: &TaskLogs,
        task_id: &TaskId,
        frames: &[(TaskId, Fence, Bytes)],
    ) -> Result<(), TaskLogError> {
        // The last one leaves out only what comes again when the log was taken over.
        if self.talk != Talk::Heard
            || matches!(self.log, Log::Waiting)
            || !self.open(logs, task_id)?
        {
            return Ok(());
        }
        let Log::Open(appender) = &mut self.log else {
            return Ok(());
        };
        let mut next_seq = self.next_seq;
        let mut records = Vec::with_capacity(frames.len());
        for (_, _, frame) in frames {
            if let Ok((header, output)) = OutputHeader::decode(frame)
                && header.seq >= next_seq
            {
                next_seq = header.seq.saturating_add(1);
                records.push((header, output));
            }
        }
        if !records.is_empty() {
            appender.append(&records)?;
            self.next_seq = next_seq;
            self.asked = 0;
            self.grew = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
