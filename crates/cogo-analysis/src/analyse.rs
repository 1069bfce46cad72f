//! Brings the store up to date with the files: reads what changed, keeps what it says, resolves
//! what that touches.
//!
//! Every step is kept as soon as it is known, in transactions of some files. Whenever the process
//! is killed, the next analysis goes on with what is missing and comes to the same result.

mod parsing;
mod resolving;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::Serialize;

use crate::manifest;
use crate::scan::{self, FoundFile, Stamp};
use crate::store::write::{Affected, file_remove};
use crate::store::{Store, StoreError};

/// Why a repository was not analysed.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// There is nothing to analyse.
    #[error("`{root}` is not a directory that can be read")]
    Root {
        /// What was named.
        root: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was asked to stop. What was done is kept.
    #[error("the analysis was cancelled; what was done is kept")]
    Cancelled,
}

impl From<rusqlite::Error> for AnalysisError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What happens during an analysis, told as it is stored.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// All files are known.
    Scanned {
        /// How many there are.
        files: usize,
        /// How many have to be read.
        changed: usize,
        /// How many are gone.
        removed: usize,
    },
    /// What is in a file was stored.
    FileStored {
        /// Its path.
        path: &'a str,
        /// So many are done.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// A file is gone.
    FileRemoved {
        /// Its path.
        path: &'a str,
    },
    /// What files use was stored.
    Resolved {
        /// So many are done.
        done: usize,
        /// Of so many.
        total: usize,
    },
}

/// What an analysis did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Files of the repository.
    pub files: usize,
    /// Those that were read, because their stamps had changed.
    pub read: usize,
    /// Those whose content was parsed, because it was new.
    pub parsed: usize,
    /// Those that are gone.
    pub removed: usize,
    /// Those whose names were resolved.
    pub resolved: usize,
    /// How long it took.
    pub duration_ms: u64,
    /// Of that, finding files.
    pub scan_ms: u64,
    /// Of that, reading and parsing.
    pub parse_ms: u64,
    /// Of that, resolving.
    pub resolve_ms: u64,
}

/// Told what happens.
pub type Observer<'a> = &'a mut dyn FnMut(&Event<'_>);

/// What the store has of a file.
#[derive(Clone, Copy, Debug)]
struct Known {
    stamp: Stamp,
    hash: Option<[u8; 20]>,
}

/// Analyses all of a repository.
///
/// # Errors
///
/// When the store fails, or on cancellation.
pub fn analyse(
    store: &mut Store,
    root: &Path,
    cancelled: &AtomicBool,
    observer: Observer<'_>,
) -> Result<Summary, AnalysisError> {
    let started_at = Instant::now();
    let failed = |source| AnalysisError::Root {
        root: root.to_owned(),
        source,
    };
    drop(std::fs::read_dir(root).map_err(failed)?);
    let found = scan::scan(root, cancelled);
    check(cancelled)?;
    let known = known_files(store.connection())?;
    let changed = changed(&found, &known);
    let present: std::collections::HashSet<&str> =
        found.iter().map(|file| file.path.as_str()).collect();
    let removed: Vec<&str> = known
        .keys()
        .map(String::as_str)
        .filter(|path| !present.contains(path))
        .collect();
    let scan_took = started_at.elapsed();
    observer(&Event::Scanned {
        files: found.len(),
        changed: changed.len(),
        removed: removed.len(),
    });
    let mut summary = Summary {
        files: found.len(),
        scan_ms: millis(scan_took),
        ..update(store, root, &changed, &removed, &known, cancelled, observer)?
    };
    let stamps = found.iter().map(|file| (file.path.as_str(), file.stamp));
    manifest::refresh(store.connection_mut(), root, stamps)?;
    summary.duration_ms = millis(started_at.elapsed());
    meta_set(store.connection(), "root", &root.to_string_lossy())?;
    Ok(summary)
}

/// Analyses some files anew: those at the paths, which are below the root.
///
/// # Errors
///
/// When the store fails, or on cancellation.
pub fn analyse_paths(
    store: &mut Store,
    root: &Path,
    paths: &[PathBuf],
    cancelled: &AtomicBool,
    observer: Observer<'_>,
) -> Result<Summary, AnalysisError> {
    let started_at = Instant::now();
    let found: Vec<FoundFile> = paths
        .iter()
        .filter_map(|path| scan::found(root, path))
        .collect();
    let mut known = HashMap::new();
    let mut removed = Vec::new();
    for path in paths {
        let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) else {
            continue;
        };
        let Some(file) = known_file(store.connection(), path)? else {
            continue;
        };
        if !found.iter().any(|found| found.path == path) {
            removed.push(path);
        }
        known.insert(path.to_owned(), file);
    }
    let changed = changed(&found, &known);
    let mut summary = update(store, root, &changed, &removed, &known, cancelled, observer)?;
    summary.files = found.len();
    summary.duration_ms = millis(started_at.elapsed());
    Ok(summary)
}

/// Those that are not what they were when they were stored.
fn changed<'a>(found: &'a [FoundFile], known: &HashMap<String, Known>) -> Vec<&'a FoundFile> {
    let is_changed = |file: &&FoundFile| {
        known
            .get(&file.path)
            .is_none_or(|known| known.stamp != file.stamp)
    };
    found.iter().filter(is_changed).collect()
}

fn update(
    store: &mut Store,
    root: &Path,
    changed: &[&FoundFile],
    removed: &[&str],
    known: &HashMap<String, Known>,
    cancelled: &AtomicBool,
    observer: Observer<'_>,
) -> Result<Summary, AnalysisError> {
    let started_at = Instant::now();
    let mut affected = Affected::default();
    if !removed.is_empty() {
        let transaction = store.connection_mut().transaction()?;
        for path in removed {
            file_remove(&transaction, path, &mut affected)?;
            observer(&Event::FileRemoved { path });
        }
        affected.mark(&transaction)?;
        transaction.commit()?;
    }
    let (read, parsed) = parsing::store_changed(store, changed, known, cancelled, observer)?;
    let parse_ms = millis(started_at.elapsed());
    let resolved = resolving::resolve_due(store, root, cancelled, observer)?;
    Ok(Summary {
        files: 0,
        read,
        parsed,
        removed: removed.len(),
        resolved,
        duration_ms: 0,
        scan_ms: 0,
        parse_ms,
        resolve_ms: millis(started_at.elapsed()) - parse_ms,
    })
}

fn check(cancelled: &AtomicBool) -> Result<(), AnalysisError> {
    if cancelled.load(Ordering::Relaxed) {
        Err(AnalysisError::Cancelled)
    } else {
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

const KNOWN: &str = "SELECT path, size, modified_ns, changed_ns, inode, hash FROM file";

fn known_row(row: &rusqlite::Row<'_>) -> Result<(String, Known), rusqlite::Error> {
    let known = Known {
        stamp: Stamp {
            size: row.get::<_, i64>(1)? as u64,
            modified_ns: row.get(2)?,
            changed_ns: row.get(3)?,
            inode: row.get::<_, i64>(4)? as u64,
        },
        hash: row.get(5)?,
    };
    Ok((row.get(0)?, known))
}

fn known_files(connection: &Connection) -> Result<HashMap<String, Known>, StoreError> {
    let mut read = connection.prepare_cached(KNOWN)?;
    let rows = read.query_map([], known_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn known_file(connection: &Connection, path: &str) -> Result<Option<Known>, StoreError> {
    let mut read = connection.prepare_cached(&format!("{KNOWN} WHERE path = ?"))?;
    let mut rows = read.query_map([path], known_row)?;
    Ok(rows.next().transpose()?.map(|(_, known)| known))
}

/// Sets what is true of the whole repository.
///
/// # Errors
///
/// When SQLite fails.
pub fn meta_set(connection: &Connection, key: &str, value: &str) -> Result<(), StoreError> {
    // Writing what is there already would cost a sync of the disk.
    let sql = "INSERT INTO meta (key, value) VALUES (?, ?)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value != excluded.value";
    connection.prepare_cached(sql)?.execute([key, value])?;
    Ok(())
}

#[cfg(test)]
mod tests;
