//! One SQLite file per repository: what is known of it. See the decision
//! `docs/decisions/0008-the-analysis-has-a-file-of-its-own.md`.
//!
//! There is one writer at a time, guarded by a lock file; readers are as many as there are. The
//! file can be deleted at any time: everything in it is built anew from the repository.

mod schema;
pub mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sha1::{Digest as _, Sha1};

/// How long a connection waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory of the store cannot be made.
    #[error("failed to make the directory `{path}`")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The repository was not analysed yet.
    #[error("`{root}` was not analysed yet")]
    NotAnalysed {
        /// The repository.
        root: PathBuf,
    },
    /// Another process writes to the store.
    #[error("`{root}` is being analysed by another process")]
    Busy {
        /// The repository.
        root: PathBuf,
    },
    /// SQLite failed.
    #[error("failed to use the analysis store")]
    Sqlite(#[from] rusqlite::Error),
    /// The stored facts of a content cannot be read.
    #[error("the stored facts of a file are damaged")]
    Facts(#[from] postcard::Error),
}

/// What is known of one repository.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    // Held for as long as the store may write; the system lets go of it when the process dies.
    _lock: Option<std::fs::File>,
}

/// Twelve digits that tell what has the same name apart.
pub(crate) fn short_id(bytes: &[u8]) -> String {
    let digest = Sha1::digest(bytes);
    digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Where the store of a repository is, below the state directory: named after the repository, and
/// told apart from others of that name by where it lies.
pub fn location(state_dir: &Path, root: &Path) -> PathBuf {
    let id = short_id(root.as_os_str().as_encoded_bytes());
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    state_dir.join("analysis").join(format!("{name}-{id}"))
}

impl Store {
    /// Opens the store of a repository for writing, and makes it if there is none, or one of
    /// another version, or a damaged one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] while another process has it open for writing.
    pub fn open(state_dir: &Path, root: &Path) -> Result<Self, StoreError> {
        let directory = location(state_dir, root);
        let failed = |source| StoreError::Directory {
            path: directory.clone(),
            source,
        };
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let lock = std::fs::File::create(directory.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(StoreError::Busy {
                root: root.to_owned(),
            });
        }
        let file = directory.join("analysis.db");
        let connection = if let Ok(connection) = Self::connect(&file) {
            connection
        } else {
            Self::remove(&file);
            Self::connect(&file)?
        };
        Ok(Self {
            connection,
            _lock: Some(lock),
        })
    }

    /// Opens the store of a repository for reading.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAnalysed`] if there is none that this version can read.
    pub fn open_read_only(state_dir: &Path, root: &Path) -> Result<Self, StoreError> {
        let file = location(state_dir, root).join("analysis.db");
        let missing = || StoreError::NotAnalysed {
            root: root.to_owned(),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags).map_err(|_| missing())?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if Self::version(&connection).map_err(|_| missing())? != schema::version() {
            return Err(missing());
        }
        Ok(Self {
            connection,
            _lock: None,
        })
    }

    /// The connection, for the subjects that have tables of their own.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection, for a transaction.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn connect(file: &Path) -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // What a power loss takes is analysed again; a killed process loses nothing.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -32768;",
        )?;
        connection.set_prepared_statement_cache_capacity(64);
        match Self::version(&connection)? {
            version if version == schema::version() => return Ok(connection),
            0 => {}
            _ => {
                drop(connection);
                Self::remove(file);
                return Self::connect(file);
            }
        }
        connection.execute_batch(&format!(
            "BEGIN; {} PRAGMA user_version = {}; COMMIT;",
            schema::statements(),
            schema::version()
        ))?;
        Ok(connection)
    }

    fn version(connection: &Connection) -> Result<i32, rusqlite::Error> {
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    fn remove(file: &Path) {
        for ending in ["", "-wal", "-shm"] {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            // What is left makes the next attempt fail, which is told.
            let _ = std::fs::remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_of_tables(store: &Store) -> u32 {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
        store
            .connection
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn repositories_of_one_name_have_stores_of_their_own() {
        let at = |root: &str| location(Path::new("/s"), Path::new(root));
        assert_ne!(at("/a/x"), at("/b/x"));
        assert!(at("/a/x y").starts_with("/s/analysis"));
        assert!(at("/a/x y").to_str().unwrap().contains("/x-y-"));
    }

    #[test]
    fn a_store_has_one_writer_and_any_readers() {
        let state = tempfile::tempdir().unwrap();
        let root = Path::new("/r");
        let missing = Store::open_read_only(state.path(), root);
        assert!(matches!(missing, Err(StoreError::NotAnalysed { .. })));

        let writer = Store::open(state.path(), root).unwrap();
        let second = Store::open(state.path(), root);
        assert!(matches!(second, Err(StoreError::Busy { .. })));
        let reader = Store::open_read_only(state.path(), root).unwrap();
        assert_eq!(count_of_tables(&reader), count_of_tables(&writer));

        drop(writer);
        Store::open(state.path(), root).unwrap();
    }

    #[test]
    fn a_damaged_or_foreign_file_is_made_anew() {
        let state = tempfile::tempdir().unwrap();
        let root = Path::new("/r");
        let file = location(state.path(), root).join("analysis.db");
        let tables = count_of_tables(&Store::open(state.path(), root).unwrap());

        std::fs::write(&file, vec![7; 8192]).unwrap();
        let store = Store::open(state.path(), root).unwrap();
        assert_eq!(count_of_tables(&store), tables);

        store
            .connection
            .pragma_update(None, "user_version", schema::version() ^ 1)
            .unwrap();
        store
            .connection
            .execute_batch("CREATE TABLE other (x)")
            .unwrap();
        drop(store);
        let store = Store::open(state.path(), root).unwrap();
        assert_eq!(count_of_tables(&store), tables);
    }
}
