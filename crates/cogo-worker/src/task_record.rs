//! What is written down of each task, so that the worker's successor finds it.
//!
//! ```text
//! <state>/
//!   lock                    held by the live worker
//!   id                      the worker's name
//!   tasks/<exec id>.json    a task: written before its exec is made, removed last but one
//!   workspaces/<exec id>/   the fresh workspace of a task that named none
//!   execs/<exec id>/        the exec itself, see `cogo_sandbox::exec_dir`
//! ```
//!
//! A record is one line, and each further line is a later phase of the task. Files of records that
//! were removed are written again: to make and to free a file is what costs.
//!
//! A record survives the death of every process, as the files of a running exec do; a power loss
//! takes both. How a task ended is not here but in the exec's verdict.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cogo_protocol::id::ExecId;
use cogo_protocol::task::{Fence, TaskId};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::block::BlockSettings;
use crate::refusal::Refusal;

/// A task as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    pub(crate) task_id: TaskId,
    pub(crate) attempt: Option<u32>,
    pub(crate) fence: Option<Fence>,
    pub(crate) exec_id: ExecId,
    /// The directory that goes with the task.
    pub(crate) workspace: Option<PathBuf>,
    pub(crate) input: InputRecord,
    pub(crate) pty: bool,
    /// What is done about its blocks.
    #[serde(default)]
    pub(crate) block: BlockSettings,
    pub(crate) phase: PhaseRecord,
}

/// What becomes of a task's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputRecord {
    /// It is at its end, or will be.
    Closed,
    /// Clients send it.
    Open,
    /// The worker has a text that was not written yet.
    Text,
}

/// How far a start came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PhaseRecord {
    /// The exec is about to be made, or there is one.
    Starting,
    /// There was an exec; if its directory is gone, someone removed it.
    Started,
    /// There is no exec, for this reason.
    Refused(Refusal),
}

/// The directories of records and workspaces.
#[derive(Clone, Debug)]
pub(crate) struct TaskRecords {
    tasks: PathBuf,
    workspaces: PathBuf,
    /// Files of removed records.
    spares: Arc<Mutex<Vec<PathBuf>>>,
}

/// Most files of removed records that are kept.
const SPARES_MAX: usize = 32;

impl TaskRecords {
    /// Opens them in a worker's state directory.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let records = Self {
            tasks: state.join("tasks"),
            workspaces: state.join("workspaces"),
            spares: Arc::default(),
        };
        for directory in [&records.tasks, &records.workspaces] {
            private_dirs().create(directory)?;
        }
        records.remove_unused()?;
        Ok(records)
    }

    /// Removes what an earlier worker had begun to write, or kept to write to.
    fn remove_unused(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.tasks)? {
            let path = entry?.path();
            let unused = |extension: &std::ffi::OsStr| extension == "new" || extension == "spare";
            if path.extension().is_some_and(unused) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Writes beside and renames, so that a reader sees all of it or nothing.
    pub(crate) fn write(&self, record: &TaskRecord) -> io::Result<()> {
        let path = self.path(record.exec_id);
        let spare = self.lock_spares().pop();
        let beside = spare.unwrap_or_else(|| path.with_extension("new"));
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&line(record)?)?;
        fs::rename(beside, path)
    }

    /// Adds how far a task is to its record.
    pub(crate) fn note(&self, exec: ExecId, phase: &PhaseRecord) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).open(self.path(exec))?;
        file.write_all(&line(phase)?)
    }

    pub(crate) fn remove(&self, exec: ExecId) -> io::Result<()> {
        let path = self.path(exec);
        let mut spares = self.lock_spares();
        if spares.len() >= SPARES_MAX {
            return ignore_missing(fs::remove_file(path));
        }
        let spare = path.with_extension("spare");
        if let Err(error) = fs::rename(path, &spare) {
            return ignore_missing(Err(error));
        }
        // What is forgotten is not on the disk either.
        fs::File::options().write(true).open(&spare)?.set_len(0)?;
        spares.push(spare);
        Ok(())
    }

    fn lock_spares(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All records, the oldest first, and the files that are none.
    pub(crate) fn read_all(&self) -> io::Result<(Vec<TaskRecord>, Vec<PathBuf>)> {
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.tasks)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match parse(&fs::read(&path)?) {
                Some(record) if self.path(record.exec_id) == path => records.push(record),
                Some(_) | None => broken.push(path),
            }
        }
        records.sort_by_key(|record| record.exec_id);
        Ok((records, broken))
    }

    /// Where a task's fresh workspace is.
    pub(crate) fn workspace(&self, exec: ExecId) -> PathBuf {
        self.workspaces.join(exec.to_string())
    }

    /// Workspaces that belong to none of these tasks.
    pub(crate) fn stray_workspaces(&self, known: &[TaskRecord]) -> io::Result<Vec<PathBuf>> {
        let mut stray = Vec::new();
        for entry in fs::read_dir(&self.workspaces)? {
            let path = entry?.path();
            if !known
                .iter()
                .any(|record| record.workspace.as_ref() == Some(&path))
            {
                stray.push(path);
            }
        }
        Ok(stray)
    }

    fn path(&self, exec: ExecId) -> PathBuf {
        self.tasks.join(format!("{exec}.json"))
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text)
}

/// A record with the last of its phases. One that was not written to its end is not counted.
fn parse(text: &[u8]) -> Option<TaskRecord> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut record: TaskRecord = serde_json::from_slice(lines.next()?).ok()?;
    let mut phases = lines.filter_map(|line| serde_json::from_slice(line).ok());
    if let Some(phase) = phases.next_back() {
        record.phase = phase;
    }
    Some(record)
}

/// Makes directories that only their owner can enter.
pub(crate) fn private_dirs() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

/// Removes the workspace that goes with a task. What cannot be removed is told, and left.
pub(crate) fn remove_workspace(record: &TaskRecord) {
    if let Some(workspace) = &record.workspace
        && let Err(error) = remove_tree(workspace)
    {
        warn!(task_id = %record.task_id, %error, "failed to remove the workspace");
    }
}

/// Removes a directory with all that is in it, also where a program took the rights to.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(path)?;
            ignore_missing(fs::remove_dir_all(path))
        }
        other => ignore_missing(other),
    }
}

/// Gives the owner all rights on the directories of a tree.
fn unlock(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> TaskRecord {
        TaskRecord {
            block: BlockSettings::default(),
            task_id: "t".parse().unwrap(),
            attempt: Some(2),
            fence: Some(Fence(7)),
            exec_id: ExecId::from_parts(number, &[0; 10]),
            workspace: None,
            input: InputRecord::Text,
            pty: false,
            phase: PhaseRecord::Refused(Refusal::new("x", "y")),
        }
    }

    #[test]
    fn records_come_back_in_order_and_damage_is_told() {
        let place = tempfile::tempdir().unwrap();
        let records = TaskRecords::open(place.path()).unwrap();
        for number in [3, 1, 2] {
            records.write(&record(number)).unwrap();
        }
        fs::write(place.path().join("tasks/x.json"), "{").unwrap();
        fs::write(place.path().join("tasks/torn.new"), "{").unwrap();
        records.remove(record(2).exec_id).unwrap();
        records.remove(record(2).exec_id).unwrap();
        let (read, broken) = records.read_all().unwrap();
        assert_eq!(read, [record(1), record(3)]);
        assert_eq!(broken, [place.path().join("tasks/x.json")]);
    }

    #[test]
    fn later_phases_are_added_and_files_are_written_again() {
        let place = tempfile::tempdir().unwrap();
        let records = TaskRecords::open(place.path()).unwrap();
        let first = record(1);
        records.write(&first).unwrap();
        records.note(first.exec_id, &PhaseRecord::Started).unwrap();
        // The worker died in the middle of a line.
        let path = place.path().join(format!("tasks/{}.json", first.exec_id));
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"refused\":{").unwrap();
        let started = TaskRecord {
            phase: PhaseRecord::Started,
            ..first
        };
        assert_eq!(records.read_all().unwrap().0, [started]);
        records.remove(record(1).exec_id).unwrap();
        assert_eq!(records.read_all().unwrap().0, []);
        records.write(&record(2)).unwrap();
        assert_eq!(records.read_all().unwrap().0, [record(2)]);
        assert_eq!(fs::read_dir(place.path().join("tasks")).unwrap().count(), 1);
        records.remove(record(2).exec_id).unwrap();
        let again = TaskRecords::open(place.path()).unwrap();
        assert_eq!(fs::read_dir(place.path().join("tasks")).unwrap().count(), 0);
        assert_eq!(again.read_all().unwrap().0, []);
    }

    #[test]
    fn only_known_workspaces_are_not_stray() {
        let place = tempfile::tempdir().unwrap();
        let records = TaskRecords::open(place.path()).unwrap();
        let mut known = record(1);
        known.workspace = Some(records.workspace(known.exec_id));
        for number in [1, 2] {
            fs::create_dir(records.workspace(record(number).exec_id)).unwrap();
        }
        let stray = records.stray_workspaces(&[known]).unwrap();
        assert_eq!(stray, [records.workspace(record(2).exec_id)]);
    }
}
