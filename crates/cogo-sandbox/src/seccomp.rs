//! The system call filter around an exec, kept as data with a reason per rule.
//!
//! [`rules()`] names every system call that was reviewed, and says what becomes of it and why. What
//! is not named gets `ENOSYS`: the holes in the numbering, the x32 calls, and every call that is
//! newer than the review ([`REVIEWED_MAX`]). A call through another architecture's entry (32-bit
//! `int 0x80`) kills the process, since its numbers mean something else.
//!
//! The program is a binary search over runs of equal action, so that it is short, and the kernel's
//! table of always-allowed calls, which it fills at load time by walking the program once per
//! number, is filled fast. Allowed calls without conditions then never run the program at all. The
//! `seccompiler` crate is not used: it knows one errno per filter and no ranges, and compares with
//! every number in turn.
//!
//! Conditions look at the low 32 bits of an argument. That is right, and only right, for arguments
//! that the kernel itself takes as an `int`: it ignores the high bits, so a filter that compared
//! them could be walked around.
//!
//! The filter is loaded without `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: on kernels before 5.16, filtered
//! programs then run with speculative store bypass off, which is slower, and is what the host's
//! administrator chose for programs that are not trusted.

mod program;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;
use std::{fmt, io};

pub use rules::{REVIEWED_MAX, rules};

/// What becomes of one system call, and why.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The call's name, as in its manual page.
    pub syscall: &'static str,
    /// The call's number on this architecture.
    pub number: u32,
    /// All of these hold, or the next rule of the same call is looked at. Empty: always.
    pub when: &'static [Test],
    /// What becomes of the call.
    pub action: Action,
    /// Why.
    pub reason: &'static str,
}

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel carries it out.
    Allow,
    /// It fails with this errno.
    Errno(i32),
    /// The kernel kills the process.
    KillProcess,
}

/// A condition on the low 32 bits of one argument.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Index of the argument.
    pub argument: u8,
    /// Bits that are looked at.
    pub mask: u32,
    /// How they compare with `values`.
    pub relation: Relation,
    /// What they are compared with.
    pub values: &'static [u32],
}

/// How an argument compares with a set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is one of them.
    OneOf,
    /// It is none of them.
    NoneOf,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::OneOf => "in",
            Relation::NoneOf => "not in",
        };
        write!(f, "argument {}", self.argument)?;
        if self.mask != u32::MAX {
            write!(f, " & {:#x}", self.mask)?;
        }
        write!(f, " {relation} {:#x?}", self.values)
    }
}

static SHARED: LazyLock<Filter> = LazyLock::new(Filter::compile);

/// The compiled filter. Compile it once, before any fork; install it in each exec.
#[derive(Clone, Debug)]
pub struct Filter {
    program: Box<[libc::sock_filter]>,
}

impl Filter {
    /// The filter, compiled when first asked for. What is forked afterwards has it already.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// Compiles [`rules()`] into a program for the kernel.
    pub fn compile() -> Self {
        Self {
            program: program::assemble(rules()),
        }
    }

    /// Puts the calling thread, and all it starts from here on, under the filter for good.
    ///
    /// Async-signal-safe. The caller has set `no_new_privs`.
    ///
    /// # Errors
    ///
    /// `EACCES` without `no_new_privs`; `EINVAL` or `ENOSYS` on a kernel without filters.
    pub fn install(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: self.program.len() as libc::c_ushort,
            filter: self.program.as_ptr().cast_mut(),
        };
        // SAFETY: `program` points to `len` instructions, which the kernel only reads.
        let status = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        if status == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
