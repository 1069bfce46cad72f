//! Folders of execs that are over and forgotten, for execs to come.
//!
//! A file system takes its time to find and to free inodes: ext4 without a journal steps over
//! every inode that was freed in the last minutes. A folder that is handed on costs two renames.
//!
//! What is in a spare folder was truncated, and nobody finds it under the old id any more: it was
//! renamed away first, and whoever reads a file looks for its name again afterwards. The lock is
//! never handed on, because somebody may still wait for it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{RUNNING, SPEC, VERDICT, beside};

/// Spare folders of one state directory, of one process that owns it.
#[derive(Debug)]
pub(super) struct Spares {
    folder: PathBuf,
    ready: Mutex<Vec<PathBuf>>,
    max: usize,
}

impl Spares {
    /// Begins without any: what an earlier process left is not known, and removed.
    pub(super) fn open(folder: PathBuf, max: usize) -> io::Result<Self> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        super::private_dir_builder().create(&folder)?;
        Ok(Self {
            folder,
            ready: Mutex::default(),
            max,
        })
    }

    /// Makes a spare folder the folder of a new exec. Whether there was one.
    pub(super) fn become_exec(&self, path: &Path) -> io::Result<bool> {
        let Some(spare) = self.lock().pop() else {
            return Ok(false);
        };
        // Without the flag it would take the place of an exec that has an empty folder.
        match renameat_with(CWD, &spare, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => {
                self.lock().push(spare);
                Err(io::ErrorKind::AlreadyExists.into())
            }
            // A file system that cannot do it.
            Err(_) => {
                let _ = fs::remove_dir_all(spare);
                Ok(false)
            }
        }
    }

    /// Takes the folder of an exec that is over. False if it has to be removed.
    pub(super) fn take(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().filter(|_| self.lock().len() < self.max) else {
            return false;
        };
        let spare = self.folder.join(name);
        if fs::rename(path, &spare).is_err() {
            return false;
        }
        if clean(&spare).is_ok() {
            self.lock().push(spare);
        } else {
            let _ = fs::remove_dir_all(spare);
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves an empty log and empty files, under the names that nobody reads.
fn clean(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let kept = [SPEC, RUNNING, VERDICT]
            .into_iter()
            .find(|kept| name == **kept);
        if let Some(kept) = kept {
            let path_beside = beside(folder, kept);
            fs::rename(&path, &path_beside)?;
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(&path_beside)?;
        } else if name == "log" {
            for segment in fs::read_dir(&path)? {
                fs::remove_file(segment?.path())?;
            }
        } else {
            // A folder is nothing that an exec which is over has.
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
