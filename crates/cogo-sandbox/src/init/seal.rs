//! The seal: process 1 gives up, for itself and everything it will start, all that is not
//! needed to start commands. There is no way back.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets, CpuSet};
use serde::{Deserialize, Serialize};

use super::{AtStep, Step, StepFailure};
use crate::landlock::{LandlockError, LandlockRules, UnfinishedRuleset};
use crate::seccomp::Filter;
use crate::sys;

/// Attribute of mounts that cannot be written to.
pub(super) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;

/// What the commands are left with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seal {
    /// Directories that may be written to, beside the private places and the home.
    pub(crate) writable: Vec<PathBuf>,
    /// Whether Landlock must be in force.
    pub(crate) landlock_required: bool,
    /// CPUs the commands may run on; empty for all.
    pub(crate) cpus: Vec<usize>,
    /// Bounds per process, where no control group bounds the whole tree.
    pub(crate) rlimits: Option<ProcessLimits>,
    /// What `/proc/meminfo` says, where the memory limit is below the host's memory.
    pub(crate) meminfo: Option<String>,
}

/// Bounds that the kernel keeps for each process (or user) alone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessLimits {
    /// Bytes of address space of one process.
    pub(crate) address_space: Option<u64>,
    /// Processes of the same user.
    pub(crate) processes: Option<u64>,
}

/// Private places that stay writable.
const WRITABLE: [&str; 4] = ["/tmp", "/var/tmp", "/run", "/dev/shm"];

impl Seal {
    /// The part that works without namespaces.
    pub(super) fn apply_to_guard(&self) -> Step<()> {
        self.bind_to_cpus()?;
        self.limit_processes()
    }

    pub(super) fn apply(&self, begun: BegunSeal) -> Step<()> {
        if let Some(text) = &self.meminfo {
            cover_meminfo(text).at("show the memory limit in /proc/meminfo")?;
        }
        set_attributes("/", READ_ONLY).at("make the root read-only")?;
        self.bind_to_cpus()?;
        self.limit_processes()?;
        drop_capabilities()?;
        self.restrict_files(begun)?;
        Filter::shared()
            .install()
            .at("install the system call filter")
    }

    fn bind_to_cpus(&self) -> Step<()> {
        if self.cpus.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for cpu in &self.cpus {
            set.set(*cpu);
        }
        rustix::thread::sched_setaffinity(None, &set).at("bind to CPUs")
    }

    fn limit_processes(&self) -> Step<()> {
        let Some(limits) = self.rlimits else {
            return Ok(());
        };
        let bounds = [
            (Resource::As, limits.address_space),
            (Resource::Nproc, limits.processes),
        ];
        for (resource, bound) in bounds {
            if bound.is_some() {
                setrlimit(
                    resource,
                    Rlimit {
                        current: bound,
                        maximum: bound,
                    },
                )
                .at("limit processes")?;
            }
        }
        Ok(())
    }

    fn restrict_files(&self, begun: BegunSeal) -> Step<()> {
        let Some(ruleset) = begun.ruleset else {
            return if self.landlock_required {
                Err(io::Error::from_raw_os_error(libc::ENOSYS)).at("apply Landlock")
            } else {
                Ok(())
            };
        };
        let rules = LandlockRules {
            read_write: self.writable.clone(),
            ..LandlockRules::default()
        };
        let ruleset = landlock_step(ruleset.allow_more(&rules))?.finish();
        ruleset.restrict_self().at("apply Landlock")
    }
}

/// What of the seal does not depend on the use of a sandbox, and takes nothing that the rest of
/// the setup needs: done ahead, while nobody waits.
#[derive(Debug)]
pub(super) struct BegunSeal {
    /// `None` where the kernel has no Landlock.
    ruleset: Option<UnfinishedRuleset>,
}

impl BegunSeal {
    pub(super) fn begin(home: &Path) -> Step<Self> {
        // Not 0: the kernel still starts the host's crash handler then, if `core_pattern` names
        // one, and would feed it from in here. At 1 it starts none, and a file of one byte is
        // too small to be written (`do_coredump` in fs/coredump.c).
        let core = Rlimit {
            current: Some(1),
            maximum: Some(1),
        };
        setrlimit(Resource::Core, core).at("forbid core dumps")?;
        clear_bounding_set();
        let rules = LandlockRules {
            read_execute: vec![PathBuf::from("/")],
            read_write: WRITABLE
                .iter()
                .map(PathBuf::from)
                // An image may have no `/var/tmp`.
                .filter(|place| place.exists())
                .chain([home.to_owned()])
                .collect(),
            write_file_only: vec![PathBuf::from("/proc")],
            devices: vec![PathBuf::from("/dev")],
        };
        let ruleset = landlock_step(rules.begin())?;
        Ok(Self { ruleset })
    }
}

fn landlock_step<T>(result: Result<T, LandlockError>) -> Step<T> {
    result.map_err(|error| StepFailure {
        step: format!("apply Landlock ({error})"),
        errno: libc::EINVAL,
    })
}

/// Sets attributes of the mount at a path, not of those below it.
pub(super) fn set_attributes(path: &str, attributes: u64) -> io::Result<()> {
    let path = CString::new(path)?;
    sys::mount_setattr(CWD, &path, false, attributes, 0, None)
}

/// Programs size themselves by `/proc/meminfo`; the host's numbers would mislead them.
fn cover_meminfo(text: &str) -> io::Result<()> {
    std::fs::write("/.meminfo", text)?;
    rustix::mount::mount_bind("/.meminfo", "/proc/meminfo")?;
    set_attributes("/proc/meminfo", READ_ONLY)?;
    std::fs::remove_file("/.meminfo")
}

/// What a program may gain by its file. What process 1 has itself stays until the seal.
fn clear_bounding_set() {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if rustix::thread::remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
}

fn drop_capabilities() -> Step<()> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(bits).at("lock the secure bits")?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).at("drop capabilities")?;
    rustix::thread::set_no_new_privs(true).at("forbid new privileges")
}
