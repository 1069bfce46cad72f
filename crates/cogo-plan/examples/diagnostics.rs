//! Measures the diagnostics engine: how many cases of a corpus it solves, and how fast it reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser as _;
use cogo_plan::diagnostic::{Diagnostic, Parser};
use serde::Deserialize;

/// Measures the diagnostics engine on a corpus of tool output, or on a log that says nothing.
#[derive(clap::Parser)]
struct Arguments {
    /// Cases with expected results, one JSON object a line.
    #[arg(long, env = "COGO_DIAGNOSTICS_CORPUS", required_unless_present_any = ["throughput", "parse"])]
    corpus: Option<PathBuf>,
    /// Show what is missing and what is too much.
    #[arg(long)]
    failures: bool,
    /// Only tools whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Read this file instead and say how many megabytes a second were read.
    #[arg(long)]
    throughput: Option<PathBuf>,
    /// Read this file instead and print the diagnostics.
    #[arg(long)]
    parse: Option<PathBuf>,
}

/// A case of the corpus.
#[derive(Deserialize)]
struct Case {
    id: String,
    tool: String,
    raw: String,
    expected: Vec<Expected>,
    /// Whether `expected` is all there is.
    complete: bool,
}

/// What a case expects. What is null may be anything.
#[derive(Debug, Deserialize)]
struct Expected {
    file: Option<String>,
    line: Option<i64>,
    severity: Option<String>,
    #[serde(default, deserialize_with = "text_or_texts")]
    message: Option<String>,
}

/// One case has the parts of its message in a list; the first is the whole.
fn text_or_texts<'a, D: serde::Deserializer<'a>>(value: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Option::<Texts>::deserialize(value)? {
        Some(Texts::One(text)) => Some(text),
        Some(Texts::Several(texts)) => texts.into_iter().next(),
        None => None,
    })
}

/// How messages are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Equal but for white space and case.
    Equal,
    /// One may hold the other: tools' words around a message are kept by some readers and not by others.
    Within,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.throughput {
        return throughput(file);
    }
    if let Some(file) = &arguments.parse {
        let bytes = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        for found in Parser::new(None).parse(&bytes) {
            println!("{}", serde_json::to_string(&found)?);
        }
        return Ok(());
    }
    let path = arguments.corpus.as_ref().context("no corpus given")?;
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let cases: Vec<Case> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("failed to read a case")?;
    let wanted = |case: &&Case| {
        arguments
            .only
            .as_ref()
            .is_none_or(|only| case.tool.contains(only))
    };
    measure(cases.iter().filter(wanted), arguments.failures);
    Ok(())
}

/// Solved cases and cases, equal and within.
#[derive(Default)]
struct Score {
    cases: usize,
    equal: usize,
    within: usize,
}

fn measure<'a>(cases: impl Iterator<Item = &'a Case>, failures: bool) {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for case in cases {
        let found = Parser::new(None).parse(case.raw.as_bytes());
        let within = faults(case, &found, Comparison::Within);
        let equal = faults(case, &found, Comparison::Equal);
        for name in [group(&case.tool), "all".to_owned()] {
            let score = scores.entry(name).or_default();
            score.cases += 1;
            score.equal += usize::from(equal.is_empty());
            score.within += usize::from(within.is_empty());
        }
        if failures && !within.is_empty() {
            println!("===== {} ({})\n{}", case.id, case.tool, start_of(&case.raw));
            for fault in within {
                println!("  {fault}");
            }
        }
    }
    println!("| Tool | Cases | Solved | Solved, message equal |\n|---|---|---|---|");
    for (name, score) in scores {
        println!(
            "| {name} | {} | {} | {} |",
            score.cases, score.within, score.equal
        );
    }
}

/// The tool's name without the names of the functions that the cases were made from.
fn group(tool: &str) -> String {
    let parts: Vec<&str> = tool
        .split('#')
        .filter(|part| !part.starts_with("Handle"))
        .collect();
    parts.last().unwrap_or(&tool).to_lowercase()
}

fn start_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(1500)]
}

/// What is missing and what is too much.
fn faults(case: &Case, found: &[Diagnostic], comparison: Comparison) -> Vec<String> {
    let mut left: Vec<&Diagnostic> = found.iter().collect();
    let mut faults = Vec::new();
    for expected in &case.expected {
        match left
            .iter()
            .position(|found| matches(expected, found, comparison))
        {
            Some(place) => {
                left.remove(place);
            }
            None => faults.push(format!("- {expected:?}")),
        }
    }
    if case.complete {
        faults.extend(left.iter().map(|found| format!("+ {found:?}")));
    } else if !faults.is_empty() {
        faults.extend(left.iter().take(6).map(|found| format!("? {found:?}")));
    }
    faults
}

fn matches(expected: &Expected, found: &Diagnostic, comparison: Comparison) -> bool {
    let line = expected.line.unwrap_or_default();
    let file = expected.file.as_deref().unwrap_or_default();
    let message = expected.message.as_deref().unwrap_or_default();
    let severity = expected.severity.as_deref();
    (file.is_empty() || file == "-" || same_file(file, found.file.as_deref().unwrap_or_default()))
        && (line <= 0 || found.line.map(i64::from) == Some(line))
        && severity.is_none_or(|severity| severity == found.severity.name())
        && (message.is_empty() || same_message(message, &found.message, comparison))
}

fn same_file(one: &str, other: &str) -> bool {
    let plain = |file: &str| {
        let file = file.replace('\\', "/").to_lowercase();
        file.trim_start_matches("./").to_owned()
    };
    let (one, other) = (plain(one), plain(other));
    let ends = |long: &str, short: &str| !short.is_empty() && long.ends_with(&format!("/{short}"));
    one == other || ends(&one, &other) || ends(&other, &one)
}

fn same_message(one: &str, other: &str, comparison: Comparison) -> bool {
    let plain = |text: &str| {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        words.join(" ").trim_end_matches('.').to_owned()
    };
    let (one, other) = (plain(one), plain(other));
    let holds = |long: &str, short: &str| !short.is_empty() && long.contains(short);
    one == other || comparison == Comparison::Within && (holds(&one, &other) || holds(&other, &one))
}

/// How fast a log is read, in pieces of the size of a pipe's buffer.
fn throughput(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    Parser::new(None).parse(b"a.c:1: error: the table is compiled on first use\n");
    let began = Instant::now();
    let busy_before = processor_seconds();
    let mut parser = Parser::new(None);
    let mut found = 0;
    for chunk in bytes.chunks(64 * 1024) {
        found += parser
            .feed(cogo_protocol::record::Stream::Stdout, chunk)
            .len();
    }
    found += parser.finish().len();
    let seconds = began.elapsed().as_secs_f64();
    let busy = processor_seconds() - busy_before;
    let megabytes = bytes.len() as f64 / 1e6;
    println!(
        "{megabytes:.1} MB, {found} diagnostics, {:.0} MB/s, {:.0} MB for each second of the processor",
        megabytes / seconds,
        megabytes / busy
    );
    Ok(())
}

/// The processor time of this process. Other work on the machine does not count.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
