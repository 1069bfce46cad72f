//! The cache of clones: one directory a URL, believed only when whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::tree::{self, Limits, TreeSummary};
use super::{CloneError, CloneOptions, Credentials, OnCloneProgress, RemoteUrl, fetch};
use crate::store::short_id;

/// A repository of the cache, with the files of one commit.
#[derive(Debug)]
pub struct Cloned {
    /// The bare repository.
    pub repository: PathBuf,
    /// The files.
    pub tree: PathBuf,
    /// Their commit.
    pub commit: String,
    /// What was left out of them.
    pub summary: TreeSummary,
    // Nobody else changes the files while they are read.
    _lock: File,
}

/// Clones a URL into the cache below the state directory, or brings what is there up to date, and
/// makes the files of the commit.
///
/// # Errors
///
/// Every variant of [`CloneError`]. What an interrupted clone leaves is taken up or removed by the
/// next one.
pub fn clone(
    url: &str,
    state_dir: &Path,
    options: CloneOptions,
    on_progress: OnCloneProgress,
) -> Result<Cloned, CloneError> {
    let (url, inside) = RemoteUrl::parse(url)?;
    let options = with_login(options, inside);
    let directory = location(state_dir, &url);
    fs::create_dir_all(&directory).map_err(CloneError::write(&directory))?;
    let lock = lock(&directory, &url)?;
    let origin = directory.join("origin");
    fs::write(&origin, url.as_str()).map_err(CloneError::write(&origin))?;

    let whole = directory.join("repository.git");
    let (repository, commit) = fetched(&directory, &whole, &url, &options, on_progress)?;
    let limits = Limits {
        bytes_max: options.bytes_max,
        file_bytes_max: options.file_bytes_max,
    };
    let summary =
        tree::check_out(&repository, commit, &directory, limits).map_err(|error| match error {
            tree::TreeError::TooLarge => CloneError::TooLarge {
                url: url.as_str().to_owned(),
                bytes_max: options.bytes_max,
            },
            tree::TreeError::Damaged(error) => CloneError::damaged(&whole, &error),
            tree::TreeError::Write(path, source) => CloneError::Write { path, source },
        })?;
    Ok(Cloned {
        repository: whole,
        tree: directory.join("tree"),
        commit: commit.to_string(),
        summary,
        _lock: lock,
    })
}

/// Where a URL's clone is.
pub(super) fn location(state_dir: &Path, url: &RemoteUrl) -> PathBuf {
    let id = short_id(url.as_str().as_bytes());
    state_dir
        .join("clones")
        .join(format!("{}-{id}", url.name()))
}

/// A login that was asked for goes before one inside of the URL.
fn with_login(mut options: CloneOptions, inside: Credentials) -> CloneOptions {
    if options.credentials.is_none() {
        options.credentials = inside;
    }
    options
}

fn lock(directory: &Path, url: &RemoteUrl) -> Result<File, CloneError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(CloneError::write(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(CloneError::Busy {
            url: url.as_str().to_owned(),
        }),
    }
}

fn fetched(
    directory: &Path,
    whole: &Path,
    url: &RemoteUrl,
    options: &CloneOptions,
    on_progress: OnCloneProgress,
) -> Result<(gix::Repository, gix::ObjectId), CloneError> {
    if whole.exists() {
        match update(whole, url, options, on_progress) {
            // Each of these may come of a clone that went bad on disk. A fetch from nothing tells:
            // it makes a sound one, or fails for the same reason.
            Err(
                CloneError::Damaged { .. }
                | CloneError::Empty { .. }
                | CloneError::NoSuchReference { .. }
                | CloneError::Protocol { .. },
            ) => {}
            result => return result,
        }
    }
    let partial = directory.join("repository.partial");
    if partial.exists() {
        remove(&partial)?;
    }
    let made = fetch::init(&partial)
        .and_then(|repository| fetch::fetch(&repository, url, options, on_progress));
    let commit = match made {
        Ok(commit) => commit,
        Err(error) => {
            remove(&partial)?;
            return Err(error);
        }
    };
    if whole.exists() {
        remove(whole)?;
    }
    fs::rename(&partial, whole).map_err(CloneError::write(whole))?;
    Ok((super::open(whole)?, commit))
}

fn update(
    whole: &Path,
    url: &RemoteUrl,
    options: &CloneOptions,
    on_progress: OnCloneProgress,
) -> Result<(gix::Repository, gix::ObjectId), CloneError> {
    let repository = super::open(whole)?;
    let commit = fetch::fetch(&repository, url, options, on_progress)?;
    // A commit that cannot be read shows that the clone is not what it was.
    let readable = repository
        .find_commit(commit)
        .and_then(|commit| commit.tree().map(|_| ()));
    readable.map_err(|error| CloneError::damaged(whole, &error))?;
    Ok((repository, commit))
}

fn remove(path: &Path) -> Result<(), CloneError> {
    fs::remove_dir_all(path).map_err(CloneError::write(path))
}
