//! Who the commands are: the ids seen inside and the ids the kernel checks.
//!
//! Started by root, a command runs under a host id that owns nothing and that no other exec
//! has, so even a way out of every namespace finds closed doors. Its workspace is shown through
//! an id-mapped mount, where the caller's files look like its own and new files become the
//! caller's. Started by anyone else, it keeps the caller's id: nothing else is allowed.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Host ids from here on belong to nobody: above the ranges that distributions give to users,
/// containers and `systemd-nspawn` (524288 to 1878982656, see systemd's "Users, Groups, UIDs
/// and GIDs"). The supervisor's process id makes the id unique among live execs.
const UNUSED_IDS: u32 = 0x7000_0000;

/// The ids of one sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    inside_uid: u32,
    inside_gid: u32,
    host_uid: u32,
    host_gid: u32,
    /// Whether this process may mount and map ids without a user namespace of its own.
    pub(crate) privileged: bool,
}

impl Identity {
    /// Chooses host ids for the given ids inside.
    #[expect(
        clippy::similar_names,
        reason = "user and group ids are called that everywhere"
    )]
    pub(crate) fn choose(inside_uid: u32, inside_gid: u32) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let unused = UNUSED_IDS + std::process::id();
        let privileged = uid == 0 && maps(unused) && may_administer();
        let (host_uid, host_gid) = if privileged {
            (unused, unused)
        } else {
            (uid, gid)
        };
        Self {
            inside_uid,
            inside_gid,
            host_uid,
            host_gid,
            privileged,
        }
    }

    /// Whether commands run under an id that owns nothing.
    pub(crate) fn shifted(&self) -> bool {
        self.privileged
    }

    /// Without privileges, mounts can be prepared only in a mount namespace of our own, in a
    /// user namespace of our own, where the caller keeps its id.
    pub(crate) fn enter_holding_namespace(&self) -> io::Result<()> {
        if held() {
            return Ok(());
        }
        let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
        // SAFETY: launcher processes are single-threaded, and descriptors stay shared.
        unsafe { rustix::thread::unshare_unsafe(flags)? };
        // A user may map its group only after giving up setgroups (user_namespaces(7)).
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{0} {0} 1", self.host_uid))?;
        fs::write("/proc/self/gid_map", format!("{0} {0} 1", self.host_gid))
    }

    /// Maps the ids of a new process in a new user namespace, and returns that namespace.
    pub(crate) fn map_into(&self, pid: Pid) -> io::Result<OwnedFd> {
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        fs::write(
            format!("{process}/uid_map"),
            format!("{} {} 1", self.inside_uid, self.host_uid),
        )?;
        fs::write(
            format!("{process}/gid_map"),
            format!("{} {} 1", self.inside_gid, self.host_gid),
        )?;
        Ok(fs::File::open(format!("{process}/ns/user"))?.into())
    }

    /// Makes a directory of ours the command's.
    pub(crate) fn give(&self, directory: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(directory, Some(self.host_uid), Some(self.host_gid))
    }

    /// Makes a pipe of ours the command's, so that it can open it by name (`/dev/stderr`).
    pub(crate) fn give_pipe(&self, pipe: BorrowedFd<'_>) -> io::Result<()> {
        std::os::unix::fs::fchown(pipe, Some(self.host_uid), Some(self.host_gid))
    }
}

/// Whether our user namespace knows the id; in a container it may not.
fn maps(id: u32) -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else {
        return false;
    };
    map.lines().any(|line| {
        let mut fields = line
            .split_whitespace()
            .map(|field| field.parse::<u64>().unwrap_or(0));
        let (Some(first), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next())
        else {
            return false;
        };
        (first..first + count).contains(&u64::from(id))
    })
}

fn may_administer() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| {
        sets.effective
            .contains(CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID)
    })
}

/// Whether this process is in a holding namespace already, as children of a zygote are.
fn held() -> bool {
    may_administer()
}
