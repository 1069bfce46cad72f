//! Changes as statements.

use rusqlite::{Connection, Params};
use serde::Serialize;

use cogo_protocol::job::JobKind;
use cogo_protocol::task::{TaskId, TaskRequest, TaskState};

use super::{bound, failed};
use crate::{Change, EventRecord, StoreError, TaskRecord};

/// The biggest record that is kept in one piece. What makes a record bigger is its request, which
/// never changes, so it is set apart and written once.
const RECORD_BYTES_MAX: usize = 8 << 10;

const TASK_PUT: &str = "INSERT INTO task (number, id, state, record) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (id) DO UPDATE SET \
    number = excluded.number, state = excluded.state, record = excluded.record";
const TASK_DELETE: &str = "DELETE FROM task WHERE id = ?1";
const REQUEST_PUT: &str = "INSERT INTO task_request (id, request) VALUES (?1, ?2) \
    ON CONFLICT (id) DO UPDATE SET request = excluded.request WHERE request <> excluded.request";
const REQUEST_DELETE: &str = "DELETE FROM task_request WHERE id = ?1";
const WORKER_PUT: &str = "INSERT INTO worker (id, record) VALUES (?1, ?2) \
    ON CONFLICT (id) DO UPDATE SET record = excluded.record";
const WORKER_DELETE: &str = "DELETE FROM worker WHERE id = ?1";
const EVENT_APPEND: &str = "INSERT INTO event (number, record) VALUES (?1, ?2)";
const EVENTS_TRIM: &str = "DELETE FROM event WHERE number <= ?1";
const EVENTS_TRIMMED: &str = "UPDATE event_trimmed SET number = max(number, ?1)";
const TOKEN_PUT: &str = "INSERT INTO token (name, record) VALUES (?1, ?2) \
    ON CONFLICT (name) DO UPDATE SET record = excluded.record";
const TOKEN_DELETE: &str = "DELETE FROM token WHERE name = ?1";
const JOB_PUT: &str = "INSERT INTO job (id, kind, is_final, record) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (id) DO UPDATE SET \
    kind = excluded.kind, is_final = excluded.is_final, record = excluded.record";
const JOB_DELETE: &str = "DELETE FROM job WHERE id = ?1";

/// Applies changes within a transaction.
pub(super) struct Changes<'a> {
    connection: &'a Connection,
    event_last: u64,
}

impl<'a> Changes<'a> {
    pub(super) fn new(connection: &'a Connection, event_last: u64) -> Self {
        Self {
            connection,
            event_last,
        }
    }

    /// The highest number of an event with those that were applied.
    pub(super) fn event_last(&self) -> u64 {
        self.event_last
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::TaskPut(task) => self.task_put(task),
            Change::TaskDelete(id) => self.task_delete(id),
            Change::WorkerPut(worker) => {
                let record = json(worker)?;
                self.run(WORKER_PUT, (worker.id.as_str(), record), "put a worker")
            }
            Change::WorkerDelete(id) => self.run(WORKER_DELETE, [id.as_str()], "delete a worker"),
            Change::EventAppend(event) => self.event_append(event),
            Change::EventsTrim(number) => self.events_trim(*number),
            Change::TokenPut(token) => {
                self.run(TOKEN_PUT, (&token.name, json(token)?), "put a token")
            }
            Change::TokenDelete(name) => self.run(TOKEN_DELETE, [name], "delete a token"),
            Change::JobPut(job) => {
                let kind = job_kind_name(job.kind);
                let row = (job.id.as_str(), kind, job.state.is_final(), json(job)?);
                self.run(JOB_PUT, row, "put a job")
            }
            Change::JobDelete(id) => self.run(JOB_DELETE, [id.as_str()], "delete a job"),
        }
    }

    fn task_put(&self, task: &TaskRecord) -> Result<(), StoreError> {
        let id = task.id.as_str();
        let mut record = json(task)?;
        if record.len() > RECORD_BYTES_MAX {
            let request = json(&task.request)?;
            self.run(REQUEST_PUT, (id, request), "put a request")?;
            record = json(&without_request(task))?;
        } else {
            self.run(REQUEST_DELETE, [id], "delete a request")?;
        }
        let number = number(task.number, "put a task")?;
        let state = state_name(task.state);
        self.run(TASK_PUT, (number, id, state, record), "put a task")
    }

    fn task_delete(&self, id: &TaskId) -> Result<(), StoreError> {
        self.run(REQUEST_DELETE, [id.as_str()], "delete a request")?;
        self.run(TASK_DELETE, [id.as_str()], "delete a task")
    }

    fn event_append(&mut self, event: &EventRecord) -> Result<(), StoreError> {
        let action = "append an event";
        if event.number <= self.event_last {
            return Err(StoreError::Database {
                action,
                message: format!(
                    "its number {} is not higher than the last one, {}",
                    event.number, self.event_last
                ),
            });
        }
        let number = number(event.number, action)?;
        self.run(EVENT_APPEND, (number, json(event)?), action)?;
        self.event_last = event.number;
        Ok(())
    }

    fn events_trim(&self, number: u64) -> Result<(), StoreError> {
        let trimmed = bound(number.min(self.event_last));
        self.run(EVENTS_TRIM, [trimmed], "trim events")?;
        self.run(EVENTS_TRIMMED, [trimmed], "trim events")
    }

    fn run(
        &self,
        statement: &str,
        parameters: impl Params,
        action: &'static str,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(parameters))
            .map(|_| ())
            .map_err(failed(action))
    }
}

/// How the database names a state.
pub(super) const fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Leased => "leased",
        TaskState::Running => "running",
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::TimedOut => "timed_out",
        TaskState::Blocked => "blocked",
        TaskState::Cancelled => "cancelled",
        TaskState::Lost => "lost",
    }
}

/// How the database names a kind of job.
pub(super) const fn job_kind_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Analysis => "analysis",
        JobKind::Fix => "fix",
        JobKind::Plan => "plan",
    }
}

fn without_request(task: &TaskRecord) -> TaskRecord {
    TaskRecord {
        request: TaskRequest::default(),
        id: task.id.clone(),
        submitter: task.submitter.clone(),
        number: task.number,
        state: task.state,
        cancel_requested: task.cancel_requested,
        attempts: task.attempts.clone(),
        recoveries: task.recoveries.clone(),
        exit_code: task.exit_code,
        verdict: task.verdict.clone(),
        usage: task.usage,
        error: task.error.clone(),
        created_at_ms: task.created_at_ms,
        started_at_ms: task.started_at_ms,
        ended_at_ms: task.ended_at_ms,
    }
}

fn number(number: u64, action: &'static str) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Database {
        action,
        message: format!("its number {number} is higher than a database can count"),
    })
}

fn json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| StoreError::Database {
        action: "write a record as JSON",
        message: error.to_string(),
    })
}
