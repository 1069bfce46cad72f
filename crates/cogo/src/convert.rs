//! From the sandbox's own types to those that travel, and to the JSON lines made of them.

use std::ops::Range;
use std::time::Duration;

use cogo_protocol::event::{Finished, Notice, RunEvent, Started};
use cogo_protocol::exec::Isolation;
use cogo_protocol::id::ExecId;
use cogo_protocol::record::{Chunk, OutputRecord, Stream};
use cogo_protocol::verdict::{
    ExitStatus, Incident, Outcome, TimeoutClock, Usage, UsageSource, Verdict,
};
use cogo_sandbox::exec_dir::{ExecDir, Running};
use cogo_sandbox::{log, spec, verdict};

use crate::failure::Failure;
use crate::instant;

/// The line that says that the command runs.
pub(crate) fn started(exec: &ExecDir, running: &Running) -> Result<String, Failure> {
    Ok(line(&RunEvent::Started(Started {
        exec_id: id(exec)?,
        timestamp_ms: running.started_at_ms,
        pid: running.command_pid.and_then(|pid| u32::try_from(pid).ok()),
        isolation: isolation(running.enforced.isolation),
        exec_dir: exec.path().to_str().map(str::to_owned),
    })))
}

/// The line of a piece of output, written so many milliseconds after 1970.
pub(crate) fn output(seq: u64, stream: log::Stream, timestamp_ms: u64, chunk: Chunk) -> String {
    let stream = match stream {
        log::Stream::Stdout => Stream::Stdout,
        log::Stream::Stderr => Stream::Stderr,
    };
    line(&RunEvent::Output(OutputRecord {
        seq,
        stream,
        timestamp_ms,
        chunk,
    }))
}

/// The line that says that output is missing.
pub(crate) fn cut(missing: &Range<u64>, bytes: u64) -> String {
    line(&RunEvent::Notice(Notice {
        timestamp_ms: instant::now_ms(),
        code: "log_cut".to_owned(),
        message: format!(
            "records {} to {} with {bytes} bytes were cut to keep the log in its bound",
            missing.start,
            missing.end.saturating_sub(1)
        ),
        hint: Some("give the log more room with --log-size".to_owned()),
    }))
}

/// The line of a hint.
pub(crate) fn hint(code: &str, message: &str, hint: &str) -> String {
    line(&RunEvent::Notice(Notice {
        timestamp_ms: instant::now_ms(),
        code: code.to_owned(),
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    }))
}

/// The last line.
pub(crate) fn finished(
    exec: &ExecDir,
    verdict: &verdict::Verdict,
    exit_code: u8,
) -> Result<String, Failure> {
    Ok(line(&RunEvent::Finished(Finished {
        exec_id: id(exec)?,
        timestamp_ms: verdict.ended_at_ms,
        verdict: Verdict {
            outcome: outcome(&verdict.outcome),
            incidents: verdict.incidents.iter().map(incident).collect(),
            survivors: verdict.survivors,
        },
        usage: usage(&verdict.usage),
        exit_code: i32::from(exit_code),
        log_end: verdict.log_end,
    })))
}

fn line(event: &RunEvent) -> String {
    let mut line = serde_json::to_string(event).expect("events have string keys only");
    line.push('\n');
    line
}

fn id(exec: &ExecDir) -> Result<ExecId, Failure> {
    Ok(exec.id().parse()?)
}

pub(crate) fn isolation(isolation: spec::Isolation) -> Isolation {
    match isolation {
        spec::Isolation::Strict => Isolation::Strict,
        spec::Isolation::Standard => Isolation::Standard,
        spec::Isolation::None => Isolation::None,
    }
}

/// How an exec ended, as it travels.
pub(crate) fn outcome(outcome: &verdict::Outcome) -> Outcome {
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

fn incident(incident: &verdict::Incident) -> Incident {
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

fn usage(usage: &verdict::Usage) -> Usage {
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

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
