//! How well hangs are told from honest work, and how fast: the whole labelled corpus.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use cogo_sandbox::start::Launcher;
use cogo_sandbox::toolchains;

use crate::harness::{self, Host, Outcome, Program};

/// Runs programs whose name contains one of `filters`, or all.
pub(crate) fn run(filters: &[String], at_once: usize) -> anyhow::Result<()> {
    let corpus = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/blocks"));
    let mut programs = Program::all(&corpus.canonicalize().context("no corpus")?);
    programs.retain(|program| {
        filters.is_empty() || filters.iter().any(|filter| program.name.contains(filter))
    });
    let outcomes = harness::run(programs, at_once, &Launcher::default(), &host()?);
    for outcome in &outcomes {
        print(outcome, !filters.is_empty());
    }
    print_matrix(&outcomes);
    print_reasons(&outcomes);
    print_times(&outcomes);
    Ok(())
}

fn host() -> anyhow::Result<Host> {
    let home = PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?);
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(Host {
        path: toolchains::path_entries(&home, &path),
        shown: toolchains::shown(&home),
        home,
    })
}

fn print(outcome: &Outcome, with_evidence: bool) {
    let program = &outcome.program;
    let verdict = match (&outcome.failure, outcome.is_right()) {
        (Some(failure), _) => format!("not run: {failure}"),
        (None, true) => "right".to_owned(),
        (None, false) if outcome.is_false_accusation() => "FALSE ACCUSATION".to_owned(),
        (None, false) if outcome.is_missed() => "MISSED".to_owned(),
        (None, false) => "WRONG REASON".to_owned(),
    };
    let found = outcome.found.as_ref().map_or_else(
        || "–".to_owned(),
        |found| {
            format!(
                "{} after {}",
                harness::name(found.reason),
                time(found.after)
            )
        },
    );
    println!(
        "{:<32} {:<16} {found:<34} {verdict}",
        program.name,
        program.label()
    );
    let evidence = outcome.found.iter().flat_map(|found| &found.evidence);
    for line in evidence.filter(|_| with_evidence || !outcome.is_right()) {
        println!("    {line}");
    }
}

/// What was said, by label.
fn print_matrix(outcomes: &[Outcome]) {
    let said = |outcome: &Outcome| {
        let found = outcome.found.as_ref();
        found.map_or_else(|| "nothing".to_owned(), |found| harness::name(found.reason))
    };
    let labels: BTreeSet<String> = outcomes
        .iter()
        .map(|outcome| outcome.program.label())
        .collect();
    let columns: BTreeSet<String> = outcomes.iter().map(said).collect();
    println!(
        "\n{:<18}{}",
        "label \\ said",
        columns
            .iter()
            .map(|name| format!("{name:>17}"))
            .collect::<String>()
    );
    for label in labels {
        let count = |column: &String| {
            let same =
                |outcome: &&Outcome| outcome.program.label() == label && said(outcome) == *column;
            outcomes.iter().filter(same).count()
        };
        println!(
            "{label:<18}{}",
            columns
                .iter()
                .map(|column| format!("{:>17}", count(column)))
                .collect::<String>()
        );
    }
}

fn print_reasons(outcomes: &[Outcome]) {
    println!(
        "\n{:<18}{:>10}{:>10}{:>10}",
        "reason", "programs", "precision", "recall"
    );
    let labels: BTreeSet<String> = outcomes
        .iter()
        .map(|outcome| outcome.program.label())
        .collect();
    for label in labels.iter().filter(|label| *label != "honest") {
        let labelled = || {
            outcomes
                .iter()
                .filter(|outcome| outcome.program.label() == *label)
        };
        let said = outcomes.iter().filter(|outcome| {
            let found = outcome.found.as_ref();
            // Where several names are right, the first stands for them.
            found.is_some_and(|found| harness::name(found.reason) == *label)
                || (outcome.is_right()
                    && outcome.found.is_some()
                    && outcome.program.label() == *label)
        });
        let right = labelled().filter(|outcome| outcome.is_right()).count();
        row(label, labelled().count(), right, said.count());
    }
    let blocked = outcomes
        .iter()
        .filter(|outcome| outcome.program.label() != "honest");
    let told = outcomes
        .iter()
        .filter(|outcome| outcome.found.is_some())
        .count();
    let seen = blocked
        .clone()
        .filter(|outcome| !outcome.is_missed())
        .count();
    row("blocked at all", blocked.clone().count(), seen, told);
    let right = blocked.clone().filter(|outcome| outcome.is_right()).count();
    row("with its reason", blocked.count(), right, told);
    let accused = outcomes
        .iter()
        .filter(|outcome| outcome.is_false_accusation())
        .count();
    println!(
        "honest programs accused: {accused}; ended by default: 0, as the default policy ends nothing"
    );
}

fn row(name: &str, programs: usize, right: usize, said: usize) {
    let share = |whole: usize| {
        if whole == 0 {
            "–".to_owned()
        } else {
            format!("{:.3}", right as f64 / whole as f64)
        }
    };
    println!(
        "{name:<18}{programs:>10}{:>10}{:>10}",
        share(said),
        share(programs)
    );
}

fn print_times(outcomes: &[Outcome]) {
    let mut times: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for outcome in outcomes
        .iter()
        .filter(|outcome| outcome.program.label() != "honest")
    {
        if let Some(found) = &outcome.found {
            times
                .entry(outcome.program.label())
                .or_default()
                .push(found.after);
        }
    }
    println!(
        "\n{:<18}{:>10}{:>10}{:>10}{:>10}",
        "time to detection", "programs", "p50", "p95", "max"
    );
    for (label, mut times) in times {
        times.sort();
        let at = |share: f64| {
            time(times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1])
        };
        println!(
            "{label:<18}{:>10}{:>10}{:>10}{:>10}",
            times.len(),
            at(0.5),
            at(0.95),
            at(1.0)
        );
    }
    println!("memory and pids: from the kernel's event as a reader sees it that polls every 2 ms");
}

fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}
