//! What succeeded before with the same inputs need not be done again.
//!
//! A step with `inputs` has a key: the SHA-256 over its command, its variables, what it may use,
//! and the names, modes and contents of the files its inputs name. Under the key lies what it told and the
//! files it made. Entries appear whole, by a rename, and are never changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dispatch::Work;
use crate::document::Step;
use crate::files;
use crate::hex::hex;

/// Changes when keys or entries mean something else.
const VERSION: &str = "cogo step cache 1";

/// A directory of results.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// Names a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// What a step told when it succeeded.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    outputs: BTreeMap<String, String>,
}

impl Cache {
    /// The cache in this directory, which is made with the first entry.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The key of a step; nothing for one that names no inputs.
    ///
    /// # Errors
    ///
    /// When an input cannot be read.
    pub fn key(step: &Step, work: &Work, workspace: &Path) -> io::Result<Option<Key>> {
        if step.inputs.is_empty() {
            return Ok(None);
        }
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        add(VERSION.as_bytes());
        let cwd = work.cwd.strip_prefix(workspace).unwrap_or(&work.cwd);
        let design = (&work.argv, &work.env, cwd, &work.limits, &work.network);
        add(&serde_json::to_vec(&design)?);
        let artifacts: Vec<&str> = step.artifacts.iter().map(|glob| &*glob.value).collect();
        add(&serde_json::to_vec(&(artifacts, &step.outputs))?);
        for path in files::matching(workspace, &step.inputs)? {
            let full = workspace.join(&path);
            let metadata = fs::symlink_metadata(&full)?;
            add(path.as_os_str().as_encoded_bytes());
            add(&metadata.permissions().mode().to_le_bytes());
            if metadata.is_symlink() {
                add(fs::read_link(&full)?.as_os_str().as_encoded_bytes());
            } else if metadata.is_file() {
                add(&fs::read(&full)?);
            }
        }
        Ok(Some(Key(hex(&digest.finalize()))))
    }

    /// Takes a result: its files are put into the workspace, and what it told is returned.
    /// Nothing if there is none.
    ///
    /// # Errors
    ///
    /// When a file cannot be put in its place.
    pub fn take(
        &self,
        key: &Key,
        workspace: &Path,
    ) -> io::Result<Option<BTreeMap<String, String>>> {
        let entry = self.dir.join(&key.0);
        let told = match fs::read(entry.join("told.json")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let told: Told = serde_json::from_slice(&told)?;
        let made = entry.join("files");
        for path in relative_files(&made)? {
            put(&made.join(&path), workspace, &path)?;
        }
        Ok(Some(told.outputs))
    }

    /// Keeps a result.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then nothing is kept.
    pub fn keep(
        &self,
        key: &Key,
        step: &Step,
        outputs: &BTreeMap<String, String>,
        workspace: &Path,
    ) -> io::Result<()> {
        let entry = self.dir.join(&key.0);
        if entry.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        let fresh = self.dir.join(format!(".{}.{}", key.0, std::process::id()));
        let written = write(&fresh, step, outputs, workspace);
        let kept = written.and_then(|()| match fs::rename(&fresh, &entry) {
            // Another run was quicker.
            Err(_) if entry.exists() => Ok(()),
            renamed => renamed,
        });
        // After a rename there is nothing to remove.
        let _ = fs::remove_dir_all(&fresh);
        kept
    }
}

fn write(
    entry: &Path,
    step: &Step,
    outputs: &BTreeMap<String, String>,
    workspace: &Path,
) -> io::Result<()> {
    let made = entry.join("files");
    fs::create_dir_all(&made)?;
    copy_artifacts(step, workspace, &made)?;
    let told = Told {
        outputs: outputs.clone(),
    };
    fs::write(entry.join("told.json"), serde_json::to_vec(&told)?)
}

/// Copies the files a step made to another directory, and tells how many there are.
///
/// # Errors
///
/// When one cannot be copied.
pub fn copy_artifacts(step: &Step, workspace: &Path, to: &Path) -> io::Result<usize> {
    let paths = files::matching(workspace, &step.artifacts)?;
    if !paths.is_empty() {
        fs::create_dir_all(to)?;
    }
    for path in &paths {
        put(&workspace.join(path), to, path)?;
    }
    Ok(paths.len())
}

/// Puts a file or link below a directory, in place of what is there. A directory that a link has
/// taken the place of is not walked through: it could lead anywhere.
fn put(from: &Path, below: &Path, path: &Path) -> io::Result<()> {
    let to = below.join(path);
    if let Some(parent) = path.parent() {
        let mut folder = below.to_owned();
        for part in parent {
            folder.push(part);
            match fs::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    let message = format!("`{}` is no directory", folder.display());
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
                }
                Err(_) => fs::create_dir(&folder)?,
            }
        }
    }
    // A running program's file cannot be written, and a link would be followed.
    match fs::remove_file(&to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if fs::symlink_metadata(from)?.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, &to);
    }
    fs::copy(from, &to).map(drop)
}

fn relative_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry?;
        if !entry.file_type().is_dir()
            && let Ok(path) = entry.path().strip_prefix(dir)
        {
            files.push(path.to_owned());
        }
    }
    Ok(files)
}
