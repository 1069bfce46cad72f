//! How an exec ended, as it travels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::BlockReason;

/// The end of one exec: the outcome's `kind` and fields, with what happened on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// How the command ended. Its fields stand beside the others.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Bounds that were hit on the way, whether or not they ended the command.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// Processes of the exec alive after the final kill. Zero, or the sandbox is broken.
    pub survivors: u32,
}

/// How the command ended. Every variant but `Unknown` is something the kernel said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Outcome {
    /// The command exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the command.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel says that it dumped core.
        core_dumped: bool,
    },
    /// The kernel killed a process of the exec at the memory limit, and the command failed.
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
        /// The highest usage seen by the kernel.
        peak_bytes: u64,
        /// How the command itself ended.
        status: ExitStatus,
    },
    /// The kernel refused a process or thread at the pids limit, and the command failed.
    PidsExhausted {
        /// The limit.
        limit: u32,
        /// How the command itself ended.
        status: ExitStatus,
    },
    /// The sandbox's private file system was full, and the command failed.
    DiskFull {
        /// The limit.
        limit_bytes: u64,
        /// How the command itself ended.
        status: ExitStatus,
    },
    /// The exec was stopped because it ran too long.
    TimedOut {
        /// The bound that was passed.
        after_ms: u64,
        /// Which clock passed it.
        clock: TimeoutClock,
    },
    /// The exec hung and was stopped for that.
    Blocked {
        /// Why it hung.
        reason: BlockReason,
        /// For how long it had hung, in milliseconds.
        duration_ms: u64,
        /// What the kernel showed of it, for a reader; one fact each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<String>,
        /// How the command itself ended when it was stopped, if that was seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<ExitStatus>,
    },
    /// The exec was stopped because someone asked.
    Cancelled,
    /// The command could not be started inside the sandbox.
    NotStarted {
        /// The errno of `execve`.
        errno: i32,
        /// What failed, for a reader.
        message: String,
    },
    /// Nobody saw the end; the kernel's word is lost. Never to be taken for success.
    Unknown {
        /// Why the end is not known.
        reason: String,
    },
}

/// How a process ended, as `waitpid` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
}

impl ExitStatus {
    /// The one number that messages carry: the exit code, or 128 + n for signal n.
    pub const fn code(self) -> i32 {
        match self {
            Self::Exited { code } => code,
            Self::Signaled { signal } => 128_i32.saturating_add(signal),
        }
    }
}

impl Outcome {
    /// How the command itself ended, where its own end is known. A command that was stopped
    /// ended by our signal, which says nothing about it.
    pub const fn exit_status(&self) -> Option<ExitStatus> {
        match self {
            Self::Exited { code } => Some(ExitStatus::Exited { code: *code }),
            Self::Signaled {
                signal,
                core_dumped: _,
            } => Some(ExitStatus::Signaled { signal: *signal }),
            Self::OutOfMemory { status, .. }
            | Self::PidsExhausted { status, .. }
            | Self::DiskFull { status, .. } => Some(*status),
            Self::TimedOut { .. }
            | Self::Blocked { .. }
            | Self::Cancelled
            | Self::NotStarted { .. }
            | Self::Unknown { .. } => None,
        }
    }

    /// The `exitCode` of messages: the command's own, 128 + n for signal n, 124 for a timeout,
    /// 122 when it hung and was stopped, 143 when it was cancelled. A limit that made the command fail is never 0. `None` when the
    /// command did not run or its end is not known.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { .. } | Self::Signaled { .. } => self.exit_status().map(ExitStatus::code),
            Self::OutOfMemory { status, .. }
            | Self::PidsExhausted { status, .. }
            | Self::DiskFull { status, .. } => Some(match status.code() {
                0 => 1,
                code => code,
            }),
            Self::TimedOut { .. } => Some(124),
            Self::Blocked { .. } => Some(122),
            Self::Cancelled => Some(143),
            Self::NotStarted { .. } | Self::Unknown { .. } => None,
        }
    }

    /// How it ended, as a short lowercase fragment for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Exited { code } => format!("exited with {code}"),
            Self::Signaled { signal, .. } => format!("ended by signal {signal}"),
            Self::OutOfMemory { .. } => "out of memory".to_owned(),
            Self::PidsExhausted { limit, .. } => format!("reached the limit of {limit} processes"),
            Self::DiskFull { .. } => "private disk full".to_owned(),
            Self::TimedOut {
                clock: TimeoutClock::Wall,
                ..
            } => "timed out".to_owned(),
            Self::TimedOut {
                clock: TimeoutClock::Silence,
                ..
            } => "timed out in silence".to_owned(),
            Self::Blocked { reason, .. } => format!("blocked: {}", reason.describe()),
            Self::Cancelled => "cancelled".to_owned(),
            Self::NotStarted { message, .. } => message.clone(),
            Self::Unknown { reason } => format!("unknown: {reason}"),
        }
    }
}

/// The clock that stopped an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutClock {
    /// Wall time since the start.
    Wall,
    /// Time since the last output.
    Silence,
}

/// A bound that was hit while the exec ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub enum Incident {
    /// The kernel killed processes at the memory limit.
    OomKills {
        /// How many.
        count: u64,
        /// The limit.
        limit_bytes: u64,
        /// The highest usage seen by the kernel.
        peak_bytes: u64,
    },
    /// The kernel refused new processes or threads at the pids limit.
    PidsLimitHits {
        /// How many were refused.
        count: u64,
        /// The limit.
        limit: u32,
    },
    /// The private file system was seen full.
    DiskFull {
        /// The limit.
        limit_bytes: u64,
    },
    /// The filtering proxy refused connections.
    NetworkRefused {
        /// The first few servers that were asked for, each with the reason.
        servers: Vec<String>,
        /// Connections refused in all.
        count: u64,
    },
    /// Processes outlived the command and were killed with it.
    LeftoversKilled {
        /// How many were seen.
        count: u32,
    },
    /// The middle of the log was cut to keep to its bound.
    LogCut {
        /// Bytes of output that are gone.
        bytes: u64,
    },
    /// The log could not be written; output is missing from here on.
    LogWriteFailed {
        /// The system's message.
        message: String,
    },
}

/// What an exec's whole process tree used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// From start to end.
    pub wall_ms: u64,
    /// CPU time in user mode.
    pub cpu_user_ms: u64,
    /// CPU time in the kernel.
    pub cpu_system_ms: u64,
    /// Highest memory usage.
    pub memory_peak_bytes: u64,
    /// Read from storage.
    pub io_read_bytes: u64,
    /// Written to storage.
    pub io_write_bytes: u64,
    /// Most processes and threads alive at once, where the kernel counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_peak: Option<u64>,
    /// Where these figures come from.
    pub source: UsageSource,
}

/// Where usage figures come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// cgroup v2 counters: the whole tree, exact.
    CgroupV2,
    /// cgroup v1 counters: the whole tree, exact.
    CgroupV1,
    /// `wait4` totals: processes that were reaped; the peak is the largest single process.
    #[default]
    Rusage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_text() {
        let exited = ExitStatus::Exited { code: 1 };
        let killed = ExitStatus::Signaled { signal: 9 };
        for (outcome, text) in [
            (Outcome::Exited { code: 0 }, r#"{"kind":"exited","code":0}"#),
            (
                Outcome::Signaled {
                    signal: 11,
                    core_dumped: true,
                },
                r#"{"kind":"signaled","signal":11,"coreDumped":true}"#,
            ),
            (
                Outcome::OutOfMemory {
                    limit_bytes: 10,
                    peak_bytes: 9,
                    status: killed,
                },
                r#"{"kind":"out_of_memory","limitBytes":10,"peakBytes":9,"status":{"kind":"signaled","signal":9}}"#,
            ),
            (
                Outcome::PidsExhausted {
                    limit: 64,
                    status: exited,
                },
                r#"{"kind":"pids_exhausted","limit":64,"status":{"kind":"exited","code":1}}"#,
            ),
            (
                Outcome::DiskFull {
                    limit_bytes: 4096,
                    status: exited,
                },
                r#"{"kind":"disk_full","limitBytes":4096,"status":{"kind":"exited","code":1}}"#,
            ),
            (
                Outcome::TimedOut {
                    after_ms: 1500,
                    clock: TimeoutClock::Wall,
                },
                r#"{"kind":"timed_out","afterMs":1500,"clock":"wall"}"#,
            ),
            (
                Outcome::TimedOut {
                    after_ms: 5,
                    clock: TimeoutClock::Silence,
                },
                r#"{"kind":"timed_out","afterMs":5,"clock":"silence"}"#,
            ),
            (
                Outcome::Blocked {
                    reason: BlockReason::WaitingForInput,
                    duration_ms: 800,
                    evidence: vec!["it reads its standard input".into()],
                    status: Some(killed),
                },
                r#"{"kind":"blocked","reason":"waiting_for_input","durationMs":800,"evidence":["it reads its standard input"],"status":{"kind":"signaled","signal":9}}"#,
            ),
            (Outcome::Cancelled, r#"{"kind":"cancelled"}"#),
            (
                Outcome::NotStarted {
                    errno: 2,
                    message: "no such program".into(),
                },
                r#"{"kind":"not_started","errno":2,"message":"no such program"}"#,
            ),
            (
                Outcome::Unknown {
                    reason: "the supervisor was killed".into(),
                },
                r#"{"kind":"unknown","reason":"the supervisor was killed"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), text);
            assert_eq!(serde_json::from_str::<Outcome>(text).unwrap(), outcome);
        }
    }

    #[test]
    fn every_incident_has_its_text() {
        for (incident, text) in [
            (
                Incident::OomKills {
                    count: 2,
                    limit_bytes: 10,
                    peak_bytes: 9,
                },
                r#"{"kind":"oom_kills","count":2,"limitBytes":10,"peakBytes":9}"#,
            ),
            (
                Incident::PidsLimitHits {
                    count: 3,
                    limit: 64,
                },
                r#"{"kind":"pids_limit_hits","count":3,"limit":64}"#,
            ),
            (
                Incident::DiskFull { limit_bytes: 5 },
                r#"{"kind":"disk_full","limitBytes":5}"#,
            ),
            (
                Incident::NetworkRefused {
                    servers: vec!["crates.io:443".into()],
                    count: 2,
                },
                r#"{"kind":"network_refused","servers":["crates.io:443"],"count":2}"#,
            ),
            (
                Incident::LeftoversKilled { count: 1 },
                r#"{"kind":"leftovers_killed","count":1}"#,
            ),
            (
                Incident::LogCut { bytes: 7 },
                r#"{"kind":"log_cut","bytes":7}"#,
            ),
            (
                Incident::LogWriteFailed {
                    message: "disk full".into(),
                },
                r#"{"kind":"log_write_failed","message":"disk full"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&incident).unwrap(), text);
            assert_eq!(serde_json::from_str::<Incident>(text).unwrap(), incident);
        }
    }

    #[test]
    fn a_verdict_shows_its_outcome_first() {
        let verdict = Verdict {
            outcome: Outcome::Exited { code: 1 },
            incidents: vec![Incident::LeftoversKilled { count: 2 }],
            survivors: 0,
        };
        let text = concat!(
            r#"{"kind":"exited","code":1,"#,
            r#""incidents":[{"kind":"leftovers_killed","count":2}],"survivors":0}"#,
        );
        assert_eq!(serde_json::to_string(&verdict).unwrap(), text);
        assert_eq!(serde_json::from_str::<Verdict>(text).unwrap(), verdict);
    }

    #[test]
    fn a_verdict_without_a_known_kind_is_an_error() {
        for text in [
            r#"{"survivors":0}"#,
            r#"{"kind":"fine","survivors":0}"#,
            r#"{"kind":"exited","survivors":0}"#,
            r#"{"kind":"exited","code":0}"#,
        ] {
            assert!(serde_json::from_str::<Verdict>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn usage_names_its_units() {
        let usage = Usage {
            wall_ms: 1,
            pids_peak: Some(3),
            ..Usage::default()
        };
        let text = concat!(
            r#"{"wallMs":1,"cpuUserMs":0,"cpuSystemMs":0,"memoryPeakBytes":0,"#,
            r#""ioReadBytes":0,"ioWriteBytes":0,"pidsPeak":3,"source":"rusage"}"#,
        );
        assert_eq!(serde_json::to_string(&usage).unwrap(), text);
        assert_eq!(serde_json::from_str::<Usage>(text).unwrap(), usage);
        for (source, text) in [
            (UsageSource::CgroupV2, "\"cgroup_v2\""),
            (UsageSource::CgroupV1, "\"cgroup_v1\""),
        ] {
            assert_eq!(serde_json::to_string(&source).unwrap(), text);
        }
    }

    #[test]
    fn a_signal_death_has_exit_code_128_plus_n() {
        let code = |outcome: Outcome| outcome.exit_status().map(ExitStatus::code);
        assert_eq!(code(Outcome::Exited { code: 3 }), Some(3));
        assert_eq!(
            code(Outcome::Signaled {
                signal: 9,
                core_dumped: false
            }),
            Some(137)
        );
        let status = ExitStatus::Signaled { signal: 9 };
        assert_eq!(
            code(Outcome::OutOfMemory {
                limit_bytes: 1,
                peak_bytes: 1,
                status
            }),
            Some(137)
        );
        assert_eq!(code(Outcome::Cancelled), None);
        assert_eq!(
            code(Outcome::Unknown {
                reason: String::new()
            }),
            None
        );
    }
}
