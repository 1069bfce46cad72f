//! A sandbox that serves one command after the other, because none of them left a trace in it.
//!
//! Making and unmaking a sandbox costs several times what a short command does. A command that
//! ended by itself, left nobody behind and touched nothing that outlives its processes (see
//! `init::traces`) has left the sandbox as it was; the next command of a spec that is equal in
//! everything but the command may have it. Anything else is thrown away, as after one use.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::cgroup::{Cgroup, CgroupEvents, CgroupUsage, Cgroups};
use crate::exec_dir::ExecDir;
use crate::sandbox::{Design, Sandbox};
use crate::spec::{ExecSpec, Isolation, Network, WorkspaceMode};
use crate::start::Refusal;

use super::prepare::{self, DirectoryId};
use super::{Parked, Supervisor};

/// Memory that a used sandbox may hold more than when it was made: what the kernel keeps cached.
const CACHED_MAX: u64 = 1 << 20;
/// Of a small limit that must be a small part.
const CACHED_SHARE: u64 = 64;

/// What a group had counted before a command started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) usage: CgroupUsage,
    pub(crate) events: CgroupEvents,
}

/// A used sandbox that is as good as new.
pub(super) struct Reusable {
    parked: Parked,
    made_for: MadeFor,
}

/// What a sandbox was made for.
#[derive(Debug)]
pub(super) struct MadeFor {
    design: Design,
    spec: ExecSpec,
    workspace: Option<DirectoryId>,
    state: PathBuf,
    /// Memory in use when it was new.
    memory: u64,
}

impl MadeFor {
    /// `None` for a sandbox that can serve one command only.
    pub(super) fn of(spec: &ExecSpec, exec: &ExecDir, cgroup: Option<&Cgroup>) -> Option<Self> {
        let confined = match spec.isolation {
            Isolation::Strict | Isolation::Standard => true,
            Isolation::None => false,
        };
        // An overlay has an inode for the workspace that nobody compares; a proxy has a past.
        let plain = spec.workspace.mode != WorkspaceMode::Copy && spec.network == Network::None;
        // Without a group nobody can tell what one command used, and what another.
        let cgroup = cgroup.filter(|_| confined && plain)?;
        Some(Self {
            design: prepare::design(spec),
            spec: prepare::sandbox_part(spec),
            workspace: DirectoryId::of(&spec.workspace.path),
            state: exec.state_path().to_owned(),
            memory: cgroup.usage().memory?,
        })
    }

    /// Whether memory in use is about what it was.
    fn is_as_small(&self, usage: &CgroupUsage) -> bool {
        let limit = self.spec.limits.memory.unwrap_or(u64::MAX);
        let max = self
            .memory
            .saturating_add(CACHED_MAX.min(limit / CACHED_SHARE));
        usage.memory.is_some_and(|memory| memory <= max)
    }

    fn fits(&self, spec: &ExecSpec, exec: &ExecDir) -> bool {
        self.spec == prepare::sandbox_part(spec)
            && self.design == prepare::design(spec)
            && self.workspace == DirectoryId::of(&spec.workspace.path)
            && self.state == exec.state_path()
    }
}

impl Reusable {
    /// Its sandbox, or another one if it was made for something else.
    pub(super) fn take(
        self,
        spec: &ExecSpec,
        exec: &ExecDir,
        cgroups: &Cgroups,
    ) -> Result<Parked, Refusal> {
        if self.made_for.fits(spec, exec) {
            return Ok(Parked {
                made_for: Some(self.made_for),
                ..self.parked
            });
        }
        drop(self.parked);
        prepare::make_sandbox(&prepare::design(spec), exec.id(), cgroups)
    }
}

impl Supervisor {
    /// Whether the sandbox may turn out to be untouched, as far as this side can tell.
    pub(super) fn may_serve_again(&self) -> bool {
        let facts = &self.facts;
        self.made_for.is_some()
            && facts.leftovers == Some(0)
            && !facts.disk_full
            && facts.events == Some(facts.before.events)
            && self.sandbox.is_some()
    }
}

impl Reusable {
    /// A used sandbox, if its command left no trace in it; it is taken down otherwise.
    pub(super) fn check(
        made_for: MadeFor,
        mut sandbox: Sandbox,
        cgroup: Cgroup,
        scratch: Option<OwnedFd>,
        events: CgroupEvents,
    ) -> Option<Self> {
        // Process 1 alone: said by the group, beside what process 1 says of its namespace.
        if !sandbox.is_untouched() || cgroup.pids().map(|pids| pids.len()).ok() != Some(1) {
            return None;
        }
        let usage = cgroup.usage_from_here();
        if !made_for.is_as_small(&usage) {
            return None;
        }
        sandbox.scratch = scratch;
        let before = Counted { usage, events };
        Some(Self {
            parked: Parked {
                sandbox,
                cgroup: Some(cgroup),
                is_sealed: true,
                before,
                made_for: None,
            },
            made_for,
        })
    }
}
