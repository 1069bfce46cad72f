//! One followed task as the messages that a client gets.

use axum::body::Bytes;
use axum::extract::ws::Message;
use cogo_protocol::frame::{HEADER_LEN, OutputHeader};
use cogo_protocol::message::{
    ExecutionStarted, FromWorker, OutputCut, TaskComplete, TaskError, TaskOutput, error_code,
};
use cogo_protocol::record::{Stream, Utf8Chunker};
use cogo_protocol::task::{AttemptStatus, MissingOutput, TaskId, TaskState, TaskStatus};
use cogo_protocol::verdict::Outcome;
use cogo_protocol::worker::WorkerId;

use crate::clock;
use crate::follow::{Record, Told};

/// How a client gets output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As JSON text.
    Json,
    /// As binary frames under this handle.
    Binary(u32),
}

/// Makes messages of what a follower tells.
pub(super) struct Outgoing {
    task_id: TaskId,
    manager: WorkerId,
    form: Form,
    /// Earlier records of the first attempt are a lead-in.
    skip_before: u64,
    attempt: Option<AttemptStatus>,
    stdout: Utf8Chunker,
    stderr: Utf8Chunker,
    /// The time of the last output, for what is held back of it.
    last_ms: u64,
    log_end: u64,
}

impl Outgoing {
    pub(super) fn new(task_id: TaskId, manager: WorkerId, form: Form, from_seq: u64) -> Self {
        Self {
            skip_before: from_seq,
            task_id,
            manager,
            form,
            attempt: None,
            stdout: Utf8Chunker::new(),
            stderr: Utf8Chunker::new(),
            last_ms: 0,
            log_end: 0,
        }
    }

    /// The messages for it.
    pub(super) fn messages(&mut self, told: Told) -> Vec<Message> {
        match told {
            Told::Started(attempt) => vec![text(&self.started(attempt))],
            Told::Output(records) => records
                .into_iter()
                .filter_map(|record| self.output(record))
                .collect(),
            Told::AttemptOver { log_end } => {
                self.log_end = log_end;
                self.held_back()
            }
            Told::Ended(status) => {
                let mut messages = self.missing(&status);
                messages.push(text(&self.ended(*status)));
                messages
            }
        }
    }

    fn worker_id(&self) -> WorkerId {
        self.attempt
            .as_ref()
            .map_or_else(|| self.manager.clone(), |attempt| attempt.worker_id.clone())
    }

    fn started(&mut self, attempt: AttemptStatus) -> FromWorker {
        let message = FromWorker::ExecutionStarted(ExecutionStarted {
            task_id: self.task_id.clone(),
            worker_id: attempt.worker_id.clone(),
            timestamp: attempt.started_at.unwrap_or(attempt.leased_at),
            pid: None,
            attempt: Some(attempt.number),
            fence: None,
            exec_id: attempt.exec_id,
            handle: match self.form {
                Form::Json => None,
                Form::Binary(handle) => Some(handle),
            },
        });
        if self.attempt.replace(attempt).is_some() {
            self.skip_before = 0;
        }
        message
    }

    fn output(&mut self, record: Record) -> Option<Message> {
        self.last_ms = record.header.timestamp_ms;
        match self.form {
            Form::Binary(handle) => Some(frame(handle, record)),
            Form::Json => {
                let (seq, stream) = (record.header.seq, record.header.stream);
                let chunker = match stream {
                    Stream::Stdout => &mut self.stdout,
                    Stream::Stderr => &mut self.stderr,
                };
                let chunk = chunker.push(record.bytes())?;
                if seq < self.skip_before {
                    return None;
                }
                Some(self.task_output(seq, stream, chunk))
            }
        }
    }

    /// What was held back of characters that do not go on.
    fn held_back(&mut self) -> Vec<Message> {
        let held = [
            (Stream::Stdout, std::mem::take(&mut self.stdout).finish()),
            (Stream::Stderr, std::mem::take(&mut self.stderr).finish()),
        ];
        held.into_iter()
            .filter_map(|(stream, chunk)| Some(self.task_output(self.log_end, stream, chunk?)))
            .collect()
    }

    fn task_output(
        &self,
        seq: u64,
        stream: Stream,
        chunk: cogo_protocol::record::Chunk,
    ) -> Message {
        text(&FromWorker::TaskOutput(TaskOutput {
            task_id: self.task_id.clone(),
            worker_id: self.worker_id(),
            stream,
            timestamp: self.last_ms,
            seq,
            chunk,
        }))
    }

    /// What of the last attempt's output could not be told.
    fn missing(&self, status: &TaskStatus) -> Vec<Message> {
        let attempt = status.attempts.last();
        let missing = attempt.into_iter().flat_map(|it| &it.output_missing);
        let cut = |missing: &MissingOutput| {
            text(&FromWorker::OutputCut(OutputCut {
                task_id: self.task_id.clone(),
                worker_id: self.worker_id(),
                first_seq: missing.first_seq,
                end_seq: missing.end_seq,
                bytes: missing.bytes,
                timestamp: clock::unix_ms(),
                fence: None,
            }))
        };
        missing.map(cut).collect()
    }

    fn ended(&self, status: TaskStatus) -> FromWorker {
        let timestamp = status.ended_at.unwrap_or_else(clock::unix_ms);
        match status.exit_code {
            Some(exit_code) => FromWorker::TaskComplete(Box::new(TaskComplete {
                task_id: status.task_id,
                worker_id: self.worker_id(),
                exit_code,
                timestamp,
                verdict: status.verdict,
                usage: status.usage,
                last_seq: Some(self.log_end),
                duration_ms: status
                    .started_at
                    .map(|started_at| timestamp.saturating_sub(started_at)),
                attempt: self.attempt.as_ref().map(|attempt| attempt.number),
                fence: None,
            })),
            None => FromWorker::TaskError(TaskError {
                code: Some(code(&status).to_owned()),
                error: error(&status),
                task_id: Some(status.task_id),
                worker_id: self.worker_id(),
                hint: None,
                timestamp,
                verdict: status.verdict,
                last_seq: Some(self.log_end),
                fence: None,
            }),
        }
    }
}

/// Why there is no exit code, for programs.
fn code(status: &TaskStatus) -> &'static str {
    match (&status.verdict, status.state) {
        (Some(verdict), _) if matches!(verdict.outcome, Outcome::NotStarted { .. }) => {
            error_code::NOT_STARTED
        }
        (_, TaskState::Cancelled) => "cancelled",
        (_, TaskState::TimedOut) => "queue_timeout",
        (_, TaskState::Lost) | (Some(_), _) => error_code::OUTCOME_UNKNOWN,
        (None, _) => error_code::NOT_STARTED,
    }
}

fn error(status: &TaskStatus) -> String {
    let told = status.error.clone();
    told.or_else(|| {
        let verdict = status.verdict.as_ref()?;
        Some(verdict.outcome.describe())
    })
    .unwrap_or_else(|| "the task ended without a verdict".to_owned())
}

/// A message as a text frame.
pub(super) fn text(message: &FromWorker) -> Message {
    let json = serde_json::to_string(message).expect("messages have string keys only");
    Message::Text(json.into())
}

/// A record as a binary frame, under the connection's own handle.
fn frame(handle: u32, record: Record) -> Message {
    let mut frame = record.frame;
    let header = OutputHeader {
        handle,
        ..record.header
    };
    frame[..HEADER_LEN].copy_from_slice(&header.encode());
    Message::Binary(Bytes::from(frame))
}
