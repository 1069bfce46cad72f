//! The thread that writes.

use std::panic::{self, AssertUnwindSafe};

use rusqlite::Connection;

use super::apply::Changes;
use super::queue::{Call, Queue};
use super::{failed, read};
use crate::{Change, Done, StoreError};

/// Owns the one connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    /// The highest number of an event ever.
    event_last: u64,
    poisoned: bool,
}

/// Why a group was not committed. It is rolled back.
struct GroupFailure {
    /// The call that could not be applied; `None` if it was none of them.
    at: Option<usize>,
    error: StoreError,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Result<Self, StoreError> {
        let event_last = read::event_last(&connection)?;
        Ok(Self {
            connection,
            event_last,
            poisoned: false,
        })
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(calls) = queue.take() {
            self.write(calls);
        }
    }

    /// Writes a group and tells everyone in it.
    fn write(&mut self, calls: Vec<Call>) {
        let (changes, dones): (Vec<_>, Vec<Done>) = calls
            .into_iter()
            .map(|call| (call.changes, call.done))
            .unzip();
        let results = self.results(&changes);
        // Freed before anyone is told, who may bring more.
        drop(changes);
        for (done, result) in dones.into_iter().zip(results) {
            // One caller's panic must not take the store from the others.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| done(result)));
        }
    }

    /// Commits as much of a group as can be and says what became of each call.
    fn results(&mut self, calls: &[Vec<Change>]) -> Vec<Result<(), StoreError>> {
        if self.poisoned {
            return vec![Err(StoreError::Poisoned); calls.len()];
        }
        let Err(failure) = self.commit(calls) else {
            return vec![Ok(()); calls.len()];
        };
        self.poisoned = true;
        let Some(at) = failure.at else {
            return vec![Err(failure.error); calls.len()];
        };
        // What came before the bad call does not depend on it.
        let before = self.commit(&calls[..at]).map_err(|failure| failure.error);
        let mut results = vec![before; at];
        results.push(Err(failure.error));
        results.resize(calls.len(), Err(StoreError::Poisoned));
        results
    }

    /// Commits all of these calls or none.
    fn commit(&mut self, calls: &[Vec<Change>]) -> Result<(), GroupFailure> {
        let committed = self.try_commit(calls);
        if committed.is_err() && !self.connection.is_autocommit() {
            // If this fails too, the next opening rolls back what was not committed.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        committed
    }

    fn try_commit(&mut self, calls: &[Vec<Change>]) -> Result<(), GroupFailure> {
        if calls.is_empty() {
            return Ok(());
        }
        let failed_group = |error| GroupFailure { at: None, error };
        self.execute("BEGIN IMMEDIATE", "begin a transaction")
            .map_err(failed_group)?;
        let mut changes = Changes::new(&self.connection, self.event_last);
        for (at, call) in calls.iter().enumerate() {
            let applied = call.iter().try_for_each(|change| changes.apply(change));
            applied.map_err(|error| GroupFailure {
                at: Some(at),
                error,
            })?;
        }
        let event_last = changes.event_last();
        self.execute("COMMIT", "commit").map_err(failed_group)?;
        self.event_last = event_last;
        Ok(())
    }

    fn execute(&self, statement: &str, action: &'static str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(()))
            .map(|_| ())
            .map_err(failed(action))
    }
}
