//! The SQLite store: its places, its files, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cogo_protocol::task::TaskState;
use cogo_store::{Durability, SqliteStore, Store, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::fixture::{Place, SmallDisk, append, begin, commit, event, put_task, task};

/// A place of a store that survives the loss of power.
#[expect(non_camel_case_types, reason = "names a module of the contract suite")]
pub(crate) struct full(TempDir);

impl Place for full {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&database(&self.0), Durability::Full).unwrap())
    }
}

/// A place of a store that survives a kill.
#[expect(non_camel_case_types, reason = "names a module of the contract suite")]
pub(crate) struct normal(TempDir);

impl Place for normal {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&database(&self.0), Durability::Normal).unwrap())
    }
}

fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("store.db")
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, Durability::Full)
}

fn refusal(path: &Path) -> String {
    open(path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn only_one_store_at_a_time_owns_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder);
    let store = open(&path).unwrap();
    let error = refusal(&path);
    let me = format!("is in use by this process ({})", std::process::id());
    assert!(error.contains(&me), "{error}");
    drop(store);
    open(&path).unwrap();
}

#[test]
fn the_files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&database(&folder)).unwrap();
    commit(&store, vec![append(1)]).unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file:?}");
    }
}

#[test]
fn a_closed_store_leaves_no_log_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&database(&folder)).unwrap();
    commit(&store, vec![append(1)]).unwrap();
    store.event_last().unwrap();
    drop(store);
    assert!(!folder.path().join("store.db-wal").exists());
}

#[test]
fn a_database_of_a_newer_cogo_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder);
    drop(open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = open(&path).map(|_| ()).unwrap_err();
    let found = matches!(error, StoreError::TooNew { found: 99, known } if known < 99);
    assert!(found, "{error}");
    let connection = Connection::open(&path).unwrap();
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    assert_eq!(version, Ok(99));
}

#[test]
fn the_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(connection);
    let error = refusal(&path);
    assert!(error.contains("belongs to another program"), "{error}");
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder);
    let text = "this is a letter\n".repeat(1000);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path);
    assert!(
        error.contains("store.db`: file is not a database"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_folder_that_is_missing_or_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(&folder.path().join("missing/store.db"));
    assert!(
        error.contains("missing/store.db.lock`: No such file"),
        "{error}"
    );
    fs::write(folder.path().join("file"), "").unwrap();
    let error = refusal(&folder.path().join("file/store.db"));
    assert!(error.contains("Not a directory"), "{error}");
    fs::create_dir(folder.path().join("folder")).unwrap();
    let error = refusal(&folder.path().join("folder"));
    assert!(error.contains("folder`"), "{error}");
}

#[test]
fn a_database_locked_by_a_foreign_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder);
    drop(open(&path).unwrap());
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = refusal(&path);
    assert!(error.contains("database is locked"), "{error}");
    foreign.execute_batch("ROLLBACK").unwrap();
    drop(foreign);
    open(&path).unwrap();
}

#[test]
fn a_damaged_record_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(&folder);
    let store = open(&path).unwrap();
    let queued = task("broken", 1, TaskState::Queued);
    commit(&store, vec![put_task(&queued)]).unwrap();
    drop(store);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute("UPDATE task SET record = '{}'", ())
        .unwrap();
    drop(connection);
    let error = open(&path).unwrap().tasks_open().unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("task `broken`"), "{error}");
}

#[test]
fn the_last_handle_may_be_dropped_by_a_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&database(&folder)).unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let last = Arc::clone(&store);
    store.commit(
        vec![append(1)],
        Box::new(move |_| {
            let _ = released.recv();
            drop(last);
            sender.send(()).unwrap();
        }),
    );
    drop(store);
    drop(release);
    receiver.recv().unwrap();
}

#[test]
fn a_panic_in_a_done_takes_nothing_from_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&database(&folder)).unwrap();
    store.commit(vec![append(1)], Box::new(|_| panic!("on purpose")));
    commit(&store, vec![append(2)]).unwrap();
    assert_eq!(store.event_last().unwrap(), 2);
}

#[test]
fn a_full_disk_fails_clearly_and_loses_nothing_as_root() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.path().join("store.db");
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let store = open(&path).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let mut task = task(&format!("t{acknowledged}"), acknowledged, TaskState::Queued);
        task.error = Some("x".repeat(4000));
        let changes = vec![put_task(&task), append(acknowledged + 1)];
        match commit(&store, changes) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the disk does not fill");
    };
    assert!(error.to_string().contains("full"), "{error}");
    assert!(acknowledged > 10, "{acknowledged}");
    let error = begin(&store, vec![append(u64::from(u32::MAX))])
        .recv()
        .unwrap();
    assert!(matches!(error, Err(StoreError::Poisoned)), "{error:?}");
    assert_eq!(store.tasks_open().unwrap().len() as u64, acknowledged);
    drop(store);

    fs::remove_file(ballast).unwrap();
    let store = open(&path).unwrap();
    assert_eq!(store.tasks_open().unwrap().len() as u64, acknowledged);
    assert_eq!(store.event_last().unwrap(), acknowledged);
    commit(&store, vec![append(acknowledged + 1)]).unwrap();
    let last = store.events_after(acknowledged, 10).unwrap();
    assert_eq!(last, [event(acknowledged + 1)]);
}

#[test]
fn a_read_only_disk_is_named_as_root() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let path = disk.path().join("store.db");
    drop(open(&path).unwrap());
    let flags = rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount_remount(disk.path(), flags, c"").unwrap();
    let error = refusal(&path);
    assert!(error.contains("Read-only file system"), "{error}");
    assert!(error.contains("store.db.lock"), "{error}");
}
