//! The files of a commit on disk: written by us, so that no filter and no hook has a say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::objs::tree::EntryKind;

/// What was left out of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeSummary {
    /// Files there are.
    pub files: usize,
    /// Files that were written, because they are new or changed.
    pub written: usize,
    /// Files above the limit.
    pub too_large: usize,
    /// Symbolic links; they may point anywhere.
    pub links: usize,
    /// Submodules; they are repositories of their own.
    pub submodules: usize,
    /// Files whose name leads out of the tree or into `.git`.
    pub unsafe_names: usize,
    /// Files whose content a shallow or damaged repository does not have.
    pub missing: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes_max: u64,
    pub(super) file_bytes_max: u64,
}

#[derive(Debug)]
pub(super) enum TreeError {
    TooLarge,
    Damaged(gix::Error),
    Write(PathBuf, io::Error),
}

impl From<gix::Error> for TreeError {
    fn from(error: gix::Error) -> Self {
        Self::Damaged(error)
    }
}

/// The wanted files, by path.
type Files = BTreeMap<String, ObjectId>;

/// Makes `<directory>/tree` hold the files of a commit. Files that are right already are not
/// touched, so that an analysis finds their times unchanged.
pub(super) fn check_out(
    repository: &gix::Repository,
    commit: ObjectId,
    directory: &Path,
    limits: Limits,
) -> Result<TreeSummary, TreeError> {
    let mut summary = TreeSummary::default();
    let wanted = wanted(repository, commit, limits, &mut summary)?;
    let place = Place::new(directory);
    let present = place.begin()?;
    for path in present.keys().filter(|path| !wanted.contains_key(*path)) {
        place.remove(path)?;
    }
    for (path, id) in &wanted {
        if present.get(path) != Some(id) {
            let blob = repository.find_blob(*id)?;
            place.write(path, &blob.data)?;
            summary.written += 1;
        }
    }
    place.end(commit, &wanted)?;
    summary.files = wanted.len();
    Ok(summary)
}

fn wanted(
    repository: &gix::Repository,
    commit: ObjectId,
    limits: Limits,
    summary: &mut TreeSummary,
) -> Result<Files, TreeError> {
    let tree = repository.find_commit(commit)?.tree()?;
    let mut files = Files::new();
    let mut bytes = 0_u64;
    for entry in tree.traverse().breadthfirst.files()? {
        match entry.mode.kind() {
            EntryKind::Link => summary.links += 1,
            EntryKind::Commit => summary.submodules += 1,
            EntryKind::Tree => {}
            EntryKind::Blob | EntryKind::BlobExecutable => {
                let Some(path) = safe_path(&entry.filepath) else {
                    summary.unsafe_names += 1;
                    continue;
                };
                let Ok(header) = repository.find_header(entry.oid) else {
                    summary.missing += 1;
                    continue;
                };
                if header.size() > limits.file_bytes_max {
                    summary.too_large += 1;
                    continue;
                }
                bytes += header.size();
                if bytes > limits.bytes_max {
                    return Err(TreeError::TooLarge);
                }
                files.insert(path, entry.oid);
            }
        }
    }
    Ok(files)
}

/// A path that stays inside, in UTF-8.
fn safe_path(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let is_safe = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part.eq_ignore_ascii_case(".git")
            && !part.contains('\0')
    };
    path.split('/').all(is_safe).then(|| path.to_owned())
}

/// The tree on disk, and the list of what is in it.
struct Place {
    tree: PathBuf,
    list: PathBuf,
}

impl Place {
    fn new(directory: &Path) -> Self {
        Self {
            tree: directory.join("tree"),
            list: directory.join("tree.commit"),
        }
    }

    /// What is there. The list goes before the first change, so that a tree which was left half
    /// changed is known by its absence, and is made anew.
    fn begin(&self) -> Result<Files, TreeError> {
        let present = fs::read_to_string(&self.list)
            .ok()
            .and_then(|text| parse(&text));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| TreeError::Write(path, error)
        };
        if present.is_some() {
            fs::remove_file(&self.list).map_err(failed(&self.list))?;
        } else if self.tree.exists() {
            fs::remove_dir_all(&self.tree).map_err(failed(&self.tree))?;
        }
        fs::create_dir_all(&self.tree).map_err(failed(&self.tree))?;
        Ok(present.unwrap_or_default())
    }

    fn remove(&self, path: &str) -> Result<(), TreeError> {
        let file = self.tree.join(path);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(TreeError::Write(file, error));
            }
            Ok(()) | Err(_) => {}
        }
        // A directory that has become empty may be a file in the next commit.
        let mut parent = file.parent();
        while let Some(directory) = parent.filter(|&directory| directory != self.tree) {
            if fs::remove_dir(directory).is_err() {
                break;
            }
            parent = directory.parent();
        }
        Ok(())
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<(), TreeError> {
        let file = self.tree.join(path);
        let written = file
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&file, content));
        written.map_err(|error| TreeError::Write(file, error))
    }

    fn end(&self, commit: ObjectId, files: &Files) -> Result<(), TreeError> {
        let mut text = format!("{commit}\n");
        for (path, id) in files {
            // A path with a line break is not listed; it is written again each time.
            if !path.contains('\n') {
                text.push_str(&format!("{id} {path}\n"));
            }
        }
        let partial = self.list.with_extension("partial");
        let written = fs::write(&partial, text).and_then(|()| fs::rename(&partial, &self.list));
        written.map_err(|error| TreeError::Write(self.list.clone(), error))
    }
}

/// `None` for a list that is not whole.
fn parse(text: &str) -> Option<Files> {
    let lines = text.strip_suffix('\n')?.lines().skip(1);
    lines
        .map(|line| {
            let (id, path) = line.split_once(' ')?;
            Some((path.to_owned(), ObjectId::from_hex(id.as_bytes()).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for path in [
            "../a",
            "a/../../b",
            "/a",
            ".git/config",
            "a/.GIT/hooks/x",
            "a//b",
            "a\0b",
        ] {
            assert_eq!(safe_path(path.as_bytes()), None, "{path}");
        }
        assert_eq!(safe_path(b"\xff"), None);
        assert_eq!(safe_path(b"a/.gitignore").as_deref(), Some("a/.gitignore"));
    }
}
