//! What waits for the writer. Bounded by size, since requests may be big.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::{self, ThreadId};

use cogo_protocol::command::StdinRequest;
use cogo_protocol::task::TaskRequest;
use serde_json::Value;

use crate::{AttemptRecord, Change, Done, EventRecord, JobRecord, TaskRecord, WorkerRecord};

/// About how many bytes of changes wait in the queue at most. A call that is bigger by itself waits
/// until the queue is empty. As much again may be in the writer's hands.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// What one `commit` brought.
pub(super) struct Call {
    pub(super) changes: Vec<Change>,
    pub(super) done: Done,
}

/// Hands calls to the writer thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
    /// Never made to wait, since it is the one that empties the queue.
    writer: OnceLock<ThreadId>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Adds a call. Blocks while the queue is full.
    pub(super) fn push(&self, call: Call) {
        let bytes = call.changes.iter().map(size).sum::<usize>();
        let mut state = self.lock();
        if self.writer.get() != Some(&thread::current().id()) {
            let full = |state: &mut State| {
                state.bytes > 0 && state.bytes.saturating_add(bytes) > QUEUE_BYTES_MAX
            };
            state = self
                .emptied
                .wait_while(state, full)
                .expect("no panic while the queue is locked");
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.calls.push(call);
        self.filled.notify_one();
    }

    /// All calls that wait, as soon as there are some; `None` when the queue was closed and is
    /// empty. Called by the writer thread alone.
    pub(super) fn take(&self) -> Option<Vec<Call>> {
        self.writer.get_or_init(|| thread::current().id());
        let idle = |state: &mut State| state.calls.is_empty() && !state.closed;
        let mut state = self
            .filled
            .wait_while(self.lock(), idle)
            .expect("no panic while the queue is locked");
        state.bytes = 0;
        self.emptied.notify_all();
        let calls = mem::take(&mut state.calls);
        (!calls.is_empty()).then_some(calls)
    }

    /// Lets the writer end once it has written what is there.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no panic while the queue is locked")
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("calls", &self.calls.len())
            .field("bytes", &self.bytes)
            .field("closed", &self.closed)
            .finish()
    }
}

/// About how many bytes a change takes: the texts that a client chooses, and a flat rate for what
/// is bounded.
fn size(change: &Change) -> usize {
    size_of::<Change>()
        + match change {
            Change::TaskPut(task) => task_size(task),
            Change::WorkerPut(worker) => worker_size(worker),
            Change::EventAppend(event) => size_of::<EventRecord>() + event.json.len(),
            Change::TokenPut(token) => size_of_val(&**token) + token.name.len(),
            Change::TokenDelete(name) => name.len(),
            Change::JobPut(job) => job_size(job),
            Change::TaskDelete(_)
            | Change::WorkerDelete(_)
            | Change::EventsTrim(_)
            | Change::JobDelete(_) => 0,
        }
}

fn task_size(task: &TaskRecord) -> usize {
    size_of::<TaskRecord>()
        + request_size(&task.request)
        + task.submitter.len()
        + task.error.as_ref().map_or(0, String::len)
        + task.attempts.iter().map(attempt_size).sum::<usize>()
}

fn job_size(job: &JobRecord) -> usize {
    size_of::<JobRecord>()
        + value_size(&job.request)
        + job.result.as_ref().map_or(0, value_size)
        + job.error.as_ref().map_or(0, String::len)
}

/// Values are nested as deeply as their parser lets them be, 128 levels.
fn value_size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(value_size).sum(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| name.len() + value_size(value))
                .sum(),
        }
}

fn attempt_size(attempt: &AttemptRecord) -> usize {
    size_of::<AttemptRecord>() + attempt.result.as_ref().map_or(0, String::len)
}

fn request_size(request: &TaskRequest) -> usize {
    let command = &request.command;
    let arguments = command.argv.iter().flatten().map(String::len);
    let variables = command.env.iter();
    let variables = variables.map(|(name, value)| name.len() + value.len());
    let labels = request.requirements.labels.iter();
    let labels = labels.map(|(name, value)| name.len() + value.len());
    let paths = command.read_only_paths.iter().map(String::len);
    let input = match &command.stdin {
        StdinRequest::Text(text) => text.len(),
        StdinRequest::Closed | StdinRequest::Open => 0,
    };
    input
        + command.command.as_ref().map_or(0, String::len)
        + arguments
            .chain(variables)
            .chain(labels)
            .chain(paths)
            .map(|len| len + size_of::<String>())
            .sum::<usize>()
}

fn worker_size(worker: &WorkerRecord) -> usize {
    let labels = worker.capabilities.labels.iter();
    size_of::<WorkerRecord>()
        + worker.kind.len()
        + labels
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
}
