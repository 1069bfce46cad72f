//! Detached mounts of host paths, ready to be shown inside.
//!
//! They are made on the supervisor's side, where paths can still be looked up with the caller's
//! rights, and travel as descriptors. The kernel locks their attributes when they are attached
//! in the sandbox's mount namespace, so nothing inside can make them writable.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::start::{Refusal, RefusalKind};
use crate::sys;

const QUIET: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const READ_ONLY: u64 = QUIET | libc::MOUNT_ATTR_RDONLY;
/// Device nodes work on a read-only mount, but not on one without devices.
const DEVICE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC;

/// A read-only tree and whether it is a directory. `None` if the path is missing.
pub(super) fn read_only(path: &Path) -> Result<Option<(OwnedFd, bool)>, Refusal> {
    optional(path, READ_ONLY)
}

/// A device node.
pub(super) fn device(path: &Path) -> Result<Option<OwnedFd>, Refusal> {
    Ok(optional(path, DEVICE)?.map(|(tree, _)| tree))
}

/// The workspace, shown through the ids of a user namespace if one is given.
pub(super) fn workspace(
    path: &Path,
    writable: bool,
    ids: Option<&OwnedFd>,
) -> Result<OwnedFd, Refusal> {
    let attributes = if writable { QUIET } else { READ_ONLY };
    let tree = clone_tree(path).map_err(|e| unusable(path, &e))?;
    let attributes = attributes
        | if ids.is_some() {
            libc::MOUNT_ATTR_IDMAP
        } else {
            0
        };
    sys::mount_setattr(
        tree.as_fd(),
        c"",
        true,
        attributes,
        libc::MS_PRIVATE,
        ids.map(AsFd::as_fd),
    )
    .map_err(|e| unusable(path, &e))?;
    Ok(tree)
}

/// The directory that holds an overlay's changes.
pub(super) fn upper(path: &Path) -> Result<OwnedFd, Refusal> {
    let tree = clone_tree(path).map_err(|e| unusable(path, &e))?;
    sys::mount_setattr(tree.as_fd(), c"", true, QUIET, libc::MS_PRIVATE, None)
        .map_err(|e| unusable(path, &e))?;
    Ok(tree)
}

fn optional(path: &Path, attributes: u64) -> Result<Option<(OwnedFd, bool)>, Refusal> {
    let directory = match std::fs::metadata(path) {
        Ok(found) => found.is_dir(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unusable(path, &e)),
    };
    let tree = clone_tree(path).map_err(|e| unusable(path, &e))?;
    sys::mount_setattr(tree.as_fd(), c"", true, attributes, libc::MS_PRIVATE, None)
        .map_err(|e| unusable(path, &e))?;
    Ok(Some((tree, directory)))
}

fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

fn unusable(path: &Path, error: &io::Error) -> Refusal {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => RefusalKind::NotFound,
        _ => RefusalKind::Failed,
    };
    Refusal {
        kind,
        message: format!(
            "failed to show `{}` in the sandbox: {error}",
            path.display()
        ),
        hint: None,
    }
}
