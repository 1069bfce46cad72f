//! Resolves the files that are due, and keeps what they use.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use rusqlite::{Connection, params};

use super::{AnalysisError, Event, Observer, check};
use crate::facts::Facts;
use crate::resolve::universe::{Asked, Universe};
use crate::resolve::{Resolved, resolve};
use crate::store::{Store, StoreError};

/// Files in one transaction.
const BATCH: usize = 128;
/// From so many files on, all definitions are loaded at once.
const LOAD_ALL_FROM: usize = 24;

struct Due {
    file_id: i64,
    facts: Vec<u8>,
    ids: Vec<i64>,
}

struct Done {
    file_id: i64,
    resolved: Resolved,
    lookups: Vec<u8>,
}

/// Resolves all files that are due; tells how many.
pub(super) fn resolve_due(
    store: &mut Store,
    root: &Path,
    cancelled: &AtomicBool,
    observer: Observer<'_>,
) -> Result<usize, AnalysisError> {
    let due = due_files(store.connection())?;
    if due.is_empty() {
        return Ok(0);
    }
    let mut universe = Universe::load(store.connection(), root)?;
    if due.len() >= LOAD_ALL_FROM {
        universe.load_all(store.connection())?;
    }
    let mut done = 0;
    for batch in due.chunks(BATCH) {
        check(cancelled)?;
        let files: Vec<Due> = batch
            .iter()
            .map(|file_id| load(store.connection(), *file_id))
            .collect::<Result<_, _>>()?;
        let results = if due.len() >= LOAD_ALL_FROM {
            let resolve = |due: &Due| {
                let asked = Asked::default();
                resolve_one(&universe, &asked, due)
            };
            files
                .par_iter()
                .map(resolve)
                .collect::<Result<Vec<_>, _>>()?
        } else {
            let each = files
                .iter()
                .map(|due| resolve_loading(store.connection(), &mut universe, due));
            each.collect::<Result<Vec<_>, _>>()?
        };
        let transaction = store.connection_mut().transaction()?;
        for result in &results {
            keep(&transaction, result)?;
        }
        transaction.commit()?;
        done += batch.len();
        observer(&Event::Resolved {
            done,
            total: due.len(),
        });
    }
    Ok(done)
}

fn due_files(connection: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut read =
        connection.prepare_cached("SELECT id FROM file WHERE is_resolved = 0 ORDER BY path")?;
    let rows = read.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn load(connection: &Connection, file_id: i64) -> Result<Due, StoreError> {
    let mut read = connection.prepare_cached(
        "SELECT blob.facts FROM file JOIN blob
            ON blob.hash = file.hash AND blob.language = file.language
         WHERE file.id = ? AND file.skipped IS NULL",
    )?;
    let mut rows = read.query([file_id])?;
    let facts = match rows.next()? {
        Some(row) => row.get(0)?,
        None => Vec::new(),
    };
    let mut read =
        connection.prepare_cached("SELECT id FROM symbol WHERE file_id = ? ORDER BY position")?;
    let ids = read.query_map([file_id], |row| row.get(0))?;
    Ok(Due {
        file_id,
        facts,
        ids: ids.collect::<Result<_, _>>()?,
    })
}

fn resolve_one(universe: &Universe, asked: &Asked, due: &Due) -> Result<Done, StoreError> {
    let facts: Facts = if due.facts.is_empty() {
        Facts::default()
    } else {
        postcard::from_bytes(&due.facts)?
    };
    let resolved = resolve(universe, asked, due.file_id, &facts, &due.ids);
    Ok(Done {
        file_id: due.file_id,
        resolved,
        lookups: asked.to_bytes(),
    })
}

/// Resolves a file, and loads the definitions that it asks for until none is missing.
fn resolve_loading(
    connection: &Connection,
    universe: &mut Universe,
    due: &Due,
) -> Result<Done, StoreError> {
    loop {
        let asked = Asked::default();
        let done = resolve_one(universe, &asked, due)?;
        let missing = asked.take_missing();
        if missing.is_empty() {
            return Ok(done);
        }
        universe.load_names(connection, missing)?;
    }
}

fn keep(connection: &Connection, done: &Done) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM edge WHERE file_id = ?")?
        .execute([done.file_id])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO edge (file_id, source_id, target_id, kind, line, column, confidence)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    for edge in &done.resolved.edges {
        insert.execute(params![
            done.file_id,
            edge.source_id,
            edge.target_id,
            edge.kind.name(),
            edge.line,
            edge.column,
            edge.confidence,
        ])?;
    }
    import_targets(connection, done)?;
    connection
        .prepare_cached("UPDATE file SET is_resolved = 1, lookups = ? WHERE id = ?")?
        .execute(params![done.lookups, done.file_id])?;
    Ok(())
}

fn import_targets(connection: &Connection, done: &Done) -> Result<(), StoreError> {
    if done.resolved.import_targets.is_empty() {
        return Ok(());
    }
    let mut read =
        connection.prepare_cached("SELECT rowid FROM import WHERE file_id = ? ORDER BY rowid")?;
    let rows: Vec<i64> = read
        .query_map([done.file_id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut update =
        connection.prepare_cached("UPDATE import SET target_id = ? WHERE rowid = ?")?;
    for (row, target) in rows.iter().zip(&done.resolved.import_targets) {
        update.execute(params![target, row])?;
    }
    Ok(())
}
