//! Launcher mode: what the binary becomes when it is started as a supervisor, zygote or
//! reader of stacks.
//!
//! The role is named in `argv[0]` and decided before anything else in `main` happens, so that
//! these processes stay small and single-threaded.

use std::ffi::OsStr;

/// Role of the process that owns one exec.
pub const SUPERVISOR: &str = "cogo-supervisor";
/// Role of the process that forks supervisors.
pub const ZYGOTE: &str = "cogo-zygote";
/// Role of the process that reads the stacks of an exec's programs.
pub const STACKS: &str = "cogo-stacks";

/// Runs the launcher role named by the program's first argument (`argv[0]`), if it names one,
/// and ends the process. Returns at once otherwise. Must be the first call in `main`, before any
/// thread starts.
pub fn run_if_asked(argv0: Option<&OsStr>) {
    match argv0.and_then(OsStr::to_str) {
        Some(SUPERVISOR) => crate::supervisor::main(),
        Some(ZYGOTE) => crate::zygote::main(),
        Some(STACKS) => crate::stacks::reader_main(),
        Some(_) | None => {}
    }
}
