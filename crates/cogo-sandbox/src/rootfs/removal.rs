//! Removes trees of any depth, without following links and in constant descriptors.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, chmodat, fchmod, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What a layer has put into a tree, which it does not take away again.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Inodes it has created.
    pub created: HashSet<u64>,
    /// Directories it has cleared. What is in them is its own, so that looking again is needless,
    /// and a layer that asks a million times costs no more.
    cleared: HashSet<u64>,
}

/// A directory that is being emptied.
struct Level {
    name: CString,
    /// Directories in it that are still there.
    directories: Vec<CString>,
    /// The directory that holds it, to notice if it is moved meanwhile.
    parent: (u64, u64),
}

/// Removes whatever has this name, with all that is in it. Nothing there is fine.
pub(crate) fn remove(parent: impl AsFd, name: impl Arg + Copy) -> io::Result<()> {
    let parent = parent.as_fd();
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    clear(parent, name, &mut Kept::default())?;
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Empties a directory, apart from the inodes to keep and the directories that hold them.
pub(super) fn clear(parent: impl AsFd, name: impl Arg, kept: &mut Kept) -> io::Result<()> {
    let mut current = openat(parent, name, DIRECTORY, Mode::empty())?;
    let mut top = unlink_files(&current, kept)?;
    let mut levels: Vec<Level> = Vec::new();
    loop {
        let directories = levels
            .last_mut()
            .map_or(&mut top, |level| &mut level.directories);
        if let Some(name) = directories.pop() {
            let next = open_owned(&current, &name)?;
            let directories = unlink_files(&next, kept)?;
            levels.push(Level {
                name,
                directories,
                parent: identity(&current)?,
            });
            current = next;
        } else if let Some(done) = levels.pop() {
            // Going up by name instead of keeping descriptors open: a hostile tree may be deeper
            // than the limit on them.
            let up = openat(&current, c"..", DIRECTORY, Mode::empty())?;
            if identity(&up)? != done.parent {
                return Err(io::Error::other(
                    "a directory was moved while it was removed",
                ));
            }
            remove_empty(&up, &done.name, identity(&current)?.1, kept)?;
            current = up;
        } else {
            return Ok(());
        }
    }
}

/// Opens a directory to empty it. Whoever filled it may have closed it to its owner.
fn open_owned(parent: &OwnedFd, name: &CString) -> io::Result<OwnedFd> {
    let usable = Mode::RWXU;
    let opened = match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(parent, name, usable, AtFlags::empty())?;
            openat(parent, name, DIRECTORY, Mode::empty())?
        }
        other => other?,
    };
    if !Mode::from_raw_mode(fstat(&opened)?.st_mode).contains(usable) {
        // Not ours to change means that somebody else's rights decide, as root's do.
        let _ = fchmod(&opened, usable);
    }
    Ok(opened)
}

fn remove_empty(parent: &OwnedFd, name: &CString, inode: u64, kept: &Kept) -> io::Result<()> {
    if kept.created.contains(&inode) {
        return Ok(());
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // It holds something to keep.
        Err(Errno::NOTEMPTY) if !kept.created.is_empty() => Ok(()),
        result => Ok(result?),
    }
}

/// Unlinks what is not a directory and gives the names of those that are.
fn unlink_files(directory: &OwnedFd, kept: &mut Kept) -> io::Result<Vec<CString>> {
    if !kept.cleared.insert(identity(directory)?.1) {
        return Ok(Vec::new());
    }
    let mut directories = Vec::new();
    let mut files = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if is_directory(directory, &entry)? {
            directories.push(name.to_owned());
        } else if !kept.created.contains(&entry.ino()) {
            files.push(name.to_owned());
        }
    }
    for name in files {
        unlinkat(directory, &name, AtFlags::empty())?;
    }
    Ok(directories)
}

fn is_directory(directory: &OwnedFd, entry: &rustix::fs::DirEntry) -> io::Result<bool> {
    Ok(match entry.file_type() {
        FileType::Directory => true,
        FileType::Unknown => {
            let stat = statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        }
        _ => false,
    })
}

fn identity(directory: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn what_is_kept_stays_with_its_directories() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        for name in ["a/b/keep", "a/b/go", "a/c/go", "d/go"] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), "").unwrap();
        }
        let mut kept = Kept::default();
        kept.created
            .insert(fs::metadata(path("a/b/keep")).unwrap().ino());
        clear(CWD, temp.path(), &mut kept).unwrap();
        let here: Vec<bool> = ["a/b/keep", "a/b/go", "a/c", "d"]
            .map(|name| path(name).exists())
            .into();
        assert_eq!(here, [true, false, false, false]);
    }

    #[test]
    fn a_directory_is_cleared_once() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("lower"), "").unwrap();
        let mut kept = Kept::default();
        clear(CWD, temp.path(), &mut kept).unwrap();
        assert!(!temp.path().join("lower").exists());
        // Stands for what the layer creates: a second look would take it away.
        fs::write(temp.path().join("new"), "").unwrap();
        clear(CWD, temp.path(), &mut kept).unwrap();
        assert!(temp.path().join("new").exists());
    }

    #[test]
    fn closed_directories_are_removed_by_their_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/file"), "").unwrap();
        for (name, mode) in [("a/b/c", 0), ("a/b", 0o500), ("a", 0)] {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove(CWD, tree.as_path()).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "").unwrap();
        let tree = temp.path().join("tree");
        fs::create_dir(&tree).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        remove(CWD, tree.as_path()).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("file").exists());
        remove(CWD, tree.as_path()).unwrap();
    }
}
