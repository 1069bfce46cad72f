//! Keeps the output that comes over one connection.
//!
//! Each attempt is in one of these states here:
//!
//! ```text
//! Begin ─▶ fresh ──first output──▶ open ◀──has the log── waiting ◀─ Resume
//! ```
//!
//! A frame carries the number of the last record in it, so numbers rise and skip. What a
//! connection carries is in order and whole; what an earlier one lost is asked for from where the
//! log ends, and an end that tells of more than came is answered with that question too.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use cogo_protocol::frame::{BadFrame, OutputHeader};
use cogo_protocol::message::{Attach, FromWorker, OutputCut, ToWorker};
use cogo_protocol::task::{Fence, TaskId};
use cogo_store::Durability;
use cogo_store::task_log::{Appender, TaskLogError, TaskLogs};
use tracing::warn;

use crate::coordinator::ConnectionId;
use crate::http::Api;
use crate::runtime::TaskWatches;

/// What to do with something that a worker said.
pub(super) enum Verdict {
    /// The coordinator has to know.
    PassOn,
    /// The coordinator has to know when this log is on the disk.
    PassOnSynced(Box<Appender>),
    /// Output before it is missing: ask for it. What was said will be said again.
    Ask(Attach),
    /// It was for this place.
    Keep,
}

pub(super) struct Keeper {
    logs: Arc<TaskLogs>,
    watches: Arc<TaskWatches>,
    durability: Durability,
    connection: ConnectionId,
    attempts: HashMap<TaskId, Attempt>,
    /// What stands for which task in frames.
    handles: HashMap<u32, TaskId>,
    /// Frames that were read and are not in their logs.
    pending: Vec<(TaskId, Bytes)>,
}

/// One attempt whose output comes over the connection.
struct Attempt {
    fence: Fence,
    log: Log,
    /// The lowest number that is missing.
    next_seq: u64,
    /// How often an end was answered with the question for that number.
    asked: u32,
    /// It was asked for output from some record on. Until the worker begins anew with
    /// `execution_started`, what comes was sent before it heard the question.
    awaiting_start: bool,
}

/// Questions for the same record after which it counts as lost. More than one, because an end
/// that was sent before the first question was heard looks like its answer.
const QUESTIONS_MAX: u32 = 4;

enum Log {
    /// Nothing was written yet.
    Fresh,
    /// An older connection may still have it.
    Waiting,
    Open(Appender),
}

impl Keeper {
    pub(super) fn new(api: &Api, connection: ConnectionId) -> Self {
        Self {
            logs: Arc::clone(&api.logs),
            watches: Arc::clone(&api.watches),
            durability: api.durability,
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

    /// An attempt was running before this connection.
    pub(super) fn resume(&mut self, task_id: TaskId, fence: Fence) {
        if self
            .attempts
            .get(&task_id)
            .is_some_and(|attempt| attempt.fence == fence && matches!(attempt.log, Log::Open(_)))
        {
            return;
        }
        self.attempts
            .insert(task_id, Attempt::new(fence, Log::Waiting));
    }

    /// Whether there are logs to take over.
    pub(super) fn waits(&self) -> bool {
        self.attempts
            .values()
            .any(|attempt| matches!(attempt.log, Log::Waiting))
    }

    /// Takes over the logs that are free by now, and says what to ask for.
    pub(super) fn take_over(&mut self) -> Result<Vec<ToWorker>, TaskLogError> {
        let mut asks = Vec::new();
        for (task_id, attempt) in &mut self.attempts {
            if !matches!(attempt.log, Log::Waiting) {
                continue;
            }
            match self.logs.appender(task_id, attempt.fence) {
                Ok(appender) => {
                    attempt.next_seq = appender.end();
                    attempt.log = Log::Open(appender);
                    asks.push(ToWorker::Attach(attempt.ask(task_id)));
                }
                Err(TaskLogError::Appending { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(asks)
    }

    /// Takes a frame of output. It is in the log after the next [`Self::flush`].
    pub(super) fn output(&mut self, frame: Bytes) -> Result<(), BadFrame> {
        let (header, _) = OutputHeader::decode(&frame)?;
        // Output of an attempt that is over for us has no place any more. What should not be
        // missing is noticed at the attempt's end.
        if let Some(task_id) = self.handles.get(&header.handle) {
            self.pending.push((task_id.clone(), frame));
        }
        Ok(())
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self) -> Result<(), TaskLogError> {
        let pending = std::mem::take(&mut self.pending);
        // Frames of one task mostly come in a row.
        for run in pending.chunk_by(|a, b| a.0 == b.0) {
            let task_id = &run[0].0;
            let Some(attempt) = self.attempts.get_mut(task_id) else {
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
    pub(super) fn heard(&mut self, message: &FromWorker) -> Result<Verdict, TaskLogError> {
        match message {
            FromWorker::ExecutionStarted(started) => {
                if let Some(handle) = started.handle {
                    self.handles.insert(handle, started.task_id.clone());
                }
                if let Some(attempt) = self.attempts.get_mut(&started.task_id) {
                    attempt.awaiting_start = false;
                }
                Ok(Verdict::PassOn)
            }
            FromWorker::TaskComplete(complete) => {
                self.ended(&complete.task_id, complete.fence, complete.last_seq)
            }
            FromWorker::TaskError(error) => match (&error.task_id, error.last_seq) {
                (Some(task_id), Some(last_seq)) => self.ended(task_id, error.fence, Some(last_seq)),
                (_, _) => Ok(Verdict::PassOn),
            },
            FromWorker::OutputCut(cut) => {
                self.cut(cut);
                Ok(Verdict::Keep)
            }
            FromWorker::TaskOutput(output) => {
                // Only a worker that was asked for JSON sends this.
                warn!(connection = self.connection.0, task_id = %output.task_id, "output came as text; left out");
                Ok(Verdict::Keep)
            }
            FromWorker::Welcome(_) | FromWorker::Pong(_) => Ok(Verdict::Keep),
            FromWorker::BlockDetected(_)
            | FromWorker::ProgressUpdate(_)
            | FromWorker::Heartbeat(_)
            | FromWorker::BlockReport(_)
            | FromWorker::TaskList(_) => Ok(Verdict::PassOn),
        }
    }

    /// Records are gone for good; what comes next is behind them.
    fn cut(&mut self, cut: &OutputCut) {
        if let Some(attempt) = self.attempts.get_mut(&cut.task_id)
            && cut.first_seq <= attempt.next_seq
        {
            attempt.next_seq = attempt.next_seq.max(cut.end_seq);
            attempt.asked = 0;
        }
    }

    /// The end of an attempt counts when its whole output is in the log.
    fn ended(
        &mut self,
        task_id: &TaskId,
        fence: Option<Fence>,
        last_seq: Option<u64>,
    ) -> Result<Verdict, TaskLogError> {
        if !self.attempts.contains_key(task_id)
            && let (Some(fence), Some(1..)) = (fence, last_seq)
        {
            // Told before the coordinator has said what to do with it: what is in its log counts.
            self.resume(task_id.clone(), fence);
            if let Some(attempt) = self.attempts.get_mut(task_id) {
                attempt.log = Log::Fresh;
                attempt.open(&self.logs, task_id)?;
            }
        }
        let Some(attempt) = self.attempts.get_mut(task_id) else {
            return Ok(Verdict::PassOn);
        };
        if fence.is_some_and(|fence| fence != attempt.fence) {
            return Ok(Verdict::PassOn);
        }
        if last_seq.is_some_and(|last_seq| last_seq > attempt.next_seq) {
            if attempt.asked < QUESTIONS_MAX {
                attempt.open(&self.logs, task_id)?;
                attempt.asked += 1;
                return Ok(Verdict::Ask(attempt.ask(task_id)));
            }
            // The worker was asked, and has nothing to send.
            warn!(%task_id, from = attempt.next_seq, to = last_seq, "output is missing for good");
        }
        let attempt = self.attempts.remove(task_id);
        self.handles.retain(|_, of| of != task_id);
        match attempt.map(|attempt| attempt.log) {
            Some(Log::Open(appender)) if self.durability == Durability::Full => {
                Ok(Verdict::PassOnSynced(Box::new(appender)))
            }
            Some(Log::Open(_) | Log::Fresh | Log::Waiting) | None => Ok(Verdict::PassOn),
        }
    }
}

impl Attempt {
    const fn new(fence: Fence, log: Log) -> Self {
        Self {
            fence,
            log,
            next_seq: 0,
            asked: 0,
            awaiting_start: false,
        }
    }

    /// The question for what is missing.
    fn ask(&mut self, task_id: &TaskId) -> Attach {
        self.awaiting_start = true;
        Attach {
            task_id: task_id.clone(),
            from_seq: self.next_seq,
        }
    }

    fn open(&mut self, logs: &TaskLogs, task_id: &TaskId) -> Result<(), TaskLogError> {
        if matches!(self.log, Log::Fresh) {
            let appender = logs.appender(task_id, self.fence)?;
            self.next_seq = self.next_seq.max(appender.end());
            self.log = Log::Open(appender);
        }
        Ok(())
    }

    /// Appends frames that continue the log. What is in it already came twice.
    fn append(
        &mut self,
        logs: &TaskLogs,
        task_id: &TaskId,
        frames: &[(TaskId, Bytes)],
    ) -> Result<(), TaskLogError> {
        self.open(logs, task_id)?;
        let Log::Open(appender) = &mut self.log else {
            // They come again when the log was taken over.
            return Ok(());
        };
        if self.awaiting_start {
            return Ok(());
        }
        let mut next_seq = self.next_seq;
        let mut records = Vec::with_capacity(frames.len());
        for (_, frame) in frames {
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
        }
        Ok(())
    }
}
