//! One line on how an exec ended.

use std::time::Duration;

use cogo_protocol::block::BlockReason;
use cogo_sandbox::verdict::{ExitStatus, Incident, Outcome, TimeoutClock, Usage, Verdict};

use crate::measure;
use crate::paint::{Color, Painter};

/// The verdict and what the exec used: `exited 0 · in 1.20 s · cpu 0.84 s · memory peak 36 MiB`.
pub(crate) fn line(verdict: &Verdict, painter: Painter) -> String {
    let color = match &verdict.outcome {
        Outcome::Exited { code: 0 } => Color::Green,
        Outcome::Cancelled => Color::Yellow,
        _ => Color::Red,
    };
    let mut parts = vec![painter.paint(color, outcome(&verdict.outcome))];
    parts.extend(usage(&verdict.outcome, &verdict.usage));
    parts.extend(
        verdict
            .incidents
            .iter()
            .filter_map(|found| incident(found, &verdict.outcome)),
    );
    if verdict.survivors > 0 {
        let text = format!("{} processes survived the kill", verdict.survivors);
        parts.push(painter.paint(Color::Red, text));
    }
    parts.join(" · ")
}

/// The outcome in words.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => status_text(ExitStatus::Exited(*code)),
        Outcome::Signaled {
            signal,
            core_dumped,
        } => {
            let core = if *core_dumped { " (core dumped)" } else { "" };
            format!("{}{core}", status_text(ExitStatus::Signaled(*signal)))
        }
        Outcome::OutOfMemory {
            limit,
            peak,
            status,
        } => format!(
            "out of memory (limit {}, peak {}), {}",
            measure::bytes(*limit),
            measure::bytes(*peak),
            status_text(*status)
        ),
        Outcome::PidsExhausted { limit, status } => {
            format!("out of processes (limit {limit}), {}", status_text(*status))
        }
        Outcome::DiskFull { limit, status } => {
            format!(
                "disk full (limit {}), {}",
                measure::bytes(*limit),
                status_text(*status)
            )
        }
        Outcome::TimedOut {
            after,
            clock: TimeoutClock::Wall,
        } => {
            format!("timed out after {}", measure::time(*after))
        }
        Outcome::TimedOut {
            after,
            clock: TimeoutClock::Silence,
        } => {
            format!("timed out after {} of silence", measure::time(*after))
        }
        Outcome::Blocked { block, .. } => format!(
            "stopped because it was blocked: {}",
            reason_text(&block.reason)
        ),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::NotStarted { message, .. } => format!("not started: {message}"),
        Outcome::Unknown { reason } => format!("unknown: {reason}"),
    }
}

/// A block's reason in words; that of a later version as it is named.
fn reason_text(name: &str) -> &str {
    match BlockReason::from_name(name) {
        Some(reason) => reason.describe(),
        None => name,
    }
}

fn status_text(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("exited {code}"),
        ExitStatus::Signaled(signal) => format!("killed by {}", signal_name(signal)),
    }
}

fn usage(outcome: &Outcome, usage: &Usage) -> Vec<String> {
    if matches!(
        outcome,
        Outcome::NotStarted { .. } | Outcome::Unknown { .. }
    ) {
        return Vec::new();
    }
    let cpu: Duration = usage.cpu_user + usage.cpu_system;
    vec![
        format!("in {}", measure::time(usage.wall)),
        format!("cpu {}", measure::time(cpu)),
        format!("memory peak {}", measure::bytes(usage.memory_peak)),
    ]
}

/// What happened on the way, unless the outcome tells of it.
fn incident(incident: &Incident, outcome: &Outcome) -> Option<String> {
    match incident {
        Incident::OomKills { .. } if matches!(outcome, Outcome::OutOfMemory { .. }) => None,
        Incident::PidsLimitHits { .. } if matches!(outcome, Outcome::PidsExhausted { .. }) => None,
        Incident::DiskFull { .. } if matches!(outcome, Outcome::DiskFull { .. }) => None,
        Incident::OomKills { count, limit, .. } => Some(format!(
            "{count} killed at the memory limit of {}",
            measure::bytes(*limit)
        )),
        Incident::PidsLimitHits { count, limit } => Some(format!(
            "{} refused at the limit of {}",
            measure::count(*count, "fork"),
            measure::count(u64::from(*limit), "process")
        )),
        Incident::DiskFull { limit } => Some(format!(
            "private disk of {} was full",
            measure::bytes(*limit)
        )),
        Incident::LeftoversKilled { count } => Some(format!(
            "{} killed",
            measure::count(u64::from(*count), "left-over process")
        )),
        Incident::LogCut { bytes } => Some(format!(
            "{} of output cut from the log",
            measure::bytes(*bytes)
        )),
        Incident::NetworkRefused { count, .. } => {
            Some(format!("{} refused", measure::count(*count, "connection")))
        }
        Incident::LogWriteFailed { .. } => Some("the log is not complete".to_owned()),
    }
}

/// `SIGKILL` for 9.
pub(crate) fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal)
        .map_or_else(|| format!("signal {signal}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome, incidents: Vec<Incident>) -> Verdict {
        let usage = Usage {
            wall: Duration::from_millis(1200),
            cpu_user: Duration::from_millis(800),
            cpu_system: Duration::from_millis(40),
            memory_peak: 36 << 20,
            ..Usage::default()
        };
        Verdict {
            outcome,
            incidents,
            usage,
            survivors: 0,
            log_end: 0,
            ended_at_ms: 0,
        }
    }

    fn shown(outcome: Outcome, incidents: Vec<Incident>) -> String {
        line(&verdict(outcome, incidents), Painter::plain())
    }

    #[test]
    fn the_line_tells_verdict_and_usage() {
        let text = shown(Outcome::Exited { code: 0 }, Vec::new());
        assert_eq!(
            text,
            "exited 0 · in 1.20 s · cpu 0.84 s · memory peak 36 MiB"
        );
    }

    #[test]
    fn what_the_outcome_tells_is_not_told_twice() {
        let oom_kills = || Incident::OomKills {
            count: 2,
            limit: 64 << 20,
            peak: 64 << 20,
        };
        let status = ExitStatus::Exited(1);
        let oom = Outcome::OutOfMemory {
            limit: 64 << 20,
            peak: 64 << 20,
            status,
        };
        assert_eq!(
            shown(oom, vec![oom_kills()]),
            "out of memory (limit 64 MiB, peak 64 MiB), exited 1 · in 1.20 s · cpu 0.84 s · \
             memory peak 36 MiB"
        );
        assert_eq!(
            shown(Outcome::Exited { code: 0 }, vec![oom_kills()]),
            "exited 0 · in 1.20 s · cpu 0.84 s · memory peak 36 MiB · 2 killed at the memory \
             limit of 64 MiB"
        );
    }

    #[test]
    fn an_unknown_end_shows_no_figures() {
        let unknown = Outcome::Unknown {
            reason: "the supervisor died".to_owned(),
        };
        assert_eq!(shown(unknown, Vec::new()), "unknown: the supervisor died");
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(11), "SIGSEGV");
        assert_eq!(signal_name(40), "signal 40");
        let outcome = Outcome::Signaled {
            signal: 6,
            core_dumped: true,
        };
        assert!(shown(outcome, Vec::new()).starts_with("killed by SIGABRT (core dumped) · in"));
    }
}
