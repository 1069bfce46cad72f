//! Queries, and the connections they use.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, OptionalExtension, Params, Row};
use serde::de::DeserializeOwned;

use cogo_protocol::job::JobId;
use cogo_protocol::task::{TaskId, TaskState};

use super::apply::{job_kind_name, state_name};
use super::{bound, connection, failed};
use crate::{
    EventRecord, JobFilter, JobRecord, StoreError, TaskFilter, TaskRecord, TokenRecord,
    WorkerRecord,
};

/// Connections that are kept while nobody reads.
const IDLE_MAX: usize = 4;
/// Tasks and jobs of a page when nothing is asked for.
const PAGE_LEN: usize = 100;
const OPEN: [TaskState; 3] = [TaskState::Queued, TaskState::Leased, TaskState::Running];

const TASK: &str = "SELECT task.number, task.id, record, request FROM task \
    LEFT JOIN task_request ON task_request.id = task.id WHERE task.id = ?1";
const TASKS: &str = "SELECT task.number, task.id, record, request FROM task \
    LEFT JOIN task_request ON task_request.id = task.id \
    WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
const TASKS_IN_STATE: &str = "SELECT task.number, task.id, record, request FROM task \
    LEFT JOIN task_request ON task_request.id = task.id \
    WHERE state = ?3 AND number < ?1 ORDER BY number DESC LIMIT ?2";
const WORKERS: &str = "SELECT id, record FROM worker ORDER BY id";
const EVENTS: &str = "SELECT number, record FROM event WHERE number > ?1 ORDER BY number LIMIT ?2";
const EVENT_LAST: &str = "SELECT max(ifnull((SELECT max(number) FROM event), 0), number) \
    FROM event_trimmed";
const TOKENS: &str = "SELECT name, record FROM token ORDER BY name";
const JOBS_OPEN: &str = "SELECT id, record FROM job WHERE is_final = 0 ORDER BY number";
const JOB: &str = "SELECT id, record FROM job WHERE id = ?1";
const JOBS: &str = "SELECT id, record FROM job \
    WHERE (?1 IS NULL OR kind = ?1) \
    AND (?2 IS NULL OR number < (SELECT number FROM job WHERE id = ?2)) \
    ORDER BY number DESC LIMIT ?3";

/// Connections for reading: one for each reader at a time, a few of them kept.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let first = connection::open_reader(path)?;
        Ok(Self {
            path: path.to_owned(),
            idle: Mutex::new(vec![first]),
        })
    }

    /// Reads with a connection that nobody else uses meanwhile.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connection::open_reader(&self.path)?,
        };
        let result = read(&connection);
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        result
    }

    pub(super) fn close(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().expect("no panic while it is locked")
    }
}

pub(super) fn tasks_open(connection: &Connection) -> Result<Vec<TaskRecord>, StoreError> {
    let mut tasks = tasks_in(connection, &OPEN, i64::MAX, usize::MAX)?;
    tasks.reverse();
    Ok(tasks)
}

pub(super) fn task(connection: &Connection, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
    let mut rows = rows(connection, TASK, [id.as_str()], TaskRow::read)?;
    rows.pop().map(TaskRow::parse).transpose()
}

pub(super) fn tasks(
    connection: &Connection,
    filter: &TaskFilter,
) -> Result<Vec<TaskRecord>, StoreError> {
    let before = filter.before.map_or(i64::MAX, bound);
    let limit = filter.limit.unwrap_or(PAGE_LEN);
    if filter.states.is_empty() {
        let parameters = (before, bound(limit as u64));
        let rows = rows(connection, TASKS, parameters, TaskRow::read)?;
        return rows.into_iter().map(TaskRow::parse).collect();
    }
    tasks_in(connection, &filter.states, before, limit)
}

/// Tasks in one of these states, the newest first. Each state is asked for by itself, in the order
/// of its index, so that no more rows are met than are wanted.
fn tasks_in(
    connection: &Connection,
    states: &[TaskState],
    before: i64,
    limit: usize,
) -> Result<Vec<TaskRecord>, StoreError> {
    // One snapshot: between two queries a task might move from one state to another.
    let snapshot = connection
        .unchecked_transaction()
        .map_err(failed("begin to read tasks"))?;
    let mut found = Vec::new();
    for state in states {
        let parameters = (before, bound(limit as u64), state_name(*state));
        found.extend(rows(&snapshot, TASKS_IN_STATE, parameters, TaskRow::read)?);
    }
    snapshot.finish().map_err(failed("end to read tasks"))?;
    found.sort_unstable_by_key(|row| std::cmp::Reverse(row.number));
    // A state may have been named twice.
    found.dedup_by_key(|row| row.number);
    found.truncate(limit);
    found.into_iter().map(TaskRow::parse).collect()
}

pub(super) fn workers(connection: &Connection) -> Result<Vec<WorkerRecord>, StoreError> {
    let rows = rows(connection, WORKERS, (), named)?;
    let parse = |(id, record): (String, String)| from_json(&record, || format!("worker `{id}`"));
    rows.into_iter().map(parse).collect()
}

pub(super) fn events_after(
    connection: &Connection,
    number: u64,
    limit: usize,
) -> Result<Vec<EventRecord>, StoreError> {
    let parameters = (bound(number), bound(limit as u64));
    let numbered = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let rows = rows(connection, EVENTS, parameters, numbered)?;
    let parse = |(number, record): (i64, String)| from_json(&record, || format!("event {number}"));
    rows.into_iter().map(parse).collect()
}

pub(super) fn event_last(connection: &Connection) -> Result<u64, StoreError> {
    connection
        .prepare_cached(EVENT_LAST)
        .and_then(|mut statement| {
            statement
                .query_row((), |row| row.get::<_, i64>(0))
                .optional()
        })
        .map(|last| last.unwrap_or(0) as u64)
        .map_err(failed("read the number of the last event"))
}

pub(super) fn tokens(connection: &Connection) -> Result<Vec<TokenRecord>, StoreError> {
    let rows = rows(connection, TOKENS, (), named)?;
    let parse = |(name, record): (String, String)| from_json(&record, || format!("token `{name}`"));
    rows.into_iter().map(parse).collect()
}

pub(super) fn jobs_open(connection: &Connection) -> Result<Vec<JobRecord>, StoreError> {
    parse_jobs(rows(connection, JOBS_OPEN, (), named)?)
}

pub(super) fn job(connection: &Connection, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
    let rows = rows(connection, JOB, [id.as_str()], named)?;
    Ok(parse_jobs(rows)?.pop())
}

pub(super) fn jobs(
    connection: &Connection,
    filter: &JobFilter,
) -> Result<Vec<JobRecord>, StoreError> {
    let limit = filter.limit.unwrap_or(PAGE_LEN);
    let parameters = (
        filter.kind.map(job_kind_name),
        filter.before.as_ref().map(JobId::as_str),
        bound(limit as u64),
    );
    parse_jobs(rows(connection, JOBS, parameters, named)?)
}

fn parse_jobs(rows: Vec<(String, String)>) -> Result<Vec<JobRecord>, StoreError> {
    let parse = |(id, record): (String, String)| from_json(&record, || format!("job `{id}`"));
    rows.into_iter().map(parse).collect()
}

struct TaskRow {
    number: i64,
    id: String,
    record: String,
    /// The request, if it was set apart.
    request: Option<String>,
}

impl TaskRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            id: row.get(1)?,
            record: row.get(2)?,
            request: row.get(3)?,
        })
    }

    fn parse(self) -> Result<TaskRecord, StoreError> {
        let what = || format!("task `{}`", self.id);
        let mut record: TaskRecord = from_json(&self.record, what)?;
        if let Some(request) = &self.request {
            record.request = from_json(request, what)?;
        }
        Ok(record)
    }
}

fn named(row: &Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn rows<T>(
    connection: &Connection,
    statement: &str,
    parameters: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection
        .prepare_cached(statement)
        .map_err(failed("prepare to read"))?;
    let rows = statement
        .query_map(parameters, read)
        .map_err(failed("read"))?;
    rows.collect::<rusqlite::Result<_>>()
        .map_err(failed("read"))
}

fn from_json<T: DeserializeOwned>(
    text: &str,
    what: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        what: what(),
        message: error.to_string(),
    })
}
