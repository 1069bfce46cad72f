//! From what the kernel said to a verdict.

use std::time::Duration;

use super::output::LogOutcome;
use super::{Counted, StopCause};
use crate::cgroup::{CgroupEvents, CgroupUsage};
use crate::spec::Limits;
use crate::sys::ReapedUsage;
use crate::verdict::{ExitStatus, Incident, Outcome, Usage, UsageSource};

/// Most refused servers named in a verdict.
const SERVERS_MAX: usize = 16;

/// Connections that the proxy refused. Bounded, because a program may try for ever.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkRefusals {
    servers: Vec<String>,
    count: u64,
}

impl NetworkRefusals {
    pub(super) fn add(&mut self, refusals: Vec<String>) {
        self.count += refusals.len() as u64;
        for server in refusals {
            if self.servers.len() < SERVERS_MAX && !self.servers.contains(&server) {
                self.servers.push(server);
            }
        }
    }
}

/// Everything that was observed of one exec.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// How the command ended, if that was seen.
    pub(super) status: Option<ExitStatus>,
    pub(super) core_dumped: bool,
    /// Why it was stopped, if it was.
    pub(super) stop: Option<StopCause>,
    /// What the group had counted before the command started; the group of a session,
    /// or of a sandbox that served before, has a past.
    pub(super) before: Counted,
    pub(super) events: Option<CgroupEvents>,
    pub(super) cgroup_usage: Option<CgroupUsage>,
    /// Of the command and what it waited for.
    pub(super) command_usage: ReapedUsage,
    /// Of process 1 and everything that was reaped inside.
    pub(super) tree_usage: ReapedUsage,
    pub(super) scratch_size: u64,
    pub(super) disk_full: bool,
    /// Processes that outlived the command, where they were counted.
    pub(super) leftovers: Option<u32>,
    pub(super) survivors: u32,
    pub(super) network_refusals: NetworkRefusals,
    pub(super) wall: Duration,
    pub(super) log: LogOutcome,
}

impl Facts {
    /// How it ended, and what was hit on the way.
    pub(super) fn judge(&self, limits: &Limits) -> (Outcome, Vec<Incident>) {
        (self.outcome(limits), self.incidents(limits))
    }

    fn outcome(&self, limits: &Limits) -> Outcome {
        match &self.stop {
            Some(StopCause::TimedOut { after, clock }) => {
                let (after, clock) = (*after, *clock);
                return Outcome::TimedOut { after, clock };
            }
            Some(StopCause::Blocked(block)) => {
                return Outcome::Blocked {
                    block: block.clone(),
                    status: self.status,
                };
            }
            Some(StopCause::Cancelled) => return Outcome::Cancelled,
            None => {}
        }
        let events = self.events_since_start();
        let Some(status) = self.status else {
            // Process 1 lives in the memory group, so the kernel may have chosen it.
            if events.oom_kills > 0 {
                return self.out_of_memory(limits, ExitStatus::Signaled(libc::SIGKILL));
            }
            let reason = "the sandbox was killed from outside".to_owned();
            return Outcome::Unknown { reason };
        };
        if status == ExitStatus::Exited(0) {
            return Outcome::Exited { code: 0 };
        }
        if events.oom_kills > 0 {
            return self.out_of_memory(limits, status);
        }
        if let Some(limit) = limits.pids.filter(|_| events.pids_limit_hits > 0) {
            return Outcome::PidsExhausted { limit, status };
        }
        if self.disk_full {
            return Outcome::DiskFull {
                limit: self.scratch_size,
                status,
            };
        }
        match status {
            ExitStatus::Exited(code) => Outcome::Exited { code },
            ExitStatus::Signaled(signal) => Outcome::Signaled {
                signal,
                core_dumped: self.core_dumped,
            },
        }
    }

    fn events_since_start(&self) -> CgroupEvents {
        let now = self.events.unwrap_or_default();
        let before = self.before.events;
        CgroupEvents {
            oom_kills: now.oom_kills.saturating_sub(before.oom_kills),
            pids_limit_hits: now.pids_limit_hits.saturating_sub(before.pids_limit_hits),
        }
    }

    fn out_of_memory(&self, limits: &Limits, status: ExitStatus) -> Outcome {
        Outcome::OutOfMemory {
            limit: memory_limit(limits),
            peak: self.memory_peak(),
            status,
        }
    }

    fn incidents(&self, limits: &Limits) -> Vec<Incident> {
        let mut all = Vec::new();
        let events = self.events_since_start();
        if events.oom_kills > 0 {
            let (limit, peak) = (memory_limit(limits), self.memory_peak());
            all.push(Incident::OomKills {
                count: events.oom_kills,
                limit,
                peak,
            });
        }
        if let Some(limit) = limits.pids.filter(|_| events.pids_limit_hits > 0) {
            all.push(Incident::PidsLimitHits {
                count: events.pids_limit_hits,
                limit,
            });
        }
        if self.disk_full {
            all.push(Incident::DiskFull {
                limit: self.scratch_size,
            });
        }
        if let Some(count) = self.leftovers.filter(|count| *count > 0) {
            all.push(Incident::LeftoversKilled { count });
        }
        if self.network_refusals.count > 0 {
            let NetworkRefusals { servers, count } = self.network_refusals.clone();
            all.push(Incident::NetworkRefused { servers, count });
        }
        if self.log.end.cut_bytes > 0 {
            all.push(Incident::LogCut {
                bytes: self.log.end.cut_bytes,
            });
        }
        if let Some(message) = &self.log.failure {
            all.push(Incident::LogWriteFailed {
                message: message.clone(),
            });
        }
        all
    }

    fn memory_peak(&self) -> u64 {
        let of_group = self
            .cgroup_usage
            .as_ref()
            .and_then(|usage| usage.memory_peak);
        of_group.unwrap_or(self.command_usage.resident_peak)
    }

    /// What the tree used; `cgroup` names the version whose counters were read.
    pub(super) fn usage(&self, cgroup: &str) -> Usage {
        let source = match cgroup {
            _ if self.cgroup_usage.is_none() => UsageSource::Rusage,
            "v2" => UsageSource::CgroupV2,
            "v1" | "hybrid" => UsageSource::CgroupV1,
            _ => UsageSource::Rusage,
        };
        let group = self.cgroup_usage.clone().unwrap_or_default();
        // Process 1 tells of the tree when it is reaped, which need not be before the verdict.
        let (command, tree) = (&self.command_usage, &self.tree_usage);
        Usage {
            wall: self.wall,
            cpu_user: group.cpu_user.unwrap_or(tree.user.max(command.user)),
            cpu_system: group.cpu_system.unwrap_or(tree.system.max(command.system)),
            memory_peak: self.memory_peak(),
            io_read: group.io_read.unwrap_or(tree.read.max(command.read)),
            io_write: group.io_write.unwrap_or(tree.written.max(command.written)),
            pids_peak: group.pids_peak,
            source,
        }
    }
}

/// Without a limit of its own, an exec is killed at the host's.
fn memory_limit(limits: &Limits) -> u64 {
    limits.memory.unwrap_or_else(|| {
        let info = rustix::system::sysinfo();
        info.totalram * u64::from(info.mem_unit)
    })
}
