//! A task as connections see it: what it is, how far it is, how it ended.

use std::sync::Arc;

use cogo_protocol::block::BlockReason;
use cogo_protocol::message::{
    BlockDetected, ExecutionStarted, FromWorker, TaskBrief, TaskComplete, TaskError, error_code,
};
use cogo_protocol::verdict::Outcome;
use cogo_protocol::worker::WorkerId;
use cogo_sandbox::exec_dir::ExecDir;
use cogo_sandbox::verdict::Verdict;
use tokio::sync::watch;

use crate::block::{Block, Blocks};
use crate::convert;
use crate::instant::now_ms;
use crate::refusal::Refusal;
use crate::task_record::TaskRecord;

/// One attempt at a task. Shared by the table, its runner and all connections.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) record: TaskRecord,
    pub(crate) exec: ExecDir,
    pub(crate) progress: watch::Receiver<Progress>,
}

/// How far a task is.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// When and as which process the command was started, if it was.
    pub(crate) begun: Option<Begun>,
    /// Records before this number can be read from the log.
    pub(crate) log_end: u64,
    /// Whether and why it hangs.
    pub(crate) blocks: Blocks,
    /// Whether the worker itself ended its input.
    pub(crate) input_ended: bool,
    /// Counts looks without a supervisor that could tell the log's end. Each is a reason to read.
    pub(crate) looks: u64,
}

/// What a task is doing.
///
/// ```text
/// Starting ──▶ Running ──▶ Ended
///     └──────────────────────▲
/// ```
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Its exec is being made.
    Starting,
    /// Its command runs.
    Running,
    /// It is over.
    Ended(Arc<End>),
}

/// The start of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) at_ms: u64,
    pub(crate) pid: Option<u32>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// The exec's verdict.
    Verdict(Box<Verdict>),
    /// There is no exec to tell of.
    Refused(Refusal),
}

impl Progress {
    pub(crate) fn starting() -> Self {
        Self {
            phase: Phase::Starting,
            begun: None,
            log_end: 0,
            blocks: Blocks::default(),
            input_ended: false,
            looks: 0,
        }
    }

    /// Why it hangs now, if it does.
    pub(crate) fn blocked(&self) -> Option<BlockReason> {
        let standing = self.blocks.standing.as_ref();
        standing
            .filter(|_| self.end().is_none())
            .map(|sighting| sighting.block.reason)
    }

    pub(crate) fn end(&self) -> Option<&Arc<End>> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Starting | Phase::Running => None,
        }
    }
}

impl Task {
    /// Whether it hangs now.
    pub(crate) fn hangs(&self) -> bool {
        self.progress.borrow().blocked().is_some()
    }

    /// Whether it is not over.
    pub(crate) fn is_live(&self) -> bool {
        self.progress.borrow().end().is_none()
    }

    /// As it stands in lists.
    pub(crate) fn brief(&self) -> TaskBrief {
        let progress = self.progress.borrow();
        TaskBrief {
            task_id: self.record.task_id.clone(),
            attempt: self.record.attempt,
            fence: self.record.fence,
            exec_id: self.record.exec_id,
            running: progress.end().is_none(),
            last_seq: progress.log_end,
            blocked: progress.blocked(),
        }
    }

    /// The message that it hangs.
    pub(crate) fn blocked(&self, block: &Block, worker_id: &WorkerId) -> FromWorker {
        FromWorker::BlockDetected(Box::new(BlockDetected {
            task_id: self.record.task_id.clone(),
            worker_id: worker_id.clone(),
            block_info: block.info(self.record.task_id.clone(), worker_id.clone()),
            timestamp: now_ms(),
            fence: self.record.fence,
        }))
    }

    /// The message that its command runs.
    pub(crate) fn started(
        &self,
        begun: Begun,
        handle: Option<u32>,
        worker_id: &WorkerId,
    ) -> FromWorker {
        FromWorker::ExecutionStarted(ExecutionStarted {
            task_id: self.record.task_id.clone(),
            worker_id: worker_id.clone(),
            timestamp: begun.at_ms,
            pid: begun.pid,
            attempt: self.record.attempt,
            fence: self.record.fence,
            exec_id: Some(self.record.exec_id),
            handle,
        })
    }

    /// The last message about it.
    pub(crate) fn ended(&self, end: &End, worker_id: &WorkerId) -> FromWorker {
        let verdict = match end {
            End::Refused(refusal) => {
                let mut error = refused(Some(&self.record), refusal, worker_id);
                error.last_seq = Some(0);
                return FromWorker::TaskError(error);
            }
            End::Verdict(verdict) => verdict,
        };
        let told = convert::verdict(verdict);
        match told.outcome.exit_code() {
            Some(exit_code) => FromWorker::TaskComplete(Box::new(TaskComplete {
                task_id: self.record.task_id.clone(),
                worker_id: worker_id.clone(),
                exit_code,
                timestamp: verdict.ended_at_ms,
                usage: Some(convert::usage(&verdict.usage)),
                last_seq: Some(verdict.log_end),
                duration_ms: Some(convert::ms(verdict.usage.wall)),
                attempt: self.record.attempt,
                fence: self.record.fence,
                verdict: Some(told),
            })),
            None => FromWorker::TaskError(TaskError {
                last_seq: Some(verdict.log_end),
                timestamp: verdict.ended_at_ms,
                verdict: Some(told.clone()),
                ..refused(Some(&self.record), &unclear(&told.outcome), worker_id)
            }),
        }
    }
}

/// The error that stands for an outcome without an exit code.
fn unclear(outcome: &Outcome) -> Refusal {
    match outcome {
        Outcome::NotStarted { message, .. } => Refusal::new(error_code::NOT_STARTED, message)
            .hint("only what the sandbox shows can be run; check the program's name"),
        Outcome::Exited { .. }
        | Outcome::Signaled { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::PidsExhausted { .. }
        | Outcome::DiskFull { .. }
        | Outcome::TimedOut { .. }
        | Outcome::Blocked { .. }
        | Outcome::Cancelled
        | Outcome::Unknown { .. } => Refusal::new(error_code::OUTCOME_UNKNOWN, outcome.describe())
            .hint("this is neither success nor failure; run the command again"),
    }
}

/// The message that a request, or a task, came to nothing.
pub(crate) fn refused(
    record: Option<&TaskRecord>,
    refusal: &Refusal,
    worker_id: &WorkerId,
) -> TaskError {
    TaskError {
        task_id: record.map(|record| record.task_id.clone()),
        worker_id: worker_id.clone(),
        error: refusal.error.clone(),
        code: Some(refusal.code.clone()),
        hint: refusal.hint.clone(),
        timestamp: now_ms(),
        verdict: None,
        last_seq: None,
        fence: record.and_then(|record| record.fence),
    }
}
