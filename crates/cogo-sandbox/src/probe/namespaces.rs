//! Namespaces: whether they can be created, and what forbids it.

use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
    CLONE_NEWUTS, c_int,
};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketType};

use super::Check;
use super::attempt::{Failure, Step, attempt, checked};
use crate::spec::Isolation;

const KINDS: [(&str, c_int); 6] = [
    ("pid namespace", CLONE_NEWPID),
    ("mount namespace", CLONE_NEWNS),
    ("network namespace", CLONE_NEWNET),
    ("ipc namespace", CLONE_NEWIPC),
    ("uts namespace", CLONE_NEWUTS),
    ("cgroup namespace", CLONE_NEWCGROUP),
];

/// The one that all others are created in.
pub(super) fn user() -> Check {
    // Some security modules let the namespace be created and then refuse what it is good for.
    let result = inside(CLONE_NEWUTS, || {
        rustix::system::sethostname(b"probe").step("use the capabilities of a user namespace")
    });
    Check::tried(
        "user namespace",
        Some(Isolation::Standard),
        result,
        "can be created and used",
    )
    .hint(user_namespace_hint)
}

/// The other kinds. All at once where all work, which costs one process; else each, to name those
/// that do not.
pub(super) fn kinds() -> Vec<Check> {
    let standard = Some(Isolation::Standard);
    let all = KINDS.iter().fold(0, |flags, (_, flag)| flags | flag);
    let together = inside(all, || Ok(()));
    let check = |(name, flag)| {
        let result = if together.is_ok() {
            Ok(())
        } else {
            inside(flag, || Ok(()))
        };
        Check::tried(name, standard, result, "can be created")
    };
    let mut checks: Vec<Check> = KINDS.map(check).into();
    let up = inside(CLONE_NEWNET, bring_loopback_up);
    checks.push(Check::tried("loopback", standard, up, "can be brought up"));
    checks
}

/// Runs `body` as root of a new user namespace, with the namespaces that `flags` ask for.
pub(super) fn inside(
    flags: c_int,
    body: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let maps = IdMaps::of_caller();
    attempt(CLONE_NEWUSER | flags, || {
        maps.write()?;
        body()
    })
}

/// Maps root inside to the caller outside: what every user may do. Made before the fork.
pub(super) struct IdMaps {
    uid: String,
    gid: String,
}

impl IdMaps {
    pub(super) fn of_caller() -> Self {
        let uid = format!("0 {} 1", rustix::process::geteuid().as_raw());
        let gid = format!("0 {} 1", rustix::process::getegid().as_raw());
        Self { uid, gid }
    }

    /// Writes the maps of the calling process, in its new user namespace.
    pub(super) fn write(&self) -> Result<(), Failure> {
        write(c"/proc/self/setgroups", b"deny").step("give up setgroups")?;
        write(c"/proc/self/uid_map", self.uid.as_bytes()).step("map the user id")?;
        write(c"/proc/self/gid_map", self.gid.as_bytes()).step("map the group id")
    }
}

fn write(path: &std::ffi::CStr, text: &[u8]) -> rustix::io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text).map(|_| ())
}

fn bring_loopback_up() -> Result<(), Failure> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
        .step("create a socket")?;
    // SAFETY: `ifreq` is plain data, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request is an `ifreq`, as this command wants, and outlives the call.
    let status = unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw const request) };
    checked(status.into())
        .step("bring up the loopback interface")
        .map(|_| ())
}

/// The setting that most likely forbids user namespaces.
fn user_namespace_hint() -> Option<String> {
    let setting = |name: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_owned())
    };
    for (name, forbids, allows) in [
        ("user.max_user_namespaces", "0", "15000"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ] {
        if setting(name).as_deref() == Some(forbids) {
            return Some(format!("as root, run `sysctl -w {name}={allows}`"));
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .any(|line| line.split_whitespace().eq(["Seccomp:", "2"]))
        .then(|| {
            "a seccomp filter around cogo is in force, as in most containers: start the container \
         with one that allows `clone` and `unshare` with new namespaces"
                .into()
        })
}
