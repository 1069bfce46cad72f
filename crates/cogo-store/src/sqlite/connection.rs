//! Connections and how they are set.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Durability;
use crate::StoreError;

/// How long to wait for a lock of SQLite's. Only a foreign program, such as `sqlite3`, can hold one
/// that is in our way.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of 4 KiB in the write-ahead log before they are moved into the database, which makes one
/// group wait longer: often enough that the log stays small, rarely enough that few groups wait.
const CHECKPOINT_PAGES: u32 = 4096;
/// What a log that grew is cut back to.
const LOG_BYTES_KEPT: u32 = 64 << 20;
const WRITER_CACHE_KIB: u32 = 16 << 10;
const STATEMENTS_CACHED: usize = 32;

/// The connection that writes. Makes the database if there is none.
pub(super) fn open_writer(path: &Path, durability: Durability) -> Result<Connection, StoreError> {
    make(path).map_err(|error| StoreError::Database {
        action: "make the database",
        message: format!("`{}`: {error}", path.display()),
    })?;
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    set_up(&connection, durability).map_err(at(path))?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(at(path))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(at(path))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}

fn set_up(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    // First, since it fails on what is no database, before anything is written to it.
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))
}

/// Makes an empty file for the database that nobody else may read, since requests may hold
/// secrets. SQLite gives its other files the same mode.
fn make(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the name of a new file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

fn at(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| StoreError::Database {
        action: "open the database",
        message: format!("`{}`: {error}", path.display()),
    }
}
