//! A copy of the workspace, in which fixes are tried.
//!
//! The workspace itself is only read, until [`Tree::write_back`]. Files are named by their path from the
//! top; a path that leads out of the copy, also through a link, names no file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use super::change::Change;

/// A build directory that says so with a `CACHEDIR.TAG` is left out of the copy when it is bigger.
const CACHE_MAX: u64 = 1 << 30;
/// Files that are bigger are not looked at as text.
const TEXT_MAX: u64 = 4 << 20;
/// Directories whose files nobody wrote by hand.
const NOT_SOURCES: [&str; 9] = [
    ".git",
    ".hg",
    "node_modules",
    "target",
    ".venv",
    "venv",
    "__pycache__",
    ".tox",
    "vendor",
];

/// The copy.
#[derive(Debug)]
pub struct Tree {
    /// The workspace.
    original: PathBuf,
    /// Where the copy lies.
    root: PathBuf,
    /// What files that a fixer has touched were before.
    base: BTreeMap<PathBuf, Option<String>>,
}

/// Why a copy could not be made, changed, or brought back.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The system's answer.
    #[error("failed to {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A change names a file outside.
    #[error("`{0}` is not a file inside of the workspace")]
    Outside(PathBuf),
    /// Somebody has worked on a file that is to be changed.
    #[error("`{0}` was changed in the workspace meanwhile")]
    ChangedMeanwhile(PathBuf),
}

impl Tree {
    /// Copies a workspace into a directory that is empty.
    ///
    /// # Errors
    ///
    /// When something cannot be read or written.
    pub fn copy(workspace: &Path, to: &Path) -> Result<Self, TreeError> {
        copy_directory(workspace, to)?;
        Ok(Self {
            original: workspace.to_owned(),
            root: to.to_owned(),
            base: BTreeMap::new(),
        })
    }

    /// Where the copy lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The workspace it is a copy of.
    pub fn original(&self) -> &Path {
        &self.original
    }

    /// The text of a file. None if there is none, or it is none of the copy's.
    pub fn read(&self, file: &Path) -> Option<String> {
        let path = self.inside(file).ok()?;
        let about = fs::symlink_metadata(&path).ok()?;
        if !about.is_file() || about.len() > TEXT_MAX {
            return None;
        }
        fs::read_to_string(path).ok()
    }

    /// The path from the top that a tool means by `file`, if it is a file of the copy: seen from the
    /// directory `cwd`, or absolute, or by an end that only one file has.
    pub fn resolve(&self, cwd: &Path, file: &str) -> Option<PathBuf> {
        let file = Path::new(file);
        let relative = if file.is_absolute() {
            let inside = file.strip_prefix(&self.root);
            inside.or_else(|_| file.strip_prefix(&self.original)).ok()?
        } else {
            &cwd.join(file)
        };
        let relative = normal(relative)?;
        if self.root.join(&relative).is_file() {
            return Some(relative);
        }
        let mut same = self.sources().filter(|source| source.ends_with(&relative));
        let found = same.next()?;
        same.next().is_none().then_some(found)
    }

    /// Makes a change, and returns what undoes it.
    ///
    /// # Errors
    ///
    /// When a file is outside or cannot be written. Files before it are changed then.
    pub fn apply(&mut self, change: &Change) -> Result<Change, TreeError> {
        let mut undo = Change::default();
        for file in change.files.keys() {
            self.inside(file)?;
        }
        for (file, content) in &change.files {
            let before = self.read(file);
            self.base
                .entry(file.clone())
                .or_insert_with(|| before.clone());
            undo.files.insert(file.clone(), before);
            self.put(file, content.as_deref())?;
        }
        Ok(undo)
    }

    /// What fixers have made of the files they touched.
    pub fn touched(&self) -> Change {
        let files = self.base.keys();
        Change {
            files: files.map(|file| (file.clone(), self.read(file))).collect(),
        }
    }

    /// Brings touched files back to what [`Tree::touched`] said.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn restore(&mut self, touched: &Change) -> Result<(), TreeError> {
        for (file, base) in &self.base {
            let wanted = touched.files.get(file).unwrap_or(base);
            if self.read(file) != *wanted {
                self.put(file, wanted.as_deref())?;
            }
        }
        Ok(())
    }

    /// Takes note of what a program has done to files that were there.
    pub(super) fn adopt(&mut self, before: &BTreeMap<PathBuf, String>) -> Change {
        let mut change = Change::default();
        for (file, text) in before {
            let now = self.read(file);
            if now.as_ref() != Some(text) {
                let base = self.base.entry(file.clone());
                base.or_insert_with(|| Some(text.clone()));
                change.files.insert(file.clone(), now);
            }
        }
        change
    }

    /// All texts in the copy that somebody may have written.
    pub(super) fn texts(&self) -> BTreeMap<PathBuf, String> {
        let sources = self.sources();
        sources
            .filter_map(|file| self.read(&file).map(|text| (file, text)))
            .collect()
    }

    /// Files in the copy that somebody may have written.
    pub(super) fn sources(&self) -> impl Iterator<Item = PathBuf> {
        let walk = WalkDir::new(&self.root).sort_by_file_name().into_iter();
        let walk = walk.filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0
                || !entry.file_type().is_dir()
                || !NOT_SOURCES.contains(&name.as_ref())
        });
        walk.filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .filter_map(|entry| Some(entry.path().strip_prefix(&self.root).ok()?.to_owned()))
    }

    /// The file that somebody names from the top of the workspace. It may not be there yet.
    pub(super) fn named(&self, name: &str) -> Option<PathBuf> {
        self.inside(Path::new(name)).ok()?;
        normal(Path::new(name))
    }

    /// What fixers have changed, as a unified diff.
    pub fn diff(&self) -> String {
        let empty = String::new();
        let mut text = String::new();
        for (file, before) in &self.base {
            let after = self.read(file);
            text.push_str(&super::patch::diff(
                file,
                before.as_ref().unwrap_or(&empty),
                after.as_ref().unwrap_or(&empty),
                before.is_some(),
                after.is_some(),
            ));
        }
        text
    }

    /// The files that differ from the workspace.
    pub fn changed(&self) -> BTreeSet<PathBuf> {
        let differs = |(file, before): &(&PathBuf, &Option<String>)| self.read(file) != **before;
        let changed = self.base.iter().filter(differs);
        changed.map(|(file, _)| file.clone()).collect()
    }

    /// Brings the changes into the workspace, all or none of them.
    ///
    /// # Errors
    ///
    /// When a file is no longer what it was when the copy was made, or cannot be written.
    pub fn write_back(&self) -> Result<Vec<PathBuf>, TreeError> {
        let changed = self.changed();
        let workspace = Self {
            original: self.original.clone(),
            root: self.original.clone(),
            base: BTreeMap::new(),
        };
        for file in &changed {
            workspace.inside(file)?;
            if workspace.read(file) != self.base[file] {
                return Err(TreeError::ChangedMeanwhile(file.clone()));
            }
        }
        for file in &changed {
            if let Err(error) = workspace.put(file, self.read(file).as_deref()) {
                for file in &changed {
                    // The first failure is told; this is all that can be done about it.
                    let _ = workspace.put(file, self.base[file].as_deref());
                }
                return Err(error);
            }
        }
        Ok(changed.into_iter().collect())
    }

    /// The path of a file of the copy, which may not be there yet.
    fn inside(&self, file: &Path) -> Result<PathBuf, TreeError> {
        let outside = || TreeError::Outside(file.to_owned());
        let relative = normal(file).ok_or_else(outside)?;
        if relative.as_os_str().is_empty() || relative.starts_with(".git") {
            return Err(outside());
        }
        let mut path = self.root.clone();
        for part in relative.components() {
            path.push(part);
            if path.is_symlink() {
                return Err(outside());
            }
        }
        Ok(path)
    }

    /// Writes or removes a file. It is replaced as a whole, so that nobody reads half of it.
    fn put(&self, file: &Path, content: Option<&str>) -> Result<(), TreeError> {
        let path = self.inside(file)?;
        let failed = |action| {
            let path = path.clone();
            move |source| TreeError::Io {
                action,
                path,
                source,
            }
        };
        let Some(content) = content else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(failed("remove")(error))
                }
                Ok(()) | Err(_) => Ok(()),
            };
        };
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(failed("create the directory of"))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = parent.join(format!(".{name}.cogo-fix"));
        fs::write(&fresh, content).map_err(failed("write"))?;
        if let Ok(about) = fs::metadata(&path) {
            fs::set_permissions(&fresh, about.permissions()).map_err(failed("set the mode of"))?;
        }
        fs::rename(&fresh, &path).map_err(failed("replace"))
    }
}

/// A path without `.` and `..`. None if it leads above its beginning.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

fn copy_directory(from: &Path, to: &Path) -> Result<(), TreeError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| TreeError::Io {
            action,
            path,
            source,
        }
    };
    let mut walk = WalkDir::new(from).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| failed("read", from)(error.into()))?;
        let path = entry.path();
        let target = to.join(path.strip_prefix(from).unwrap_or(path));
        let kind = entry.file_type();
        if kind.is_dir() {
            if entry.depth() > 0 && is_left_out(path) {
                walk.skip_current_dir();
                continue;
            }
            fs::create_dir_all(&target).map_err(failed("create", &target))?;
        } else if kind.is_symlink() {
            let link = fs::read_link(path).map_err(failed("read", path))?;
            std::os::unix::fs::symlink(link, &target).map_err(failed("create", &target))?;
        } else if kind.is_file() {
            fs::copy(path, &target).map_err(failed("copy", path))?;
            keep_time(path, &target).map_err(failed("set the time of", &target))?;
        }
        // Sockets and devices are nothing that a build reads.
    }
    Ok(())
}

/// Build tools tell by it what is up to date.
fn keep_time(from: &Path, to: &Path) -> io::Result<()> {
    let modified = fs::metadata(from)?.modified()?;
    // A file that may not be written may still be given its time by its owner.
    let file = fs::File::open(to)?;
    file.set_modified(modified)
}

/// Whether a directory is only a cache, and a big one.
fn is_left_out(directory: &Path) -> bool {
    if !directory.join("CACHEDIR.TAG").is_file() {
        return false;
    }
    let mut size = 0;
    for entry in WalkDir::new(directory).into_iter().filter_map(Result::ok) {
        size += entry.metadata().map_or(0, |about| about.len());
        if size > CACHE_MAX {
            return true;
        }
    }
    false
}
