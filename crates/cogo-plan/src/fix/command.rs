//! The command that is to succeed, and how it is asked to speak clearly.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::document::{StepLimits, StepNetwork};

/// Has gcc write its repairs where a program can read them, whatever build system calls it.
const GCC_FIX_ITS: (&str, &str) = ("GCC_EXTRA_DIAGNOSTIC_OUTPUT", "fixits-v1");

/// The command.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Where it starts, from the top of the workspace.
    pub cwd: PathBuf,
    /// Its variables.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: StepLimits,
    /// What it may reach.
    pub network: StepNetwork,
    /// When to end a run of it.
    pub timeout: Option<Duration>,
}

impl Command {
    /// The command, with options that have tools write their findings for programs.
    pub(super) fn spoken(&self) -> Vec<String> {
        let mut argv = self.argv.clone();
        let program = self.program_index();
        let name = argv.get(program).map(|word| base(word)).unwrap_or_default();
        let next = argv.get(program + 1).map(String::as_str);
        let has = |option: &str| argv.iter().any(|word| word.starts_with(option));
        let (place, options): (usize, &[&str]) = match (name, next) {
            ("cargo", Some(_)) => match cargo_subcommand(&argv, program) {
                Some(at) if !has("--message-format") => (at + 1, &["--message-format=json"]),
                _ => return argv,
            },
            ("rustc", _) if !has("--error-format") => (program + 1, &["--error-format=json"]),
            ("ruff", Some("check")) if !has("--output-format") => {
                (program + 2, &["--output-format=json"])
            }
            ("eslint", _) if !has("--format") && !has("-f") => (program + 1, &["--format=json"]),
            ("tsc", _) if !has("--pretty") => (program + 1, &["--pretty", "false"]),
            ("pyright" | "basedpyright", _) if !has("--outputjson") => {
                (program + 1, &["--outputjson"])
            }
            ("clang" | "clang++", _) => (program + 1, &["-fdiagnostics-parseable-fixits"]),
            _ => return argv,
        };
        let options = options.iter().map(|option| (*option).to_owned());
        argv.splice(place..place, options);
        argv
    }

    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        let (name, value) = GCC_FIX_ITS;
        env.entry(name.to_owned()).or_insert(value.to_owned());
        env
    }

    /// The word that names the tool, behind those that only start it.
    pub(super) fn program_index(&self) -> usize {
        let word = |at: usize| self.argv.get(at).map(|word| base(word)).unwrap_or_default();
        match (word(0), word(1)) {
            (python, "-m") if python.starts_with("python") => 2,
            ("npx" | "pnpx" | "bunx" | "env", _) => 1,
            ("pnpm" | "yarn" | "npm", "exec") | ("uv" | "poetry", "run") => 2,
            _ => 0,
        }
    }

    /// The tool's name.
    pub(super) fn program(&self) -> &str {
        let word = self.argv.get(self.program_index());
        word.map(|word| base(word)).unwrap_or_default()
    }
}

/// Where the subcommand of cargo stands, if it is one that compiles.
fn cargo_subcommand(argv: &[String], program: usize) -> Option<usize> {
    let compiles = [
        "build", "b", "check", "c", "test", "t", "run", "r", "bench", "clippy", "rustc", "doc",
    ];
    let words = argv.iter().enumerate().skip(program + 1);
    let (at, word) = words
        .filter(|(_, word)| !word.starts_with(['+', '-']))
        .next()?;
    compiles.contains(&word.as_str()).then_some(at)
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(line: &str) -> String {
        let command = Command {
            argv: line.split(' ').map(str::to_owned).collect(),
            ..Command::default()
        };
        command.spoken().join(" ")
    }

    #[test]
    fn tools_are_asked_to_write_for_programs() {
        let cases = [
            ("cargo build -p x", "cargo build --message-format=json -p x"),
            (
                "cargo +nightly -q test -- --a",
                "cargo +nightly -q test --message-format=json -- --a",
            ),
            ("cargo fmt", "cargo fmt"),
            (
                "cargo build --message-format short",
                "cargo build --message-format short",
            ),
            ("rustc a.rs", "rustc --error-format=json a.rs"),
            ("npx tsc -p .", "npx tsc --pretty false -p ."),
            (
                "python3 -m ruff check .",
                "python3 -m ruff check --output-format=json .",
            ),
            (
                "node_modules/.bin/eslint src",
                "node_modules/.bin/eslint --format=json src",
            ),
            ("make -j4", "make -j4"),
        ];
        for (line, expected) in cases {
            assert_eq!(spoken(line), expected);
        }
    }
}
