//! Developer commands of the cogo workspace: `cargo xtask …`.
//!
//! Each check is a plain function from what it reads to a list of findings, so that its tests can
//! show it a workspace that is wrong.

mod architecture;
mod arrows;
mod boundaries;
mod ci;
mod command;
mod delegation;
mod fuzz;
mod licenses;
mod map;
mod rust_source;
mod unprivileged;
mod workspace;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci [STEP…]     what CI runs; all steps, or the named ones
  ci --list      the steps
  arrows         dependencies between our crates equal ARCHITECTURE.md's table
  boundaries     unsafe code, environment, I/O and runtimes stay where they belong
  map            ARCHITECTURE.md's crates and paths exist, and no crate is missing there
  licenses       every dependency has a license and a source that deny.toml allows
  unprivileged   as root: runs the sandbox suites again as an ordinary user";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["ci", "--list"] => {
            ci::list();
            Ok(())
        }
        ["ci", ref steps @ ..] => ci::run(steps),
        ["arrows"] => arrows::run(),
        ["boundaries"] => boundaries::run(),
        ["map"] => map::run(),
        ["licenses"] => licenses::run(),
        ["unprivileged"] => unprivileged::run(),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown command `{}`\n\n{USAGE}", words.join(" ")),
    }
}

/// Turns the findings of a check into its result.
fn report(findings: &[String]) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!(
        "{} finding(s)\n  - {}",
        findings.len(),
        findings.join("\n  - ")
    )
}
