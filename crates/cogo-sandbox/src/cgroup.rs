//! Control groups, v2, v1 or hybrid: limits, accounting and the kill of a whole tree.
//!
//! [`Cgroups`] is found once per process and knows where groups may be made; a [`Cgroup`] is one
//! group, that is, one directory in each hierarchy it needs. The value that made a group owns it
//! and removes it when dropped.
//!
//! ```text
//! <base>/                     our own group if it is ours to divide, else /cogo or as configured
//! ├── supervisor/             v2 only: our own processes, moved here to free the base
//! ├── cogo-<exec>/            a group for one exec: limits and processes
//! └── cogo-<session>/         a group for a session: limits only, processes in its children
//!     ├── init/
//!     └── <exec>/
//! ```
//!
//! The session layout is the same on v1, where it would not be needed: v2 gives controllers
//! either to processes or to child groups, so a group with children holds no process itself.
//!
//! Which hierarchies a group uses: memory and pids always; the cgroup2 mount always (its `cpu.stat`
//! and `cgroup.kill` work without any controller); v1 cpuacct or freezer only where there is no
//! cgroup2 to do their work; cpu when a cpu limit is first set. Each costs a directory.
//!
//! Written by hand because the published crates do not fit a supervisor of two megabytes that
//! lives for a millisecond: `cgroups-rs` and `libcgroups` bring D-Bus or `nix` and `procfs`, make a
//! directory in every hierarchy, and have neither the hybrid `cgroup.kill` nor a kill that proves
//! the group empty.
//!
//! Deliberately absent: device control (there is no device to open in the sandbox's `/dev`),
//! cpusets (affinity does it without a group), I/O limits, and any wait for memory pressure.

mod discover;
mod event;
mod file;
mod gauge;
mod group;
mod kill;
mod mounts;
mod orphans;
mod record;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use event::LimitEvent;
pub use gauge::{Gauge, MemoryReading};
pub use group::Cgroup;
pub use kill::Killed;
pub use mounts::Mounts;
pub use record::CgroupRecord;

/// Every group's directory starts with this, so that no other directory is ever taken for ours.
pub const GROUP_PREFIX: &str = "cogo-";

/// The smallest memory limit: with less, a shell is killed before it can start a program.
pub const MEMORY_MIN: u64 = 1 << 20;

/// The smallest cpu limit, in cores: the kernel's least quota of 1 ms in our period of 100 ms.
pub const CPUS_MIN: f64 = 0.01;

/// The smallest pids limit: the command itself, without a child. An init counts as one more.
pub const PIDS_MIN: u32 = 1;

/// Knows where groups may be made on this machine.
#[derive(Debug)]
pub struct Cgroups {
    places: Vec<Place>,
    capabilities: CgroupCapabilities,
}

/// What groups can do here, and why they cannot do more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about the host"
)]
pub struct CgroupCapabilities {
    /// The kernel interfaces in use.
    pub version: CgroupVersion,
    /// Memory can be limited.
    pub memory: bool,
    /// Processes and threads can be limited.
    pub pids: bool,
    /// CPU time per wall time can be limited.
    pub cpu: bool,
    /// Storage reads and writes are counted.
    pub io: bool,
    /// One write kills a whole group, concurrent forks included.
    pub atomic_kill: bool,
    /// A group can be frozen.
    pub freezer: bool,
    /// Why something above is missing: plain sentences with a hint on what to do.
    pub reasons: Vec<String>,
}

impl CgroupCapabilities {
    /// Why something is missing, in one sentence with its advice. Every hierarchy of v1 is missing
    /// for a reason of its own, and on most hosts for the same one.
    pub fn reason(&self) -> Option<String> {
        let first = self.reasons.first()?;
        let advice = first.split_once("; ").map_or("", |(_, advice)| advice);
        let others = self.reasons.len() - 1;
        let same = self.reasons.iter().all(|reason| reason.ends_with(advice));
        if others == 0 || advice.is_empty() || !same {
            return Some(self.reasons.join("; "));
        }
        let fact = first
            .split_once("; ")
            .map_or(first.as_str(), |(fact, _)| fact);
        Some(format!("{fact}, and {others} more like it; {advice}"))
    }
}

/// The kernel interfaces in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupVersion {
    /// No group can be made.
    #[default]
    None,
    /// v1 hierarchies alone.
    V1,
    /// v1 hierarchies and a cgroup2 mount beside them.
    Hybrid,
    /// cgroup v2 alone.
    V2,
}

/// Upper bounds of one group. `None` means no bound of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CgroupLimits {
    /// Memory in bytes, swap included; at least [`MEMORY_MIN`].
    pub memory: Option<u64>,
    /// CPU time per wall time, in cores; at least [`CPUS_MIN`].
    pub cpus: Option<f64>,
    /// Processes and threads alive at once; at least [`PIDS_MIN`].
    pub pids: Option<u32>,
}

/// What a group used so far, its children included. `None`: not counted on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupUsage {
    /// CPU time in user mode.
    pub cpu_user: Option<Duration>,
    /// CPU time in the kernel.
    pub cpu_system: Option<Duration>,
    /// Memory in use now, in bytes, page cache included.
    pub memory: Option<u64>,
    /// Highest memory usage, in bytes. Before Linux 5.19 with v2: the highest that was read.
    pub memory_peak: Option<u64>,
    /// Bytes read from storage.
    pub io_read: Option<u64>,
    /// Bytes written to storage.
    pub io_write: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
    /// Most processes and threads at once (kernel 6.1 and later).
    pub pids_peak: Option<u64>,
}

impl CgroupUsage {
    /// What was used since an earlier look. A peak that has not grown since is not this time's,
    /// and not told.
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        // The split of the time is estimated anew with each look; the sum is exact.
        let sum = |usage: &Self| {
            let system = usage.cpu_system.unwrap_or_default();
            usage.cpu_user.map(|user| user + system)
        };
        let total = sum(&self).map(|now| now.saturating_sub(sum(earlier).unwrap_or_default()));
        let cpu_system = self.cpu_system.map(|system| {
            let system = system.saturating_sub(earlier.cpu_system.unwrap_or_default());
            system.min(total.unwrap_or(system))
        });
        let count = |now: Option<u64>, then: Option<u64>| {
            now.map(|now| now.saturating_sub(then.unwrap_or_default()))
        };
        let peak = |now: Option<u64>, then: Option<u64>| now.filter(|_| now > then);
        Self {
            cpu_user: total.map(|total| total.saturating_sub(cpu_system.unwrap_or_default())),
            cpu_system,
            memory: self.memory,
            memory_peak: peak(self.memory_peak, earlier.memory_peak),
            io_read: count(self.io_read, earlier.io_read),
            io_write: count(self.io_write, earlier.io_write),
            pids: self.pids,
            pids_peak: peak(self.pids_peak, earlier.pids_peak),
        }
    }
}

/// How often a group's limits were hit since it was made. Never reset: subtract an earlier value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupEvents {
    /// Processes the kernel killed at a memory limit. v1 counts those of child groups only there.
    pub oom_kills: u64,
    /// Processes or threads refused at a pids limit. v1, and v2 before Linux 6.11, count in the
    /// group of the process that forked, not in the group that has the limit.
    pub pids_limit_hits: u64,
}

/// Why a group could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No group can be made on this host by this user.
    #[error("no control group can be made here: {reason}")]
    Unavailable {
        /// All reasons found, with hints.
        reason: String,
    },
    /// The name cannot be a directory's name.
    #[error("invalid cgroup name `{name}`")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A directory could not be made.
    #[error("failed to create cgroup `{}`", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A parent's controllers could not be given to its children.
    #[error("failed to enable controllers in `{}`: {hint}", path.display())]
    Enable {
        /// The `cgroup.subtree_control` file.
        path: PathBuf,
        /// What usually causes it.
        hint: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The host cannot enforce a limit that was asked for.
    #[error("cannot enforce a {limit} limit: {reason}")]
    Unenforceable {
        /// Which limit.
        limit: &'static str,
        /// What is missing.
        reason: &'static str,
    },
    /// The limit is too low to run anything.
    #[error("{limit} limit {value} is below the minimum {minimum}")]
    LimitTooLow {
        /// Which limit.
        limit: &'static str,
        /// What was asked.
        value: String,
        /// What is the least.
        minimum: String,
    },
    /// A control file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A control file could not be written.
    #[error("failed to write `{value}` to `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The caller is a member of the group it wants to kill.
    #[error("refused to kill cgroup `{}`: the calling process is in it", path.display())]
    OwnGroup {
        /// The group.
        path: PathBuf,
    },
    /// Processes went on forking faster than they could be moved.
    #[error("failed to move all processes into `{}`", path.display())]
    Moving {
        /// The directory.
        path: PathBuf,
    },
    /// A directory could not be removed.
    #[error("failed to remove cgroup `{}`", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The record names a directory that is not a group of ours.
    #[error("refused to reopen cgroup `{}`: {reason}", path.display())]
    ForeignRecord {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl CgroupError {
    fn read(path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path, source }
    }
}

/// One hierarchy in which groups may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    /// v1: what the mount was made for. v2: what the base can give to its children.
    controllers: Vec<Controller>,
    /// Parent of the groups. On v1 it may not exist yet.
    base: PathBuf,
    /// Whether every group needs a directory here from the start.
    need: Need,
}

/// When a group needs a directory in a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Always,
    /// When a cpu limit is first set.
    CpuLimit,
}

/// Kernel interface of one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Version {
    V1,
    V2,
}

/// A resource the kernel can limit or count for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Controller {
    Memory,
    Pids,
    Cpu,
    Cpuacct,
    Io,
    Freezer,
}

impl Controller {
    /// The name of a v1 mount option. `blkio` is left out: its figures miss buffered writes.
    fn from_v1(name: &str) -> Option<Self> {
        match name {
            "memory" => Some(Self::Memory),
            "pids" => Some(Self::Pids),
            "cpu" => Some(Self::Cpu),
            "cpuacct" => Some(Self::Cpuacct),
            "freezer" => Some(Self::Freezer),
            _ => None,
        }
    }

    /// The name in `cgroup.controllers`. What v2 does without a controller is not there.
    fn from_v2(name: &str) -> Option<Self> {
        match name {
            "memory" => Some(Self::Memory),
            "pids" => Some(Self::Pids),
            "cpu" => Some(Self::Cpu),
            "io" => Some(Self::Io),
            _ => None,
        }
    }

    fn v2_name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu | Self::Cpuacct => "cpu",
            Self::Io => "io",
            Self::Freezer => "freezer",
        }
    }
}

impl Cgroups {
    /// Finds where this process may make groups. Never fails: what is missing, and why, is told
    /// by [`Self::capabilities`].
    ///
    /// `base` is a path relative to each hierarchy's mount, such as `/cogo`. Without it groups are
    /// made in this process's own group if it may divide it, else, for root, in `/cogo`.
    ///
    /// On v2 this enables controllers on the way to the base. When only processes of ours are in
    /// our own group, they move to its child `supervisor`, since v2 gives controllers to child
    /// groups only from a group without processes.
    pub fn discover(base: Option<&Path>) -> Self {
        match Mounts::read() {
            Ok(mounts) => Self::from_mounts(&mounts, base),
            Err(error) => Self::nothing(format!(
                "control groups are unknown: `/proc` is not readable: {error}"
            )),
        }
    }

    /// As [`Self::discover`], with mounts that were read or made up before.
    pub fn from_mounts(mounts: &Mounts, base: Option<&Path>) -> Self {
        discover::discover(mounts, base)
    }

    /// What groups can do here.
    pub fn capabilities(&self) -> &CgroupCapabilities {
        &self.capabilities
    }

    /// Makes the group `cogo-<name>`, without limits and without processes. The name has letters,
    /// digits, `.`, `_` and `-`.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Unavailable`] on a host without usable groups; [`CgroupError::Create`] when
    /// the kernel refuses, or when the group exists.
    pub fn create(&self, name: &str) -> Result<Cgroup, CgroupError> {
        if self.places.is_empty() {
            let reason = self.capabilities.reason().unwrap_or_default();
            return Err(CgroupError::Unavailable { reason });
        }
        Cgroup::create(&self.places, name)
    }

    fn nothing(reason: String) -> Self {
        let capabilities = CgroupCapabilities {
            reasons: vec![reason],
            ..Default::default()
        };
        Self {
            places: Vec::new(),
            capabilities,
        }
    }
}
