//! `cogo impact`: what a change touches, and which tests to run for it.

use std::path::Path;
use std::process::Command;

use clap::Args;
use cogo_analysis::query::impact::{Changes, Dependent, Impact, changes_of_diff, impact};
use cogo_sandbox::exec_dir::StateDir;

use super::Repository;
use crate::failure::{Failure, print};
use crate::measure;

const EXAMPLES: &str = "\
Examples:
  cogo impact                    what is not committed yet
  cogo impact --diff main        all changes since main
  cogo impact src/store.rs       as if all of that file changed
  cogo impact --tests            only the tests to run, one a line
  cogo impact --json | jq '.tests[].name'";

/// Most of a kind that is listed for people.
const LISTED_MAX: usize = 40;

/// Tell what a change touches, and which tests to run for it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Files that changed as a whole, from the root
    #[arg(value_name = "FILE", conflicts_with = "diff")]
    files: Vec<String>,
    /// The revision that the files are compared with [default: HEAD]
    #[arg(long, value_name = "REV")]
    diff: Option<String>,
    /// How many uses away is still touched
    #[arg(long, value_name = "N", default_value_t = 5)]
    depth: u32,
    /// Leave out uses that are less certain, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.3)]
    min_confidence: f64,
    /// Print the tests alone: file and name
    #[arg(long)]
    tests: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    repository: Repository,
}

/// Tells it.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let (store, root) = options.repository.open(state)?;
    let changes = if options.files.is_empty() {
        changes_since(&root, options.diff.as_deref().unwrap_or("HEAD"))?
    } else {
        options
            .files
            .iter()
            .map(|file| (file.clone(), Vec::new()))
            .collect()
    };
    let found = impact(
        store.connection(),
        &changes,
        options.depth,
        options.min_confidence,
    )?;
    let text = if options.json {
        serde_json::to_string(&found)? + "\n"
    } else if options.tests {
        found.tests.iter().map(test_line).collect()
    } else {
        for_people(&found)
    };
    print(&text)?;
    Ok(0)
}

/// What git says has changed. No program of the repository's choosing is run for it.
fn changes_since(root: &Path, revision: &str) -> Result<Changes, Failure> {
    let hint = "name files instead, or a revision with --diff";
    if revision.starts_with('-') {
        return Err(Failure::new(format!("`{revision}` is not a revision")).hint(hint));
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=false"])
            .args(arguments)
            .output()
            .map_err(|error| Failure::caused("failed to run `git`", &error).hint(hint))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("`git` failed: {}", text.trim())).hint(hint));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let diff = git(&[
        "diff",
        "--unified=0",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--no-renames",
        "--relative",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        revision,
        "--",
    ])?;
    let mut changes = changes_of_diff(&diff);
    for path in git(&["ls-files", "--others", "--exclude-standard"])?.lines() {
        changes.entry(path.to_owned()).or_default();
    }
    Ok(changes)
}

fn test_line(test: &Dependent) -> String {
    format!("{} {}\n", test.symbol.path, test.symbol.name)
}

fn for_people(found: &Impact) -> String {
    let mut text = format!(
        "changed: {} in {}\n",
        measure::count(found.symbols.len() as u64, "symbol"),
        measure::count(found.files.len() as u64, "file"),
    );
    let symbols = found.symbols.iter();
    listed(
        &mut text,
        symbols.map(|symbol| {
            format!(
                "{}:{} {} {}",
                symbol.path, symbol.line, symbol.kind, symbol.name
            )
        }),
    );
    if !found.unknown_files.is_empty() {
        text.push_str("not analysed, or gone:\n");
        listed(&mut text, found.unknown_files.iter().cloned());
    }
    text.push_str(&format!("\ndependents: {}\n", found.dependents.len()));
    listed(&mut text, found.dependents.iter().map(dependent_line));
    if !found.dependent_files.is_empty() {
        text.push_str(&format!(
            "\nfiles that import them: {}\n",
            found.dependent_files.len()
        ));
        listed(&mut text, found.dependent_files.iter().cloned());
    }
    text.push_str(&format!("\ntests to run: {}\n", found.tests.len()));
    listed(&mut text, found.tests.iter().map(dependent_line));
    if found.truncated {
        text.push_str("\nthere is more; it was not followed to its end\n");
    }
    text
}

fn dependent_line(found: &Dependent) -> String {
    let symbol = &found.symbol;
    format!(
        "{}:{} {} {}  ({} away)",
        symbol.path, symbol.line, symbol.kind, symbol.name, found.distance
    )
}

fn listed(text: &mut String, lines: impl ExactSizeIterator<Item = String>) {
    let more = lines.len().saturating_sub(LISTED_MAX);
    for line in lines.take(LISTED_MAX) {
        text.push_str(&format!("  {line}\n"));
    }
    if more > 0 {
        text.push_str(&format!("  and {more} more; --json has all\n"));
    }
}
