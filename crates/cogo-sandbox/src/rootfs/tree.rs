//! Writes a tree that an archive describes, and nothing outside of it.
//!
//! A name is split here and its directory opened by the kernel with the tree as root, so links
//! on the way, absolute ones too, lead to places inside. The last component is only ever created
//! anew: what is in its place is unlinked first, and so never written through.

use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT, chmodat,
    fchmod, fstat, futimens, linkat, mkdirat, openat, openat2, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::bound::Bounds;
use super::error::RootfsError;
use super::removal::{self, Kept};

const PATH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Longest path of an entry, as for a system call.
const PATH_MAX: usize = 4095;

/// How much of a file is copied at once.
const BUFFER: usize = 128 * 1024;

/// A directory that is filled from an archive.
pub(super) struct Tree<'a> {
    root: OwnedFd,
    bounds: &'a Bounds,
    /// The directory of the last entry, as the next one is usually in it too. Forgotten when
    /// anything is removed, since its path may then lead elsewhere.
    last_parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// What the current layer has created, where its whiteouts may have to spare it.
    kept: Option<Kept>,
    buffer: Vec<u8>,
}

/// Why an entry was not put in place.
#[derive(Debug)]
pub(super) enum TreeError {
    Unsafe(&'static str),
    Io(io::Error),
    Rootfs(RootfsError),
}

impl From<Errno> for TreeError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<io::Error> for TreeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RootfsError> for TreeError {
    fn from(error: RootfsError) -> Self {
        Self::Rootfs(error)
    }
}

type Result<T> = std::result::Result<T, TreeError>;

/// The name of an entry below the root: its components, none of them special.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath<'a>(Vec<&'a [u8]>);

impl<'a> EntryPath<'a> {
    /// Reads a name from an archive. A leading `/` means the tree's root. `..` is refused: no
    /// honest tool writes it.
    pub(super) fn new(path: &'a [u8]) -> Result<Self> {
        if path.len() > PATH_MAX {
            return Err(TreeError::Unsafe("its path is longer than 4095 bytes"));
        }
        let components = path.split(|byte| *byte == b'/');
        let components = components.filter(|part| !part.is_empty() && *part != b".");
        let components: Vec<&[u8]> = components.collect();
        for part in &components {
            if *part == b".." {
                return Err(TreeError::Unsafe("its path has a `..`"));
            }
            if part.contains(&0) {
                return Err(TreeError::Unsafe("its path has a null byte"));
            }
        }
        Ok(Self(components))
    }

    /// The directory's components and the last one. `None` for the root itself.
    pub(super) fn split(&self) -> Option<(&[&'a [u8]], &'a [u8])> {
        self.0.split_last().map(|(name, parent)| (parent, *name))
    }

    fn split_name(&self) -> Result<(&[&'a [u8]], &'a [u8])> {
        self.split()
            .ok_or(TreeError::Unsafe("it is the root and not a directory"))
    }
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: OwnedFd, bounds: &'a Bounds) -> Self {
        Self {
            root,
            bounds,
            last_parent: None,
            kept: None,
            buffer: vec![0; BUFFER],
        }
    }

    /// Starts a layer: from now on, what exists is of a lower one.
    pub(super) fn begin_layer(&mut self, whiteouts: bool) {
        self.kept = whiteouts.then(Kept::default);
    }

    /// Creates a file with this content. Setuid, setgid and sticky bits are dropped; the owner
    /// can always read.
    pub(super) fn file(
        &mut self,
        path: &EntryPath<'_>,
        mode: u32,
        mtime: u64,
        content: &mut impl Read,
    ) -> Result<()> {
        let (parent, name) = self.place(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let create = || openat(&*parent, name, flags | OFlags::CLOEXEC, Mode::RUSR);
        let file = match create() {
            Err(Errno::EXIST) => {
                self.remove(&parent, name)?;
                create()?
            }
            result => result?,
        };
        let mut file = std::fs::File::from(file);
        loop {
            match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => file.write_all(&self.buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        fchmod(&file, Mode::from_raw_mode((mode & 0o777) | 0o400))?;
        // Kept, since Python and make compare it with what they built from the file.
        futimens(&file, &modified_at(mtime))?;
        if let Some(kept) = &mut self.kept {
            kept.created.insert(fstat(&file)?.st_ino);
        }
        Ok(())
    }

    /// Creates a directory, or takes the one that is there. The owner can always enter and
    /// change it, as what follows in the archive has to.
    pub(super) fn directory(&mut self, path: &EntryPath<'_>, mode: u32) -> Result<()> {
        // The root's own entry changes nothing.
        if path.0.is_empty() {
            return Ok(());
        }
        let (parent, name) = self.place(path)?;
        match mkdirat(&*parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {
                let there = lstat(&parent, name)?;
                if FileType::from_raw_mode(there.st_mode) != FileType::Directory {
                    self.remove(&parent, name)?;
                    mkdirat(&*parent, name, Mode::RWXU)?;
                }
            }
            result => result?,
        }
        let mode = Mode::from_raw_mode((mode & 0o1777) | 0o700);
        // It is a directory and nobody else writes here, so this follows no link.
        chmodat(&*parent, name, mode, AtFlags::empty())?;
        self.note_created(&parent, name)
    }

    /// Creates a symbolic link. Its target is kept as it is: where it leads is decided by who
    /// follows it, with this tree as root.
    pub(super) fn symlink(
        &mut self,
        path: &EntryPath<'_>,
        target: &[u8],
        mtime: u64,
    ) -> Result<()> {
        let (parent, name) = self.place(path)?;
        match symlinkat(target, &*parent, name) {
            Err(Errno::EXIST) => {
                self.remove(&parent, name)?;
                symlinkat(target, &*parent, name)?;
            }
            result => result?,
        }
        utimensat(
            &*parent,
            name,
            &modified_at(mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        self.note_created(&parent, name)
    }

    /// Gives a file of the tree a second name. A link is not followed but named itself.
    pub(super) fn hard_link(&mut self, path: &EntryPath<'_>, target: &EntryPath<'_>) -> Result<()> {
        let (target_parent, target_name) = target.split_name()?;
        let from = self.open_directory(target_parent)?;
        let (parent, name) = self.place(path)?;
        match linkat(&from, target_name, &*parent, name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                // One file under both names already, or removing would take the target away.
                let there = lstat(&parent, name)?;
                let wanted = lstat(&from, target_name)?;
                if (there.st_dev, there.st_ino) != (wanted.st_dev, wanted.st_ino) {
                    self.remove(&parent, name)?;
                    linkat(&from, target_name, &*parent, name, AtFlags::empty())?;
                }
            }
            result => result?,
        }
        self.note_created(&parent, name)
    }

    /// Takes away what lower layers have at this name.
    pub(super) fn whiteout(&mut self, directory: &[&[u8]], name: &[u8]) -> Result<()> {
        let Some(parent) = self.existing_directory(directory)? else {
            return Ok(());
        };
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let there = match lstat(&parent, name) {
            Err(Errno::NOENT) => return Ok(()),
            result => result?,
        };
        self.last_parent = None;
        let is_directory = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
        if is_directory {
            removal::clear(&parent, name, kept)?;
        }
        if kept.created.contains(&there.st_ino) {
            return Ok(());
        }
        let flags = if is_directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match unlinkat(&parent, name, flags) {
            // This layer has put something into it.
            Err(Errno::NOTEMPTY) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Takes away all that lower layers have in this directory.
    pub(super) fn opaque(&mut self, directory: &[&[u8]]) -> Result<()> {
        let Some(directory) = self.existing_directory(directory)? else {
            return Ok(());
        };
        self.last_parent = None;
        match &mut self.kept {
            Some(kept) => Ok(removal::clear(&directory, c".", kept)?),
            None => Ok(()),
        }
    }

    /// The directory in which an entry goes, with those on the way, and its name there.
    fn place<'p>(&mut self, path: &EntryPath<'p>) -> Result<(Rc<OwnedFd>, &'p [u8])> {
        let (components, name) = path.split_name()?;
        let key = components.join(&b'/');
        if let Some((last, parent)) = &self.last_parent
            && *last == key
        {
            return Ok((Rc::clone(parent), name));
        }
        let parent = Rc::new(self.make_directories(components)?);
        self.last_parent = Some((key, Rc::clone(&parent)));
        Ok((parent, name))
    }

    /// Opens a directory and creates what is missing on the way, which archives may leave out.
    fn make_directories(&mut self, components: &[&[u8]]) -> Result<OwnedFd> {
        let mut there = components.len();
        let mut directory = loop {
            match self.open_directory(&components[..there]) {
                Err(Errno::NOENT) if there > 0 => there -= 1,
                Err(Errno::NOTDIR) => {
                    return Err(TreeError::Unsafe("its path leads through a file"));
                }
                result => break result?,
            }
        };
        for name in &components[there..] {
            self.bounds.count_entry()?;
            match mkdirat(&directory, *name, Mode::RWXU) {
                Err(Errno::EXIST) => {
                    return Err(TreeError::Unsafe("its path leads through a dangling link"));
                }
                result => result?,
            }
            chmodat(
                &directory,
                *name,
                Mode::from_raw_mode(0o755),
                AtFlags::empty(),
            )?;
            self.note_created(&directory, name)?;
            directory = openat(&directory, *name, PATH | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(directory)
    }

    fn existing_directory(&self, components: &[&[u8]]) -> Result<Option<OwnedFd>> {
        match self.open_directory(components) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    /// Opens a directory as the kernel finds it with the tree as its root.
    fn open_directory(&self, components: &[&[u8]]) -> rustix::io::Result<OwnedFd> {
        let path = if components.is_empty() {
            b".".to_vec()
        } else {
            components.join(&b'/')
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        loop {
            match openat2(&self.root, path.as_slice(), PATH, Mode::empty(), resolve) {
                // Something on the host was renamed while a `..` in a link was resolved.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    fn remove(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<()> {
        self.last_parent = None;
        Ok(removal::remove(parent, name)?)
    }

    fn note_created(&mut self, parent: impl AsFd, name: &[u8]) -> Result<()> {
        if let Some(kept) = &mut self.kept {
            kept.created.insert(lstat(parent, name)?.st_ino);
        }
        Ok(())
    }
}

fn lstat(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<Stat> {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn modified_at(seconds: u64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: i64::try_from(seconds).unwrap_or(0),
            tv_nsec: 0,
        },
    }
}
