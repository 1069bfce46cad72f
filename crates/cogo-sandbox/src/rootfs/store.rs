//! The directory of root file systems: names, imports under way, and the one step by which a name
//! appears, changes or goes.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, fsync, open, openat, renameat,
    renameat_with, syncfs,
};
use rustix::io::Errno;

use super::error::RootfsError;
use super::{Existing, Rootfs, RootfsInfo, removal};

const INFO: &str = "rootfs.json";
const ROOT: &str = "root";

/// In a staging directory: what becomes the named directory.
const NEW: &str = "new";

/// Starts the names of staging directories. A root file system's name never starts with a dot.
const STAGING_PREFIX: &str = ".import-";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// The directory of root file systems.
pub(super) struct Store {
    path: PathBuf,
    /// Locked for the short steps that look at names and then change them.
    directory: OwnedFd,
}

/// The work place of one import. Locked while its importer lives, and removed with it.
pub(super) struct Staging {
    path: PathBuf,
    directory: OwnedFd,
}

/// Holds the store's lock.
struct Locked<'a>(&'a OwnedFd);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing the descriptor would unlock as well; nothing can be done about a failure.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

impl Store {
    /// Opens the directory, and creates it for the first import.
    pub(super) fn open(path: &Path) -> Result<Self, RootfsError> {
        let failed = |error| RootfsError::io(format!("open `{}`", path.display()), error);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(failed)?;
        let directory =
            open(path, DIRECTORY, Mode::empty()).map_err(|error| failed(error.into()))?;
        Ok(Self {
            path: path.to_owned(),
            directory,
        })
    }

    /// Fails early if an import to this name would fail at its end.
    pub(super) fn check_free(&self, name: &str, existing: Existing) -> Result<(), RootfsError> {
        check_name(name)?;
        if existing == Existing::Keep && self.path.join(name).symlink_metadata().is_ok() {
            return Err(RootfsError::Exists {
                name: name.to_owned(),
            });
        }
        Ok(())
    }

    /// Makes a work place, and removes those whose importer was killed.
    pub(super) fn stage(&self) -> Result<Staging, RootfsError> {
        let failed = |error: io::Error| {
            RootfsError::io(
                format!("make a work directory in `{}`", self.path.display()),
                error,
            )
        };
        let _locked = self.lock()?;
        self.sweep()?;
        let mut number = 0_u32;
        let path = loop {
            let path = self.path.join(format!("{STAGING_PREFIX}{number}"));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(error)),
            }
        };
        let directory =
            open(&path, DIRECTORY, Mode::empty()).map_err(|error| failed(error.into()))?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed(error.into()))?;
        Ok(Staging { path, directory })
    }

    /// Makes what was staged appear under its name, once it is all on disk.
    pub(super) fn commit(
        &self,
        staging: &Staging,
        name: &str,
        info: &RootfsInfo,
        existing: Existing,
    ) -> Result<PathBuf, RootfsError> {
        staging.finish(info)?;
        let failed =
            |error: Errno| RootfsError::io(format!("give the import its name `{name}`"), error);
        let _locked = self.lock()?;
        self.check_free(name, existing)?;
        let rename = |flags| renameat_with(&staging.directory, NEW, &self.directory, name, flags);
        match renameat_with(
            &staging.directory,
            NEW,
            &self.directory,
            name,
            RenameFlags::EXCHANGE,
        ) {
            // The old one is now in the staging directory and goes with it.
            Ok(()) => {}
            // Without an old one; under the lock none can come.
            Err(Errno::NOENT) => rename(RenameFlags::empty()).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
        fsync(&self.directory).map_err(failed)?;
        Ok(self.path.join(name).join(ROOT))
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), RootfsError> {
        let failed = |error: io::Error| RootfsError::io(format!("remove `{name}`"), error);
        let staging = self.stage()?;
        {
            let _locked = self.lock()?;
            match renameat(&self.directory, name, &staging.directory, NEW) {
                Ok(()) => {}
                Err(Errno::NOENT) => {
                    return Err(RootfsError::NotFound {
                        name: name.to_owned(),
                    });
                }
                Err(error) => return Err(failed(error.into())),
            }
            fsync(&self.directory).map_err(|error| failed(error.into()))?;
        }
        removal::remove(&staging.directory, NEW).map_err(failed)
    }

    fn lock(&self) -> Result<Locked<'_>, RootfsError> {
        flock(&self.directory, FlockOperation::LockExclusive)
            .map_err(|error| RootfsError::io(format!("lock `{}`", self.path.display()), error))?;
        Ok(Locked(&self.directory))
    }

    /// Removes what killed imports left. One that lives holds its lock.
    fn sweep(&self) -> Result<(), RootfsError> {
        let failed = |error: io::Error| {
            RootfsError::io(
                format!("remove old imports in `{}`", self.path.display()),
                error,
            )
        };
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !name
                .as_encoded_bytes()
                .starts_with(STAGING_PREFIX.as_bytes())
            {
                continue;
            }
            let directory = openat(
                &self.directory,
                &name,
                DIRECTORY | OFlags::NOFOLLOW,
                Mode::empty(),
            )
            .map_err(|error| failed(error.into()))?;
            if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
                removal::remove(&self.directory, name.as_os_str()).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Staging {
    /// A place in the work directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes and opens an empty directory, in which a tree is to be written.
    pub(super) fn create(&self, name: &str) -> Result<OwnedFd, RootfsError> {
        let path = self.path.join(name);
        let failed =
            |error: io::Error| RootfsError::io(format!("make `{}`", path.display()), error);
        fs::create_dir_all(&path).map_err(failed)?;
        let directory = openat(&self.directory, name, DIRECTORY, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        for directory in [&path, path.parent().expect("it was joined")] {
            if directory != self.path {
                set_mode(directory, 0o755).map_err(failed)?;
            }
        }
        Ok(directory)
    }

    /// Makes and opens the new, empty root.
    pub(super) fn create_root(&self) -> Result<OwnedFd, RootfsError> {
        self.create(&format!("{NEW}/{ROOT}"))
    }

    /// Takes a tree in the work directory as the new root.
    pub(super) fn take_as_root(&self, name: &str) -> Result<(), RootfsError> {
        self.create(NEW)?;
        renameat(
            CWD,
            self.path.join(name),
            CWD,
            self.path.join(NEW).join(ROOT),
        )
        .map_err(|error| RootfsError::io("move the tree into place", error))
    }

    /// Writes where the tree came from, and all to disk.
    fn finish(&self, info: &RootfsInfo) -> Result<(), RootfsError> {
        let path = self.path.join(NEW).join(INFO);
        let failed =
            |error: io::Error| RootfsError::io(format!("write `{}`", path.display()), error);
        let mut text = serde_json::to_vec_pretty(info).expect("strings and numbers are JSON");
        text.push(b'\n');
        fs::write(&path, text).map_err(failed)?;
        // Without this a power loss after the rename could leave empty files under the name.
        syncfs(&self.directory).map_err(|error| failed(error.into()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next import.
        let _ = removal::remove(CWD, self.path.as_path());
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(super) fn check_name(name: &str) -> Result<(), RootfsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 64 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(RootfsError::InvalidName {
        name: name.to_owned(),
    })
}

pub(super) fn list(path: &Path) -> Result<Vec<Rootfs>, RootfsError> {
    let failed = |error: io::Error| RootfsError::io(format!("list `{}`", path.display()), error);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| check_name(name).is_ok()),
        );
    }
    names.sort();
    names.iter().map(|name| find(path, name)).collect()
}

pub(super) fn find(path: &Path, name: &str) -> Result<Rootfs, RootfsError> {
    check_name(name)?;
    let directory = path.join(name);
    let info_path = directory.join(INFO);
    let file = match File::open(&info_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RootfsError::NotFound {
                name: name.to_owned(),
            });
        }
        result => result
            .map_err(|error| RootfsError::io(format!("open `{}`", info_path.display()), error))?,
    };
    let info = serde_json::from_reader(io::BufReader::new(file))
        .map_err(|error| RootfsError::malformed(info_path.display().to_string(), error))?;
    Ok(Rootfs {
        name: name.to_owned(),
        root: directory.join(ROOT),
        info,
    })
}
