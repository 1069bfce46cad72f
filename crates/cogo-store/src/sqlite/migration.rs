//! The schema, brought up to date step by step. Forward only.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failed;
use crate::StoreError;

/// Step n leads from version n to n + 1. What was released is never changed.
const MIGRATIONS: [&str; 2] = [
    include_str!("migrations/0001_records.sql"),
    include_str!("migrations/0002_jobs.sql"),
];

/// `cogo` in ASCII: marks the file as ours, in its header.
const APPLICATION_ID: u32 = 0x636f_676f;

/// Brings the database to the newest version.
pub(super) fn run(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("update the database"))?;
    let version = version(&transaction)?;
    for step in MIGRATIONS.iter().skip(version as usize) {
        transaction
            .execute_batch(step)
            .map_err(failed("update the database"))?;
    }
    if (version as usize) < MIGRATIONS.len() {
        set(&transaction, "application_id", APPLICATION_ID)?;
        set(&transaction, "user_version", MIGRATIONS.len() as u32)?;
    }
    transaction.commit().map_err(failed("update the database"))
}

/// The version of a database that is ours, 0 of an empty one.
fn version(transaction: &Transaction<'_>) -> Result<u32, StoreError> {
    let application = get(transaction, "application_id")?;
    let version = get(transaction, "user_version")?;
    if application != APPLICATION_ID && !is_empty(transaction)? {
        return Err(StoreError::Database {
            action: "open the database",
            message: "it belongs to another program".to_owned(),
        });
    }
    let known = MIGRATIONS.len() as u32;
    if version > known {
        return Err(StoreError::TooNew {
            found: version,
            known,
        });
    }
    Ok(version)
}

fn is_empty(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    transaction
        .query_row("SELECT count(*) = 0 FROM sqlite_schema", (), |row| {
            row.get(0)
        })
        .map_err(failed("read the schema"))
}

fn get(transaction: &Transaction<'_>, pragma: &str) -> Result<u32, StoreError> {
    transaction
        .pragma_query_value(None, pragma, |row| row.get(0))
        .map_err(failed("read the version of the database"))
}

fn set(transaction: &Transaction<'_>, pragma: &str, value: u32) -> Result<(), StoreError> {
    transaction
        .pragma_update(None, pragma, value)
        .map_err(failed("write the version of the database"))
}
