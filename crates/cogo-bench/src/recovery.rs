//! How well tasks are got done another way when they fail: the whole fault corpus.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::recovery_harness::{Kind, Outcome, Server, Task};

pub(crate) fn run(filters: &[String], at_once: usize) -> anyhow::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recovery");
    let corpus = corpus.canonicalize().context("there is no corpus")?;
    let mut tasks = Task::all(&corpus);
    if !filters.is_empty() {
        tasks.retain(|task| filters.iter().any(|part| task.name.contains(part)));
    }
    let server = Server::start(&cogo()?, &corpus);
    let outcomes = server.run(tasks, at_once);
    println!("{}", table(&outcomes));
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_right()) {
        println!(
            "\n#### {}\n\n```text\n{}```",
            outcome.task.name,
            server.why(&outcome.task)
        );
        eprintln!("{}", outcome.details());
    }
    Ok(())
}

/// The program beside this one.
fn cogo() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("cogo");
    anyhow::ensure!(
        path.is_file(),
        "`{}` is missing; build it with `cargo build -p cogo` in the same profile",
        path.display()
    );
    Ok(path)
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text =
        String::from("| tasks | right | of | share | attempts |\n|---|---:|---:|---:|---:|\n");
    for (kind, name) in [
        (Kind::Recovers, "recovered"),
        (Kind::Answers, "left alone"),
        (Kind::Bounded, "given up"),
    ] {
        let these: Vec<&Outcome> = outcomes.iter().filter(|it| it.task.kind == kind).collect();
        let right = these.iter().filter(|outcome| outcome.is_right()).count();
        let attempts: usize = these.iter().map(|outcome| outcome.attempts()).sum();
        let share = 100.0 * right as f64 / these.len().max(1) as f64;
        text += &format!(
            "| {name} | {right} | {} | {share:.0} % | {attempts} |\n",
            these.len()
        );
    }
    text
}
