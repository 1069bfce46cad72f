//! Measures fixers on a corpus of broken Rust programs: how many of them compile afterwards.
//!
//! Programs are compiled, not run, and without a sandbox: the corpus has to be one that may be trusted
//! that far.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use clap::Parser as _;
use cogo_plan::dispatch::{Cancel, Dispatch, DispatchError, Progress, Work};
use cogo_plan::fix::{Command, End, Means, Report, Settings, Tree, fix};
use cogo_protocol::record::Stream;
use cogo_protocol::verdict::Outcome;
use serde::Deserialize;

/// Measures fixers on a corpus of broken Rust programs.
#[derive(clap::Parser)]
struct Arguments {
    /// Cases, one JSON object a line: `id`, `flags`, `broken`.
    #[arg(long, env = "COGO_RUST_FIXES_CORPUS")]
    corpus: PathBuf,
    /// Name the cases that do not compile, with what is left.
    #[arg(long)]
    failures: bool,
    /// Only cases whose name contains this; their attempts are shown.
    #[arg(long)]
    only: Option<String>,
    /// Compilers at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    flags: Vec<String>,
    broken: String,
}

#[derive(Default)]
struct Score {
    cases: usize,
    compile: usize,
    better: usize,
    worse: usize,
    attempts: usize,
}

/// Runs the compiler as it is.
struct Compiler;

impl Dispatch for Compiler {
    fn run(
        &self,
        work: &Work,
        tell: &mut dyn FnMut(Progress<'_>),
        _cancel: &Cancel,
    ) -> Result<Outcome, DispatchError> {
        let failed = |error: std::io::Error| DispatchError {
            message: format!("failed to start `{}`: {error}", work.argv[0]),
            hint: None,
        };
        let output = process::Command::new(&work.argv[0])
            .args(&work.argv[1..])
            .current_dir(&work.cwd)
            // The corpus has programs for nightly features.
            .env("RUSTC_BOOTSTRAP", "1")
            .output()
            .map_err(failed)?;
        tell(Progress::Output(Stream::Stdout, &output.stdout));
        tell(Progress::Output(Stream::Stderr, &output.stderr));
        Ok(Outcome::Exited {
            code: output.status.code().unwrap_or(101),
        })
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let text = fs::read_to_string(&arguments.corpus)
        .with_context(|| format!("failed to read `{}`", arguments.corpus.display()))?;
    let cases: Vec<Case> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let wanted = |case: &&Case| {
        arguments
            .only
            .as_ref()
            .is_none_or(|only| case.id.contains(only))
    };
    let cases: Vec<&Case> = cases.iter().filter(wanted).collect();
    let scores: Mutex<BTreeMap<String, Score>> = Mutex::default();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let report = run(case)?;
                        show(&arguments, case, &report);
                        let mut scores = scores.lock().expect("no holder panics");
                        let source = case.id.split(':').next().unwrap_or_default();
                        count(scores.entry(source.to_owned()).or_default(), &report);
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    for (source, score) in scores.into_inner().expect("no holder panics") {
        println!(
            "{source}: {} of {} compile ({:.1} %), {} more have fewer errors, {} have more; {:.1} attempts each",
            score.compile,
            score.cases,
            100.0 * score.compile as f64 / score.cases as f64,
            score.better,
            score.worse,
            score.attempts as f64 / score.cases as f64,
        );
    }
    Ok(())
}

fn run(case: &Case) -> Result<Report> {
    let place = tempfile::tempdir()?;
    let (workspace, copy) = (place.path().join("workspace"), place.path().join("copy"));
    fs::create_dir(&workspace)?;
    fs::write(workspace.join("main.rs"), &case.broken)?;
    let mut argv = vec!["rustc".to_owned(), "main.rs".to_owned()];
    argv.extend(case.flags.iter().cloned());
    argv.push("--emit=metadata".to_owned());
    let command = Command {
        argv,
        cwd: Path::new("").to_owned(),
        ..Command::default()
    };
    let mut tree = Tree::copy(&workspace, &copy)?;
    let cancel = Cancel::default();
    let settings = Settings::default();
    let means = Means {
        dispatch: &Compiler,
        cancel: &cancel,
        agent: None,
    };
    fix(&mut tree, &command, &settings, &means, &mut |_| {})
        .with_context(|| format!("failed to fix `{}`", case.id))
}

fn show(arguments: &Arguments, case: &Case, report: &Report) {
    let is_compiled = matches!(report.end, End::Fixed | End::NothingToFix);
    if arguments.only.is_some() {
        for attempt in &report.attempts {
            println!(
                "{} {:?} {} -> {:?}: {} | {}\n{}",
                attempt.number,
                attempt.result,
                attempt.errors_before,
                attempt.errors_after,
                attempt.cause,
                attempt.description,
                attempt.diff
            );
        }
    }
    if (arguments.failures || arguments.only.is_some()) && !is_compiled {
        println!("{}: {:?}", case.id, report.end);
        for line in &report.errors_left {
            println!("    {line}");
        }
    }
}

fn count(score: &mut Score, report: &Report) {
    score.cases += 1;
    score.attempts += report.attempts.len();
    score.compile += usize::from(matches!(report.end, End::Fixed | End::NothingToFix));
    score.better += usize::from(report.end == End::Improved);
    score.worse += usize::from(report.errors_after > report.errors_before);
}
