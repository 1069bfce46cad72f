//! `cogo doctor`: what this host can enforce, and how to get more.

use std::fmt::Write as _;

use clap::Args;
use cogo_sandbox::cgroup::{CgroupCapabilities, CgroupVersion, Cgroups};
use cogo_sandbox::probe::{Check, HostReport, Status, Tier};
use cogo_sandbox::spec::Isolation;
use serde::Serialize;

use crate::exit_code;
use crate::failure::{Failure, print};
use crate::paint::{Color, Painter};

const LONG: &str = "\
Tell what this host can enforce, and how to get more

Tries each feature once and leaves nothing behind. Exits with 0 if `--isolation strict` works \
here, and with 1 if only a weaker one does.";

/// Tell what this host can enforce, and how to get more
#[derive(Args, Debug)]
#[command(long_about = LONG)]
pub(crate) struct Options {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Reports; the exit code is 0 if the strict tier is available and 1 if not.
pub(crate) fn run(options: &Options) -> Result<u8, Failure> {
    let cgroups = Cgroups::discover(None);
    let report = HostReport::probe(cgroup_checks(cgroups.capabilities()));
    let text = if options.json {
        json(&report)?
    } else {
        table(&report, Painter::stdout())
    };
    print(&text)?;
    Ok(match report.supports(Isolation::Strict) {
        Ok(()) => 0,
        Err(_) => exit_code::FAILURE,
    })
}

/// What control groups can do, as checks. The reasons for what is missing are told once.
pub(crate) fn cgroup_checks(capabilities: &CgroupCapabilities) -> Vec<Check> {
    let version = match capabilities.version {
        CgroupVersion::None => "no control groups",
        CgroupVersion::V1 => "control groups v1",
        CgroupVersion::Hybrid => "control groups v1 and v2",
        CgroupVersion::V2 => "control groups v2",
    };
    // What it is, whether it is there, who needs it, and what happens without it.
    let table = [
        (
            "memory limit",
            capabilities.memory,
            Some(Isolation::Strict),
            "each process is limited",
        ),
        (
            "pids limit",
            capabilities.pids,
            Some(Isolation::Strict),
            "each user is limited",
        ),
        ("cpu limit", capabilities.cpu, None, "--cpus is refused"),
        (
            "kill in one step",
            capabilities.atomic_kill,
            None,
            "processes are killed in rounds",
        ),
        (
            "freezer",
            capabilities.freezer,
            None,
            "a fork bomb is killed while it runs",
        ),
        (
            "i/o accounting",
            capabilities.io,
            None,
            "reads and writes are counted by process",
        ),
    ];
    let mut checks: Vec<Check> = table
        .into_iter()
        .map(|(name, works, needed_from, without)| Check {
            name: name.to_owned(),
            status: match (works, needed_from) {
                (true, _) => Status::Ok,
                (false, Some(_)) => Status::Missing,
                (false, None) => Status::Weaker,
            },
            needed_from,
            detail: if works {
                version.to_owned()
            } else {
                format!("{version}: {without}")
            },
            hint: None,
        })
        .collect();
    if let Some(first) = checks.iter_mut().find(|check| check.status != Status::Ok) {
        first.hint = capabilities.reason();
    }
    checks
}

fn table(report: &HostReport, painter: Painter) -> String {
    let user = if report.uid == 0 {
        "root".to_owned()
    } else {
        format!("user {}", report.uid)
    };
    let mut text = format!(
        "Linux {} on {}, as {user}\n\n",
        report.kernel, report.architecture
    );
    let width = report
        .checks
        .iter()
        .map(|check| check.name.chars().count())
        .max();
    let width = width.unwrap_or_default();
    for check in &report.checks {
        let status = painter.paint(color(check.status), format!("{:7}", word(check.status)));
        let _ = writeln!(text, "{status}  {:width$}  {}", check.name, check.detail);
        if let Some(hint) = &check.hint {
            let _ = writeln!(text, "         {:width$}  hint: {hint}", "");
        }
    }
    text.push('\n');
    for tier in &report.tiers {
        text.push_str(&tier_line(tier, painter));
    }
    text
}

fn tier_line(tier: &Tier, painter: Painter) -> String {
    let name = format!("--isolation {}", tier_name(tier.isolation));
    if tier.missing.is_empty() {
        return format!("{name:22}  {}\n", painter.paint(Color::Green, "available"));
    }
    let refused = painter.paint(Color::Red, "refused");
    format!(
        "{name:22}  {refused}, for lack of: {}\n",
        tier.missing.join(", ")
    )
}

fn tier_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Strict => "strict",
        Isolation::Standard => "standard",
        Isolation::None => "none",
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Weaker => "weaker",
        Status::Missing => "missing",
    }
}

fn color(status: Status) -> Color {
    match status {
        Status::Ok => Color::Green,
        Status::Weaker => Color::Yellow,
        Status::Missing => Color::Red,
    }
}

/// The report as `--json` tells it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    kernel: &'a str,
    architecture: &'a str,
    uid: u32,
    checks: Vec<ReportCheck<'a>>,
    tiers: Vec<ReportTier<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportCheck<'a> {
    name: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    needed_from: Option<&'static str>,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportTier<'a> {
    isolation: &'static str,
    available: bool,
    missing: &'a [String],
}

fn json(report: &HostReport) -> Result<String, Failure> {
    let checks = report.checks.iter().map(|check| ReportCheck {
        name: &check.name,
        status: word(check.status),
        needed_from: check.needed_from.map(tier_name),
        detail: &check.detail,
        hint: check.hint.as_deref(),
    });
    let tiers = report.tiers.iter().map(|tier| ReportTier {
        isolation: tier_name(tier.isolation),
        available: tier.missing.is_empty(),
        missing: &tier.missing,
    });
    let report = Report {
        kernel: &report.kernel,
        architecture: &report.architecture,
        uid: report.uid,
        checks: checks.collect(),
        tiers: tiers.collect(),
    };
    Ok(serde_json::to_string(&report)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(memory: bool) -> CgroupCapabilities {
        CgroupCapabilities {
            version: CgroupVersion::V2,
            memory,
            pids: true,
            cpu: true,
            io: true,
            atomic_kill: true,
            freezer: true,
            reasons: if memory {
                Vec::new()
            } else {
                vec!["delegate it".to_owned()]
            },
        }
    }

    #[test]
    fn a_missing_limit_costs_the_strict_tier_and_says_why() {
        let checks = cgroup_checks(&capabilities(false));
        let memory = &checks[0];
        assert_eq!(memory.status, Status::Missing);
        assert_eq!(memory.needed_from, Some(Isolation::Strict));
        assert_eq!(memory.hint.as_deref(), Some("delegate it"));
        assert!(
            cgroup_checks(&capabilities(true))
                .iter()
                .all(|check| check.status == Status::Ok)
        );
    }

    #[test]
    fn the_table_tells_checks_hints_and_tiers() {
        let report = HostReport {
            kernel: "6.18.0".to_owned(),
            architecture: "x86_64".to_owned(),
            uid: 1000,
            checks: cgroup_checks(&capabilities(false))
                .into_iter()
                .take(2)
                .collect(),
            tiers: vec![
                Tier {
                    isolation: Isolation::Strict,
                    missing: vec!["memory limit".to_owned()],
                },
                Tier {
                    isolation: Isolation::None,
                    missing: Vec::new(),
                },
            ],
        };
        let expected = "\
Linux 6.18.0 on x86_64, as user 1000

missing  memory limit  control groups v2: each process is limited
                       hint: delegate it
ok       pids limit    control groups v2

--isolation strict      refused, for lack of: memory limit
--isolation none        available
";
        assert_eq!(table(&report, Painter::plain()), expected);
    }
}
