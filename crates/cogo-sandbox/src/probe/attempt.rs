//! Tries something in a child process that is gone afterwards.

use std::{fmt, ptr};

/// The step of an attempt that failed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What was tried, for a reader.
    pub(crate) step: &'static str,
    /// The errno; 0 when there is none.
    pub(crate) errno: i32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.step)?;
        if self.errno == 0 {
            return Ok(());
        }
        write!(f, ": {}", std::io::Error::from_raw_os_error(self.errno))
    }
}

/// Names the step of a failing call. For use inside an attempt: nothing is allocated.
pub(crate) trait Step<T> {
    /// The value, or the failure of this step.
    fn step(self, step: &'static str) -> Result<T, Failure>;
}

impl<T> Step<T> for rustix::io::Result<T> {
    fn step(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step,
            errno: error.raw_os_error(),
        })
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step,
            errno: error.raw_os_error().unwrap_or(0),
        })
    }
}

/// The kernel's convention for raw calls, as a result.
pub(crate) fn checked(status: libc::c_long) -> std::io::Result<libc::c_long> {
    if status < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(status)
    }
}

type Slot = Option<Result<(), Failure>>;

/// Runs `body` in a child in the new namespaces that `flags` ask for, and reaps it.
///
/// Call it from a process with one thread, or let `body` make only async-signal-safe calls: the
/// child of a process with threads may find any lock taken. Without flags the C library's own fork
/// is used, which at least leaves its allocator usable.
///
/// # Errors
///
/// The step that `body` names, the refused creation of the child, or its death.
pub(crate) fn attempt(
    flags: libc::c_int,
    body: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let slot = SharedSlot::new().step("share memory with a child")?;
    match fork(flags).step("create a process")? {
        0 => {
            let exit = ExitOnDrop; // a panic must not unwind into the parent's frames
            let result = body();
            // SAFETY: the slot is mapped, aligned and only written here, before the parent reads.
            unsafe { slot.0.write_volatile(Some(result)) };
            drop(exit);
            unreachable!("the child has exited");
        }
        child => {
            wait(child).step("wait for a process")?;
            // SAFETY: the child is gone. What it wrote was copied from this very program: the
            // text that a failure points to is at the same address here.
            let result = unsafe { slot.0.read_volatile() };
            result.unwrap_or(Err(Failure {
                step: "finish: the process was killed",
                errno: 0,
            }))
        }
    }
}

/// Forks into new namespaces; 0 in the child. `clone` and not `clone3`: it is older, and an outer
/// filter can look at its flags.
pub(super) fn fork(flags: libc::c_int) -> std::io::Result<libc::pid_t> {
    if flags == 0 {
        // SAFETY: the child goes on with a copy of everything; see `attempt` for its limits.
        return checked(libc::c_long::from(unsafe { libc::fork() })).map(|pid| pid as libc::pid_t);
    }
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is a fork: no stack and no thread pointers are passed.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    checked(pid).map(|pid| pid as libc::pid_t)
}

/// Reaps a child; its wait status.
pub(super) fn wait(child: libc::pid_t) -> std::io::Result<libc::c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the call to write to.
        match checked(libc::c_long::from(unsafe {
            libc::waitpid(child, &raw mut status, 0)
        })) {
            Ok(_) => return Ok(status),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        // SAFETY: ends the process without running anything of the parent's.
        unsafe { libc::_exit(0) }
    }
}

/// A result in memory that parent and child share.
struct SharedSlot(*mut Slot);

impl SharedSlot {
    fn new() -> std::io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping touches no existing memory.
        let page =
            unsafe { libc::mmap(ptr::null_mut(), size_of::<Slot>(), protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let slot = page.cast::<Slot>();
        // SAFETY: the mapping is page-aligned, large enough and ours alone.
        unsafe { slot.write_volatile(None) };
        Ok(Self(slot))
    }
}

impl Drop for SharedSlot {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size; nobody keeps a reference into it.
        unsafe { libc::munmap(self.0.cast(), size_of::<Slot>()) };
    }
}
