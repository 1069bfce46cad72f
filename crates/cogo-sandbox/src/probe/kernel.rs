//! Features of the kernel that need no namespace.

use std::ptr;

use rustix::process::PidfdFlags;
use rustix::pty::OpenptFlags;

use super::attempt::{Failure, Step, attempt, checked};
use super::{Check, Status};
use crate::landlock::{LandlockRules, PreparedRuleset, landlock_abi};
use crate::seccomp::Filter;
use crate::spec::Isolation;

/// From this version on Landlock also keeps signals and abstract sockets inside.
const LANDLOCK_ABI_FULL: u32 = 6;

pub(super) fn checks() -> Vec<Check> {
    let standard = Some(Isolation::Standard);
    vec![
        Check::tried("seccomp", standard, seccomp(), "filters are enforced")
            .hint(|| Some("needs a kernel with CONFIG_SECCOMP_FILTER".into())),
        landlock(),
        Check::tried(
            "pidfd",
            Some(Isolation::None),
            pidfd(),
            "holds processes by descriptor",
        )
        .hint(|| Some("needs Linux 5.3".into())),
        Check::tried("clone3", standard, clone3(), "works").hint(|| {
            Some("needs Linux 5.3; a seccomp filter around cogo may also forbid it".into())
        }),
        Check::tried("close_range", standard, close_range(), "works")
            .hint(|| Some("needs Linux 5.9".into())),
        Check::tried("terminals", None, terminal(), "can be opened")
            .hint(|| Some("mount devpts on /dev/pts; programs run on pipes until then".into())),
    ]
}

/// Loads the real filter and sees it refuse.
fn seccomp() -> Result<(), Failure> {
    let filter = Filter::compile();
    attempt(0, || {
        rustix::thread::set_no_new_privs(true).step("set no_new_privs")?;
        filter.install().step("load a seccomp filter")?;
        // Flags that no kernel takes: without the filter it is EINVAL.
        // SAFETY: the call touches no memory.
        let refused = checked(unsafe { libc::syscall(libc::SYS_unshare, -1) });
        expect_errno(refused, libc::EPERM, "be refused by a seccomp filter")
    })
}

/// Puts a ruleset in force and sees it refuse.
fn landlock() -> Check {
    let result = match (LandlockRules::default().prepare(), landlock_abi()) {
        (Ok(Some(ruleset)), Some(_)) => landlock_refuses(&ruleset),
        (Err(_), _) => Err(Failure {
            step: "prepare a landlock ruleset",
            errno: 0,
        }),
        (Ok(_), _) => Err(Failure {
            step: "find landlock in the kernel",
            errno: libc::EOPNOTSUPP,
        }),
    };
    let abi = landlock_abi().unwrap_or(0);
    let works = format!("ABI {abi}");
    let mut check = Check::tried("landlock", Some(Isolation::Strict), result, &works);
    if check.status == Status::Ok && abi < LANDLOCK_ABI_FULL {
        check.status = Status::Weaker;
        check.detail = format!("ABI {abi}; signals and abstract sockets are left to namespaces");
    }
    check.hint(|| {
        Some(if abi == 0 {
            "needs Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and `landlock` in the boot \
             parameter `lsm=`"
                .into()
        } else {
            format!("all of it comes with ABI {LANDLOCK_ABI_FULL}, Linux 6.12")
        })
    })
}

fn landlock_refuses(ruleset: &PreparedRuleset) -> Result<(), Failure> {
    attempt(0, || {
        rustix::thread::set_no_new_privs(true).step("set no_new_privs")?;
        ruleset
            .restrict_self()
            .step("put a landlock ruleset in force")?;
        let directory = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        let refused = rustix::fs::open(c"/", directory, rustix::fs::Mode::empty());
        expect_errno(
            refused.map_err(Into::into),
            libc::EACCES,
            "be refused by landlock",
        )
    })
}

fn expect_errno<T>(
    result: std::io::Result<T>,
    errno: i32,
    step: &'static str,
) -> Result<(), Failure> {
    match result {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => Err(Failure {
            step,
            errno: error.raw_os_error().unwrap_or(0),
        }),
        Ok(_) => Err(Failure { step, errno: 0 }),
    }
}

fn pidfd() -> Result<(), Failure> {
    let own = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(own, PidfdFlags::empty()).step("use pidfd_open")?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&pidfd);
    // SAFETY: signal 0 only asks; the null pointer means no further information.
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd,
            0,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    checked(status).step("use pidfd_send_signal").map(|_| ())
}

/// With arguments of size 0 a kernel that has the call says EINVAL before it looks at them.
fn clone3() -> Result<(), Failure> {
    // SAFETY: a size of 0 is refused before the null pointer is followed.
    let status = unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<u8>(), 0) };
    expect_errno(checked(status), libc::EINVAL, "use clone3")
}

/// A range above any descriptor limit closes nothing.
fn close_range() -> Result<(), Failure> {
    // SAFETY: no descriptor has a number in this range.
    let status = unsafe { libc::syscall(libc::SYS_close_range, u32::MAX - 1, u32::MAX, 0) };
    checked(status).step("use close_range").map(|_| ())
}

fn terminal() -> Result<(), Failure> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let main = rustix::pty::openpt(flags).step("open /dev/ptmx")?;
    rustix::pty::unlockpt(&main).step("unlock a terminal")?;
    rustix::pty::ioctl_tiocgptpeer(&main, flags)
        .step("open the other side")
        .map(|_| ())
}
