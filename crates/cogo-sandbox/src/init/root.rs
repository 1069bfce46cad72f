//! The file system of a sandbox: a small tmpfs as `/`, with trees of the host shown in it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_bind, move_mount, unmount,
};
use serde::{Deserialize, Serialize};

use super::{AtStep, Step};

/// Private writable places, all on one tmpfs, so that one bound holds for all of them.
const SCRATCH: [(&str, &str, u32); 5] = [
    ("tmp", "tmp", 0o1777),
    ("var-tmp", "var/tmp", 0o1777),
    ("shm", "dev/shm", 0o1777),
    ("run", "run", 0o755),
    // Upper and work directory of the workspace overlay, see `attach`.
    ("overlay", ".overlay", 0o700),
];

/// Where the new root stands before it becomes `/`, and the scratch tmpfs beside it. Both are
/// places of the old root that every host has and nobody needs here; the old root goes away
/// with all that stands on it.
const STAND: &str = "/tmp";
const SCRATCH_STAND: &str = "/usr";

/// A file with content takes a page at least, so trees of usual files reach the size first.
const BYTES_PER_FILE: u64 = 4096;
/// Room for what a shell and a few tools need, whatever the size.
const FILES_MIN: u64 = 1024;

/// Parts of `/proc` that speak about the host, hidden behind an empty file or directory. The
/// list is the OCI runtime specification's default.
const PROC_MASKED: [&str; 11] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/kallsyms",
];
/// Parts of `/proc` that configure the host; same source.
const PROC_READ_ONLY: [&str; 5] = [
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

/// What `/` will hold.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    pub(crate) entries: Vec<RootEntry>,
    /// Path of the home directory inside.
    pub(crate) home: PathBuf,
    /// Size of the scratch tmpfs, in bytes.
    pub(crate) scratch_size: u64,
}

/// One thing shown in the root. The target is absolute, as seen inside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RootEntry {
    pub(crate) target: PathBuf,
    pub(crate) kind: EntryKind,
}

/// What is shown at one place of the root.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum EntryKind {
    /// A detached mount of a directory, which rides beside.
    Directory,
    /// A detached mount of anything else, which rides beside.
    File,
    /// A symbolic link.
    Link(PathBuf),
}

impl Root {
    /// Builds the root and makes it `/`. It stays writable until the seal, for attachments.
    pub(super) fn build(&self, trees: Vec<OwnedFd>) -> Step<()> {
        mount_tmpfs(STAND, "755", 4 << 20).at("mount the root")?;
        rustix::process::chdir(STAND).at("enter the root")?;
        let mut trees = trees.into_iter();
        for entry in &self.entries {
            entry.place(&mut trees)?;
        }
        place_dev_links()?;
        mount_scratch(&self.home, self.scratch_size)?;
        mount_proc()?;
        mount_terminals()?;
        become_root()
    }
}

impl RootEntry {
    fn place(&self, trees: &mut impl Iterator<Item = OwnedFd>) -> Step<()> {
        let Self { target, kind } = self;
        let place = relative(target);
        if let EntryKind::Link(to) = kind {
            return make_parent(place)
                .and_then(|()| std::os::unix::fs::symlink(to, place))
                .at(format!("link `{}`", target.display()));
        }
        let tree = trees
            .next()
            .ok_or(io::Error::from_raw_os_error(libc::EBADF))
            .at("receive a tree")?;
        make_place(place, matches!(kind, EntryKind::Directory))
            .and_then(|()| attach(&tree, place))
            .at(format!("show `{}`", target.display()))
    }
}

/// Attaches a detached mount to a place below the working directory.
pub(super) fn attach(tree: &OwnedFd, place: &Path) -> io::Result<()> {
    Ok(move_mount(
        tree.as_fd(),
        "",
        CWD,
        place,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

/// Makes an empty directory or file to mount on; one that is there already will do.
pub(super) fn make_place(place: &Path, directory: bool) -> io::Result<()> {
    if fs::symlink_metadata(place).is_ok() {
        return Ok(());
    }
    if directory {
        return make_directory(place);
    }
    make_parent(place)?;
    fs::File::create_new(place).map(drop)
}

fn make_parent(place: &Path) -> io::Result<()> {
    place.parent().map_or(Ok(()), make_directory)
}

fn make_directory(place: &Path) -> io::Result<()> {
    if place.as_os_str().is_empty() {
        return Ok(());
    }
    // Relative places are those of a root that is not `/` yet. An imported tree may have links
    // in it, and until then they lead to the host.
    if place.is_relative() && place.ancestors().any(Path::is_symlink) {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(place)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn mount_tmpfs(place: &str, mode: &str, size: u64) -> io::Result<()> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "mode", mode)?;
    fsconfig_set_string(context.as_fd(), "size", size.to_string())?;
    // A file without content takes no room, but it takes memory of the kernel.
    let files = (size / BYTES_PER_FILE).max(FILES_MIN);
    fsconfig_set_string(context.as_fd(), "nr_inodes", files.to_string())?;
    attach(&detached(&context)?, Path::new(place))
}

/// The file system that was described, mounted nowhere yet, without set-user-id programs and
/// devices.
pub(super) fn detached(context: &OwnedFd) -> io::Result<OwnedFd> {
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?)
}

fn mount_scratch(home: &Path, size: u64) -> Step<()> {
    mount_tmpfs(SCRATCH_STAND, "700", size).at("mount the scratch space")?;
    let home_place = relative(home).to_owned();
    let home_entry = ("home", home_place.as_path(), 0o700);
    let places = SCRATCH
        .iter()
        .map(|(name, place, mode)| (*name, Path::new(*place), *mode));
    for (name, place, mode) in places.chain([home_entry]) {
        if name == "var-tmp" && is_images_own(place) {
            continue;
        }
        let source = Path::new(SCRATCH_STAND).join(name);
        fs::DirBuilder::new()
            .create(&source)
            .and_then(|()| rustix::fs::chmod(&source, mode.into()).map_err(Into::into))
            .and_then(|()| make_directory(place))
            .and_then(|()| mount_bind(&source, place).map_err(Into::into))
            .at(format!("make a private `/{}`", place.display()))?;
    }
    Ok(())
}

/// Whether an image links a place to another of its own, or has none and no room for it.
fn is_images_own(place: &Path) -> bool {
    let unwritable = |e: &io::Error| e.kind() == io::ErrorKind::ReadOnlyFilesystem;
    place.is_symlink() || make_directory(place).is_err_and(|e| unwritable(&e))
}

fn mount_proc() -> Step<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    make_directory(Path::new("sys"))
        .and_then(|()| make_directory(Path::new("proc")))
        .and_then(|()| mount("proc", "proc", "proc", flags, None).map_err(Into::into))
        .at("mount /proc")?;
    for path in PROC_READ_ONLY {
        protect(path, path, super::seal::READ_ONLY).at(format!("protect `/{path}`"))?;
    }
    for path in PROC_MASKED {
        let Ok(found) = fs::metadata(path) else {
            continue;
        };
        // `/sys` is always empty in here.
        let cover = if found.is_dir() { "sys" } else { "dev/null" };
        protect(cover, path, super::seal::READ_ONLY).at(format!("hide `/{path}`"))?;
    }
    Ok(())
}

/// Covers a place by another, or by itself, with other attributes. A missing one is no error.
pub(super) fn protect(source: &str, place: &str, attributes: u64) -> io::Result<()> {
    match mount_bind(source, place) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => other?,
    }
    super::seal::set_attributes(place, attributes)
}

fn mount_terminals() -> Step<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    make_directory(Path::new("dev/pts"))
        .and_then(|()| {
            let options = c"newinstance,ptmxmode=0666,mode=0620";
            mount("devpts", "dev/pts", "devpts", flags, Some(options)).map_err(Into::into)
        })
        .at("mount /dev/pts")
}

fn place_dev_links() -> Step<()> {
    let links = [
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
        ("dev/ptmx", "pts/ptmx"),
        ("var/run", "/run"),
    ];
    for (place, to) in links {
        match make_parent(Path::new(place)).and_then(|()| std::os::unix::fs::symlink(to, place)) {
            // An imported root may have its own, or none, and its `/var` cannot be written.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            other => other.at(format!("link `/{place}`"))?,
        }
    }
    Ok(())
}

/// Stacks the new root on the old one and takes the old one away from under it, which needs no
/// directory for the old root: see `pivot_root(".", ".")` in `pivot_root(2)`.
fn become_root() -> Step<()> {
    rustix::process::pivot_root(".", ".").at("change the root")?;
    unmount(".", UnmountFlags::DETACH).at("leave the old root")?;
    rustix::process::chdir("/").at("enter the new root")
}
