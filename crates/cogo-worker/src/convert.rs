//! From the sandbox's own types to those that travel, and back.

use std::time::Duration;

use cogo_protocol::block::BlockReason;
use cogo_protocol::exec::{self, Isolation};
use cogo_protocol::record::Stream;
use cogo_protocol::verdict::{
    ExitStatus, Incident, Outcome, TimeoutClock, Usage, UsageSource, Verdict,
};
use cogo_sandbox::{log, spec, verdict};

/// How an exec ended and what happened on the way, as it travels.
pub fn verdict(verdict: &verdict::Verdict) -> Verdict {
    Verdict {
        outcome: outcome(&verdict.outcome),
        incidents: verdict.incidents.iter().map(incident).collect(),
        survivors: verdict.survivors,
    }
}

/// Where a program wrote, as it travels.
pub fn stream(stream: log::Stream) -> Stream {
    match stream {
        log::Stream::Stdout => Stream::Stdout,
        log::Stream::Stderr => Stream::Stderr,
    }
}

/// A tier of isolation, as it travels.
pub fn isolation(isolation: spec::Isolation) -> Isolation {
    match isolation {
        spec::Isolation::Strict => Isolation::Strict,
        spec::Isolation::Standard => Isolation::Standard,
        spec::Isolation::None => Isolation::None,
    }
}

/// How an exec ended, as it travels.
pub fn outcome(outcome: &verdict::Outcome) -> Outcome {
    match outcome {
        verdict::Outcome::Exited { code } => Outcome::Exited { code: *code },
        verdict::Outcome::Signaled {
            signal,
            core_dumped,
        } => Outcome::Signaled {
            signal: *signal,
            core_dumped: *core_dumped,
        },
        verdict::Outcome::OutOfMemory {
            limit,
            peak,
            status,
        } => Outcome::OutOfMemory {
            limit_bytes: *limit,
            peak_bytes: *peak,
            status: self::status(*status),
        },
        verdict::Outcome::PidsExhausted { limit, status } => Outcome::PidsExhausted {
            limit: *limit,
            status: self::status(*status),
        },
        verdict::Outcome::DiskFull { limit, status } => Outcome::DiskFull {
            limit_bytes: *limit,
            status: self::status(*status),
        },
        verdict::Outcome::TimedOut { after, clock } => Outcome::TimedOut {
            after_ms: ms(*after),
            clock: match clock {
                verdict::TimeoutClock::Wall => TimeoutClock::Wall,
                verdict::TimeoutClock::Silence => TimeoutClock::Silence,
            },
        },
        verdict::Outcome::Blocked { block, status } => Outcome::Blocked {
            // A reason of a later version is one that this one does not know.
            reason: BlockReason::from_name(&block.reason).unwrap_or(BlockReason::Unknown),
            duration_ms: ms(block.duration),
            evidence: block.evidence.clone(),
            status: status.map(self::status),
        },
        verdict::Outcome::Cancelled => Outcome::Cancelled,
        verdict::Outcome::NotStarted { errno, message } => Outcome::NotStarted {
            errno: *errno,
            message: message.clone(),
        },
        verdict::Outcome::Unknown { reason } => Outcome::Unknown {
            reason: reason.clone(),
        },
    }
}

fn status(status: verdict::ExitStatus) -> ExitStatus {
    match status {
        verdict::ExitStatus::Exited(code) => ExitStatus::Exited { code },
        verdict::ExitStatus::Signaled(signal) => ExitStatus::Signaled { signal },
    }
}

/// A bound that was hit, as it travels.
pub fn incident(incident: &verdict::Incident) -> Incident {
    match incident {
        verdict::Incident::OomKills { count, limit, peak } => Incident::OomKills {
            count: *count,
            limit_bytes: *limit,
            peak_bytes: *peak,
        },
        verdict::Incident::PidsLimitHits { count, limit } => Incident::PidsLimitHits {
            count: *count,
            limit: *limit,
        },
        verdict::Incident::DiskFull { limit } => Incident::DiskFull {
            limit_bytes: *limit,
        },
        verdict::Incident::LeftoversKilled { count } => Incident::LeftoversKilled { count: *count },
        verdict::Incident::LogCut { bytes } => Incident::LogCut { bytes: *bytes },
        verdict::Incident::NetworkRefused { servers, count } => Incident::NetworkRefused {
            servers: servers.clone(),
            count: *count,
        },
        verdict::Incident::LogWriteFailed { message } => Incident::LogWriteFailed {
            message: message.clone(),
        },
    }
}

/// What an exec used, as it travels.
pub fn usage(usage: &verdict::Usage) -> Usage {
    Usage {
        wall_ms: ms(usage.wall),
        cpu_user_ms: ms(usage.cpu_user),
        cpu_system_ms: ms(usage.cpu_system),
        memory_peak_bytes: usage.memory_peak,
        io_read_bytes: usage.io_read,
        io_write_bytes: usage.io_write,
        pids_peak: usage.pids_peak,
        source: match usage.source {
            verdict::UsageSource::CgroupV2 => UsageSource::CgroupV2,
            verdict::UsageSource::CgroupV1 => UsageSource::CgroupV1,
            verdict::UsageSource::Rusage => UsageSource::Rusage,
        },
    }
}

/// Whole milliseconds.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A tier of isolation, as the sandbox takes it.
pub fn isolation_wanted(isolation: Isolation) -> spec::Isolation {
    match isolation {
        Isolation::Strict => spec::Isolation::Strict,
        Isolation::Standard => spec::Isolation::Standard,
        Isolation::None => spec::Isolation::None,
    }
}

/// A network, as the sandbox takes it.
pub fn network_wanted(network: &exec::Network) -> spec::Network {
    match network {
        exec::Network::None => spec::Network::None,
        exec::Network::Host => spec::Network::Host,
        exec::Network::Allow(domains) => spec::Network::Allow(domains.clone()),
    }
}

/// The size of a terminal, as the sandbox takes it.
pub fn pty_size(size: exec::PtySize) -> spec::PtySize {
    spec::PtySize {
        rows: size.rows,
        columns: size.columns,
    }
}

/// What becomes of changes, as the sandbox takes it.
pub fn workspace_mode(mode: exec::WorkspaceMode) -> spec::WorkspaceMode {
    match mode {
        exec::WorkspaceMode::Direct => spec::WorkspaceMode::Direct,
        exec::WorkspaceMode::Copy => spec::WorkspaceMode::Copy,
        exec::WorkspaceMode::ReadOnly => spec::WorkspaceMode::ReadOnly,
    }
}
