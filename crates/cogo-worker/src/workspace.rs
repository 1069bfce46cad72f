//! Which directories may be a workspace.
//!
//! A command may do as it likes with its workspace, so one slip (`cogo run` typed in the home
//! directory) must not hand over everything a person has.

use std::io;
use std::path::{Path, PathBuf};

/// Directories that belong to the system or that the sandbox gives its own version of. Places
/// below the first group are refused too.
const KERNEL_TREES: [&str; 3] = ["/dev", "/proc", "/sys"];
const SYSTEM_DIRECTORIES: [&str; 18] = [
    "/bin", "/boot", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/run",
    "/sbin", "/srv", "/tmp", "/usr", "/var", "/var/lib", "/var/tmp",
];

/// Why a directory cannot be a workspace.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// It is missing, or cannot be looked at.
    #[error("failed to open workspace `{path}`")]
    Open {
        /// As it was named.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is something else.
    #[error("workspace `{0}` is not a directory")]
    NotADirectory(PathBuf),
    /// It holds more than a project.
    #[error("workspace `{path}` {problem}")]
    NotAProject {
        /// Where it really is.
        path: PathBuf,
        /// What it is.
        problem: &'static str,
    },
}

/// The directory to hand over, with symbolic links resolved.
///
/// # Errors
///
/// Says why it is not to be handed over.
pub fn resolve(path: &Path, home: &Path, state: &Path) -> Result<PathBuf, WorkspaceError> {
    resolve_beside(path, &canonical(home), &canonical(state))
}

/// As [`resolve`], where links in the other two paths are resolved already.
pub(crate) fn resolve_beside(
    path: &Path,
    home: &Path,
    state: &Path,
) -> Result<PathBuf, WorkspaceError> {
    let resolved = path.canonicalize().map_err(|source| WorkspaceError::Open {
        path: path.to_owned(),
        source,
    })?;
    if !resolved.is_dir() {
        return Err(WorkspaceError::NotADirectory(path.to_owned()));
    }
    match problem(&resolved, home, state) {
        None => Ok(resolved),
        Some(problem) => Err(WorkspaceError::NotAProject {
            path: resolved,
            problem,
        }),
    }
}

/// Why a directory is not to be handed over.
fn problem(path: &Path, home: &Path, state: &Path) -> Option<&'static str> {
    if path == Path::new("/") {
        return Some("is the root of the file system");
    }
    if path == home {
        return Some("is the home directory");
    }
    if home.starts_with(path) {
        return Some("holds the home directory");
    }
    if state.starts_with(path) {
        return Some("holds cogo's state directory");
    }
    if path.starts_with(state) {
        return Some("is inside cogo's state directory");
    }
    let in_kernel_tree = KERNEL_TREES.iter().any(|tree| path.starts_with(tree));
    if in_kernel_tree
        || SYSTEM_DIRECTORIES
            .iter()
            .any(|directory| path == Path::new(directory))
    {
        return Some("is a directory of the system");
    }
    None
}

/// A path with its links resolved, as far as that can be done.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_project_may_be_handed_over() {
        let cases = [
            ("/", Some("is the root of the file system")),
            ("/home/ann", Some("is the home directory")),
            ("/home", Some("holds the home directory")),
            ("/home/ann/.local", Some("holds cogo's state directory")),
            (
                "/home/ann/.local/state/cogo",
                Some("holds cogo's state directory"),
            ),
            (
                "/home/ann/.local/state/cogo/execs/x",
                Some("is inside cogo's state directory"),
            ),
            ("/usr", Some("is a directory of the system")),
            ("/dev/shm/x", Some("is a directory of the system")),
            ("/tmp", Some("is a directory of the system")),
            ("/tmp/x", None),
            ("/home/ann/project", None),
            ("/home/annabel", None),
            ("/srv/project", None),
        ];
        let state = Path::new("/home/ann/.local/state/cogo");
        for (path, expected) in cases {
            assert_eq!(
                problem(Path::new(path), Path::new("/home/ann"), state),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn links_are_seen_through() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("home");
        let link = place.path().join("project");
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::symlink(&home, &link).unwrap();
        assert!(resolve(&link, &home, Path::new("/nowhere")).is_err());
        assert!(resolve(&home.join("missing"), &home, Path::new("/nowhere")).is_err());
    }
}
