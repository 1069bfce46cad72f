//! Runs one command in a kernel sandbox, keeps its log and tells how it ended.
//!
//! The crate has two sides. The **client side** ([`start`], [`exec_dir`], [`control`],
//! [`log`]) is what a worker or `cogo run` uses. The **launcher side** ([`launcher`],
//! `supervisor`, `init`, `sandbox`) is what runs in the small, single-threaded processes that the
//! same binary becomes when started in launcher mode.
//!
//! ```text
//! client ──start──▶ supervisor (one per exec, detached) ──clone3──▶ init (pid 1 inside)
//!    │                 │ owns log, limits, verdict                    │ vfork + execve
//!    │                 ▼                                              ▼
//!    └──── reads ──── exec directory: spec, log/, verdict         the command
//! ```
//!
//! Deliberately absent: wire types (they live in `cogo-protocol`), an async runtime, and any
//! decision about queues or retries.

pub mod cgroup;
pub mod control;
pub mod evidence;
pub mod exec_dir;
mod init;
pub mod landlock;
pub mod launcher;
pub mod log;
mod message;
pub mod probe;
pub mod proxy;
pub mod redact;
pub mod rootfs;
mod sandbox;
pub mod seccomp;
pub mod session;
pub mod spec;
pub mod stacks;
pub mod start;
mod supervisor;
mod sys;
pub mod toolchains;
pub mod verdict;
pub mod zygote;
