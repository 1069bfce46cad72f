//! Files beneath a workspace. Every path is resolved by the kernel (`openat2` with
//! `RESOLVE_BENEATH`).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Serialize;

/// Entries of a directory that are listed at most.
pub(super) const LISTED_MAX: usize = 10_000;
/// Bytes of a file that is shown at most.
pub(super) const SHOWN_MAX: u64 = 64 << 20;

/// A directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listing {
    /// What is in it, by name.
    entries: Vec<Entry>,
    /// Whether there is more than is listed.
    truncated: bool,
}

/// Something in a directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Entry {
    /// Its name.
    name: String,
    /// `file`, `directory`, `link` or `other`.
    kind: &'static str,
    /// Bytes in a file.
    size: u64,
}

/// What is there.
pub(super) enum Found {
    File(Vec<u8>),
    Directory(Listing),
}

pub(super) fn open(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // `openat2` refuses flags that mean nothing for a mere path.
    let careful = if flags.contains(OFlags::PATH) {
        OFlags::CLOEXEC
    } else {
        OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
    };
    let flags = flags | careful;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(root, path, flags, mode, resolve))
}

pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

pub(super) fn write_file(
    root: &OwnedFd,
    path: &Path,
    content: &mut impl Read,
) -> Result<(), Errno> {
    if let Some(parent) = path.parent() {
        make_directories(root, parent)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let file = open(root, path, flags, Mode::from_raw_mode(0o644))?;
    // A pipe or a device would not be one of the workspace's own files.
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    io::copy(content, &mut File::from(file))
        .map(drop)
        .map_err(|error| errno(&error))
}

pub(super) fn make_directories(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut made = PathBuf::from(".");
    for component in path.components().filter(|part| *part != Component::CurDir) {
        let parent = open(root, &made, flags, Mode::empty())?;
        match rustix::fs::mkdirat(&parent, component.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        made.push(component);
    }
    Ok(())
}

pub(super) fn look(root: &OwnedFd, path: &Path) -> Result<Found, Errno> {
    let file = open(root, path, OFlags::RDONLY, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => list(&file).map(Found::Directory),
        FileType::RegularFile => {
            let mut bytes = Vec::new();
            let mut file = File::from(file).take(SHOWN_MAX + 1);
            file.read_to_end(&mut bytes)
                .map_err(|error| errno(&error))?;
            if bytes.len() as u64 > SHOWN_MAX {
                return Err(Errno::FBIG);
            }
            Ok(Found::File(bytes))
        }
        _ => Err(Errno::ACCESS),
    }
}

pub(super) fn list(directory: &OwnedFd) -> Result<Listing, Errno> {
    let mut listing = Listing {
        entries: Vec::new(),
        truncated: false,
    };
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if listing.entries.len() == LISTED_MAX {
            listing.truncated = true;
            break;
        }
        // One that is gone meanwhile was not there.
        let Ok(stat) = rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
        else {
            continue;
        };
        listing.entries.push(Entry {
            name: name.to_string_lossy().into_owned(),
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => "file",
                FileType::Directory => "directory",
                FileType::Symlink => "link",
                _ => "other",
            },
            size: u64::try_from(stat.st_size).unwrap_or(0),
        });
    }
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

pub(super) fn remove(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let name = path.file_name().ok_or(Errno::ACCESS)?;
    let (parent, _) = parent_of(root, path)?;
    // A link itself goes, never what it points to.
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
        other => other,
    }
}

/// The directory that something is in, and its name there.
pub(super) fn parent_of<'a>(root: &OwnedFd, path: &'a Path) -> Result<(OwnedFd, &'a Path), Errno> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let name = path.file_name().map_or(Path::new("."), Path::new);
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    Ok((open(root, parent, flags, Mode::empty())?, name))
}

/// The names in a directory, in order.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::super::workspace::relative;
    use super::*;

    fn root(place: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        rustix::fs::openat(CWD, place, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn files_come_and_go() {
        let place = tempfile::tempdir().unwrap();
        let root = root(place.path());
        write_file(&root, Path::new("a/b/c"), &mut &b"text"[..]).unwrap();
        match look(&root, Path::new("a/b/c")).unwrap() {
            Found::File(bytes) => assert_eq!(bytes, b"text"),
            Found::Directory(_) => panic!("it is a file"),
        }
        match look(&root, Path::new("a")).unwrap() {
            Found::Directory(listing) => assert_eq!(listing.entries[0].name, "b"),
            Found::File(_) => panic!("it is a directory"),
        }
        remove(&root, Path::new("a/b/c")).unwrap();
        remove(&root, Path::new("a/b")).unwrap();
        assert!(!place.path().join("a/b").exists());
    }

    #[test]
    fn nothing_leads_out() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink(outside.path(), place.path().join("link")).unwrap();
        symlink("../../../../etc/passwd", place.path().join("up")).unwrap();
        symlink("/proc/self/root/etc/passwd", place.path().join("magic")).unwrap();
        let root = root(place.path());
        for path in ["link/secret", "link", "up", "magic"] {
            assert!(look(&root, Path::new(path)).is_err(), "{path}");
            assert!(
                write_file(&root, Path::new(path), &mut &b"x"[..]).is_err(),
                "{path}"
            );
        }
        assert!(write_file(&root, Path::new("link/new"), &mut &b"x"[..]).is_err());
        assert!(remove(&root, Path::new("link/secret")).is_err());
        assert!(outside.path().join("secret").exists());
        for path in ["../x", "/etc/passwd", "a/../../x"] {
            assert!(relative(path).is_err(), "{path}");
        }
        remove(&root, Path::new("link")).unwrap();
        assert!(outside.path().join("secret").exists());
    }
}
