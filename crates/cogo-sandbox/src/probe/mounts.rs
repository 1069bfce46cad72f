//! Mounts: what a sandbox's file tree is built of.

use libc::{CLONE_FILES, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::attempt::{Failure, Step, attempt, checked, fork, wait};
use super::namespaces::{IdMaps, inside};
use super::{Check, Status};
use crate::spec::Isolation;

/// A directory that every host has and that can be covered in a mount namespace of our own.
const SCRATCH: &CStr = c"/proc";

pub(super) fn checks() -> Vec<Check> {
    let standard = Some(Isolation::Standard);
    vec![
        Check::tried("pivot_root", standard, inside(CLONE_NEWNS, pivot), "works").hint(|| {
            Some("the root of an initial ram file system cannot be left; boot from a disk".into())
        }),
        Check::tried(
            "proc mount",
            standard,
            inside(CLONE_NEWNS | CLONE_NEWPID, proc),
            "works",
        )
        .hint(|| {
            Some(
                "a container that masks paths in /proc forbids it; start it with unmasked \
                     paths (`--security-opt systempaths=unconfined`)"
                    .into(),
            )
        }),
        Check::tried(
            "mount api",
            standard,
            inside(CLONE_NEWNS, new_api),
            "open_tree and fsopen",
        )
        .hint(|| Some("needs Linux 5.12".into())),
        Check::tried(
            "private terminals",
            None,
            inside(CLONE_NEWNS, devpts),
            "devpts mounts",
        ),
        Check::tried(
            "overlayfs",
            None,
            inside(CLONE_NEWNS, overlay),
            "works in a user namespace",
        )
        .hint(|| Some("needs Linux 5.11; workspaces cannot be copied on write".into())),
        idmap_check(),
    ]
}

fn private() -> Result<(), Failure> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", flags).step("make mounts private")
}

fn tmpfs_on_scratch() -> Result<(), Failure> {
    private()?;
    rustix::mount::mount(
        c"tmpfs",
        SCRATCH,
        c"tmpfs",
        MountFlags::empty(),
        None::<&CStr>,
    )
    .step("mount a tmpfs")
}

fn pivot() -> Result<(), Failure> {
    tmpfs_on_scratch()?;
    rustix::process::chdir(SCRATCH).step("enter the new root")?;
    rustix::process::pivot_root(c".", c".").step("use pivot_root")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).step("unmount the old root")
}

fn proc() -> Result<(), Failure> {
    private()?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"proc", SCRATCH, c"proc", flags, None::<&CStr>).step("mount proc")
}

fn devpts() -> Result<(), Failure> {
    private()?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    rustix::mount::mount(
        c"devpts",
        SCRATCH,
        c"devpts",
        MountFlags::NOSUID,
        Some(options),
    )
    .step("mount devpts")?;
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    rustix::fs::open(c"/proc/ptmx", flags, Mode::empty())
        .step("open ptmx")
        .map(|_| ())
}

fn overlay() -> Result<(), Failure> {
    tmpfs_on_scratch()?;
    for directory in [c"/proc/l", c"/proc/u", c"/proc/w", c"/proc/m"] {
        rustix::fs::mkdir(directory, Mode::RWXU).step("make a directory")?;
    }
    let options = c"lowerdir=/proc/l,upperdir=/proc/u,workdir=/proc/w,userxattr";
    rustix::mount::mount(
        c"overlay",
        c"/proc/m",
        c"overlay",
        MountFlags::empty(),
        Some(options),
    )
    .step("mount an overlay")?;
    rustix::fs::mkdir(c"/proc/m/x", Mode::RWXU).step("write to the overlay")
}

fn new_api() -> Result<(), Failure> {
    private()?;
    let tree = rustix::mount::open_tree(
        CWD,
        c"/",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE,
    )
    .step("use open_tree")?;
    set_attributes(&tree, libc::MOUNT_ATTR_RDONLY, None).step("use mount_setattr")?;
    let context =
        rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).step("use fsopen")?;
    rustix::mount::fsconfig_create(&context).step("use fsconfig")?;
    let mount = rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .step("use fsmount")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&mount, c"", CWD, SCRATCH, flags).step("use move_mount")?;
    rustix::mount::move_mount(&tree, c"", CWD, SCRATCH, flags).step("use move_mount on a tree")
}

/// Sets attributes of a detached mount; with `users`, ids on it are seen as in that namespace.
fn set_attributes(mount: &OwnedFd, set: u64, users: Option<&OwnedFd>) -> std::io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: users.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: the path is a C string, the attributes are of the size that is said.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(status).map(|_| ())
}

fn idmap_check() -> Check {
    let name = "idmapped mounts";
    if !rustix::process::geteuid().is_root() {
        return Check {
            name: name.into(),
            status: Status::Weaker,
            needed_from: None,
            detail: "only root has them; files belong to the caller inside and outside".into(),
            hint: None,
        };
    }
    Check::tried(name, None, idmapped(), "work on the root file system").hint(|| {
        Some("needs Linux 5.12 and a file system that supports them, such as ext4 or xfs".into())
    })
}

fn idmapped() -> Result<(), Failure> {
    let maps = IdMaps::of_caller();
    attempt(0, || {
        let users = user_namespace(&maps)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, c"/", flags).step("use open_tree")?;
        set_attributes(&tree, libc::MOUNT_ATTR_IDMAP, Some(&users)).step("map ids on a mount")
    })
}

/// A user namespace held by its descriptor alone. A child that shares our descriptors opens it,
/// and says the number as its exit code: no path to build, nobody to wait for.
fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, Failure> {
    const FAILED: i32 = 255;
    let child = fork(CLONE_NEWUSER | CLONE_FILES).step("create a user namespace")?;
    if child == 0 {
        let opened = maps.write().and_then(|()| {
            rustix::fs::open(c"/proc/self/ns/user", OFlags::CLOEXEC, Mode::empty())
                .step("open the user namespace")
        });
        let code = opened.map_or(FAILED, std::os::fd::IntoRawFd::into_raw_fd);
        // SAFETY: ends the process without running anything of the parent's.
        unsafe { libc::_exit(code.min(FAILED)) };
    }
    let status = wait(child).step("wait for a process")?;
    match libc::WEXITSTATUS(status) {
        fd if libc::WIFEXITED(status) && fd != FAILED => {
            // SAFETY: the child opened it in the table we share, and gave it up.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(Failure {
            step: "open a user namespace",
            errno: 0,
        }),
    }
}
