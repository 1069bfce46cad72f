//! Shows trees in a root that stands already: the workspace, toolchains.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::mount::{
    FsOpenFlags, UnmountFlags, fsconfig_set_flag, fsconfig_set_string, fsopen, unmount,
};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;

use super::root::{attach, detached, make_place, protect};
use super::{AtStep, Step};

/// One tree to show; its detached mount rides beside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attachment {
    /// Where, as an absolute path inside.
    pub(crate) target: PathBuf,
    pub(crate) kind: AttachmentKind,
}

/// How a tree is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AttachmentKind {
    Directory,
    File,
    /// A directory under an overlay whose upper side is on the scratch space.
    OverlayOnScratch,
    /// A directory under an overlay whose upper side is the directory that rides next.
    OverlayOnDisk,
    /// Nothing: an empty directory covers what an earlier attachment shows there. No tree rides
    /// beside.
    Cover,
}

/// Where the writable side of an overlay stands while the overlay is made.
const UPPER_STAND: &str = "/.overlay";

pub(super) fn attach_all(attachments: &[Attachment], trees: Vec<OwnedFd>) -> Step<()> {
    let mut trees = trees.into_iter();
    let mut next = || {
        trees
            .next()
            .ok_or(io::Error::from_raw_os_error(libc::EBADF))
            .at("receive a tree")
    };
    for Attachment { target, kind } in attachments {
        let place = format!("show `{}`", target.display());
        if *kind == AttachmentKind::Cover {
            cover(target).at(format!("hide `{}`", target.display()))?;
            continue;
        }
        make_place(target, *kind != AttachmentKind::File).at(&*place)?;
        attach(&next()?, target).at(&*place)?;
        match kind {
            AttachmentKind::Directory | AttachmentKind::File | AttachmentKind::Cover => {}
            AttachmentKind::OverlayOnScratch => cover_by_overlay(target).at(place)?,
            AttachmentKind::OverlayOnDisk => {
                attach(&next()?, Path::new(UPPER_STAND)).at(&*place)?;
                cover_by_overlay(target).at(place)?;
            }
        }
    }
    Ok(())
}

/// Hides a directory behind an empty one. `/sys` is always empty in here.
fn cover(target: &Path) -> io::Result<()> {
    let Some(text) = target.to_str() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match protect("/sys", text, super::seal::READ_ONLY) {
        // What process 1 cannot reach, the commands cannot either: they have the same ids.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Mounts an overlay over a directory of which it shows the content. The program's changes go
/// to the upper side and are gone with it.
fn cover_by_overlay(target: &Path) -> io::Result<()> {
    let upper = format!("{UPPER_STAND}/upper");
    let work = format!("{UPPER_STAND}/work");
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    // The root of the overlay has the mode of its upper directory.
    fs::set_permissions(&upper, fs::metadata(target)?.permissions())?;
    // Relative, because the option's text treats colons and commas in paths as separators.
    rustix::process::chdir(target)?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "lowerdir", ".")?;
    fsconfig_set_string(context.as_fd(), "upperdir", &*upper)?;
    fsconfig_set_string(context.as_fd(), "workdir", &*work)?;
    // The only kind of extended attributes a user namespace may write.
    fsconfig_set_flag(context.as_fd(), "userxattr")?;
    let tree = detached(&context)?;
    rustix::process::chdir("/")?;
    attach(&tree, target)?;
    unmount(UPPER_STAND, UnmountFlags::DETACH)?;
    Ok(())
}
