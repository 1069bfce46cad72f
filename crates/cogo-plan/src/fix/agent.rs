//! Somebody who is asked for a diff: a model behind an endpoint, or a program.
//!
//! An answer is a proposal like any other: it is applied strictly, in the copy, and kept only if the
//! command then says less. What makes errors go without repairing them is refused before it is tried.

pub mod chat;
mod redact;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::Settings;
use super::change::Change;
use super::command::Command;
use super::findings::Findings;
use super::tree::Tree;
use crate::diagnostic::Diagnostic;
use crate::dispatch::Cancel;

pub use redact::Redactor;

/// Answers that are asked for from one state.
pub(super) const ROUNDS_MAX: usize = 4;
/// Errors that are told.
const ERRORS_MAX: usize = 20;
/// Files of which something is told.
const FILES_MAX: usize = 6;
/// Files with more lines are told in part.
const WHOLE_LINES_MAX: usize = 300;
/// Lines that are told before and behind an error.
const LINES_AROUND: usize = 40;
/// Lines that an answer may remove beyond those it adds.
const SHRINK_MAX: usize = 10;

/// Somebody who is asked.
pub trait Agent: Sync {
    /// Returns a text with a unified diff in it, on the caller's thread and within `time`.
    ///
    /// # Errors
    ///
    /// When there is no answer. `cancel` ends the waiting, too.
    fn propose(
        &self,
        request: &Request,
        time: Duration,
        cancel: &Cancel,
    ) -> Result<String, AgentError>;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(pub String);

/// What an agent gets: what is wrong, and the texts it is about. Nothing else of the workspace, and no
/// secret.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// The command that fails.
    pub command: Vec<String>,
    /// What it finds wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// The end of what it wrote, if nothing in it was understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The texts.
    pub files: Vec<Excerpt>,
    /// What was wrong with earlier answers.
    pub feedback: Vec<String>,
}

/// Lines of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Excerpt {
    /// The file, from the top of the workspace.
    pub path: String,
    /// The first line that is told, from 1.
    pub first_line: usize,
    /// Whether this is all of it.
    pub is_whole: bool,
    /// The lines.
    pub text: String,
}

impl Request {
    /// What is to be told about a state.
    pub(super) fn new(
        tree: &Tree,
        command: &Command,
        state: &Findings,
        feedback: &[String],
    ) -> Self {
        let redactor = Redactor::default();
        let problems: Vec<_> = state.problems().iter().take(ERRORS_MAX).collect();
        let mut lines: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
        for problem in &problems {
            let notes = problem.diagnostic.notes.iter().filter_map(|note| {
                let same = note.file == problem.diagnostic.file;
                note.line.filter(|_| same)
            });
            let own = problem.diagnostic.line.into_iter().chain(notes);
            if let Some(file) = problem.file.as_deref().filter(|file| !is_secret(file)) {
                let lines = lines.entry(file).or_default();
                lines.extend(own.map(|line| line as usize));
            }
        }
        let files = lines.into_iter().take(FILES_MAX).flat_map(|(file, lines)| {
            let text = tree.read(file).unwrap_or_default();
            excerpts(&file.display().to_string(), &text, &lines)
        });
        let files = files.map(|excerpt| Excerpt {
            text: redactor.redact(&excerpt.text),
            ..excerpt
        });
        let diagnostics = problems.iter().map(|problem| Diagnostic {
            file: problem.file.as_ref().map(|file| file.display().to_string()),
            message: redactor.redact(&problem.diagnostic.message),
            ..problem.diagnostic.clone()
        });
        let is_silent = problems.is_empty();
        Self {
            command: command
                .argv
                .iter()
                .map(|word| redactor.redact(word))
                .collect(),
            diagnostics: diagnostics.collect(),
            output: is_silent.then(|| redactor.redact(end_of(&state.output))),
            files: files.collect(),
            feedback: feedback.iter().map(|text| redactor.redact(text)).collect(),
        }
    }
}

/// Files that hold nothing but secrets.
fn is_secret(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(".env")
        || name.starts_with("id_")
        || [".netrc", ".npmrc", ".pypirc", "credentials"].contains(&name.as_ref())
        || ["pem", "key", "p12", "pfx", "keystore"]
            .iter()
            .any(|end| file.extension().is_some_and(|ending| ending == *end))
}

fn end_of(output: &str) -> &str {
    let lines = output.lines().count();
    let skipped = lines.saturating_sub(LINES_AROUND * 2);
    let start: usize = output
        .split_inclusive('\n')
        .take(skipped)
        .map(str::len)
        .sum();
    &output[start..]
}

/// All of a short file, else the lines around those.
fn excerpts(path: &str, text: &str, around: &[usize]) -> Vec<Excerpt> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let excerpt = |from: usize, to: usize| Excerpt {
        path: path.to_owned(),
        first_line: from + 1,
        is_whole: from == 0 && to == lines.len(),
        text: lines[from..to].concat(),
    };
    if lines.len() <= WHOLE_LINES_MAX {
        return vec![excerpt(0, lines.len())];
    }
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let mut around = around.to_vec();
    around.sort_unstable();
    for line in around {
        let from = line.saturating_sub(LINES_AROUND + 1).min(lines.len());
        let to = (line + LINES_AROUND).min(lines.len());
        match ranges.last_mut() {
            Some((_, end)) if *end >= from => *end = to.max(*end),
            _ => ranges.push((from, to)),
        }
    }
    ranges
        .into_iter()
        .map(|(from, to)| excerpt(from, to))
        .collect()
}

/// What silences a tool instead of repairing what it complains of.
const SILENCERS: [&str; 13] = [
    "#[allow(",
    "#![allow(",
    "#[expect(",
    "# noqa",
    "# type: ignore",
    "# pyright: ignore",
    "# pylint: disable",
    "@ts-ignore",
    "@ts-nocheck",
    "@ts-expect-error",
    "eslint-disable",
    "#pragma GCC diagnostic",
    "//nolint",
];

/// Files that say what is built and how strictly.
const MANIFESTS: [&str; 21] = [
    "Cargo.toml",
    "Cargo.lock",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "requirements.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "tox.ini",
    "tsconfig.json",
    "go.mod",
    "go.sum",
    "pom.xml",
    "build.gradle",
    "Makefile",
    "CMakeLists.txt",
    "ruff.toml",
    "clippy.toml",
    "build.rs",
];

/// Whether a change may be tried at all.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) fn acceptable(tree: &Tree, change: &Change, settings: &Settings) -> Result<(), String> {
    let (mut before, mut after) = (String::new(), String::new());
    for (file, now) in &change.files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if MANIFESTS.contains(&name.as_ref()) && !settings.may_change_dependencies {
            return Err(format!("`{}` may not be changed", file.display()));
        }
        let was = tree.read(file);
        if was.is_some() && now.is_none() {
            return Err(format!("`{}` may not be removed", file.display()));
        }
        before.push_str(&was.unwrap_or_default());
        after.push_str(now.as_deref().unwrap_or_default());
    }
    let added = |words: &str| after.matches(words).count() > before.matches(words).count();
    if let Some(silencer) = SILENCERS.iter().find(|words| added(words)) {
        return Err(format!(
            "`{silencer}` silences the error and repairs nothing"
        ));
    }
    let (was, is) = (code_lines(&before), code_lines(&after));
    if was > is + SHRINK_MAX.min(was / 4 + 2) {
        return Err(format!("it removes {} lines of code", was - is));
    }
    Ok(())
}

/// Lines that are neither empty nor a comment.
fn code_lines(text: &str) -> usize {
    let comments = ["//", "#", "/*", "*", "--"];
    let is_code = |line: &&str| {
        let line = line.trim();
        let is_attribute = ["#[", "#!", "#include", "#define", "#if", "#end"]
            .iter()
            .any(|start| line.starts_with(start));
        !line.is_empty() && (is_attribute || !comments.iter().any(|start| line.starts_with(start)))
    };
    text.lines().filter(is_code).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_told_around_their_errors() {
        let text: String = (1..=1000).map(|line| format!("{line}\n")).collect();
        let found = excerpts("a", &text, &[500, 10, 520]);
        let ends: Vec<_> = found
            .iter()
            .map(|found| {
                (
                    found.first_line,
                    found.text.lines().last().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(ends, [(1, "50"), (460, "560")]);
        assert!(excerpts("a", "x\n", &[1])[0].is_whole);
    }

    #[test]
    fn what_repairs_nothing_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let (workspace, copy) = (place.path().join("w"), place.path().join("c"));
        std::fs::create_dir(&workspace).unwrap();
        let code: String = (0..20)
            .map(|line| format!("let a{line} = f({line});\n"))
            .collect();
        std::fs::write(workspace.join("a.rs"), &code).unwrap();
        std::fs::write(workspace.join("Cargo.toml"), "[package]\n").unwrap();
        let tree = Tree::copy(&workspace, &copy).unwrap();
        let reason = |file: &str, text: Option<String>| {
            let change = Change {
                files: BTreeMap::from([(file.into(), text)]),
            };
            acceptable(&tree, &change, &Settings::default())
                .err()
                .unwrap_or_default()
        };
        assert_eq!(reason("a.rs", Some(format!("{code}fine\n"))), "");
        let commented: String = code.lines().map(|line| format!("// {line}\n")).collect();
        let silenced = format!("#[allow(x)]\n{code}");
        assert!(reason("a.rs", Some(silenced)).contains("silences"));
        assert!(reason("a.rs", Some(commented)).contains("removes 20 lines"));
        assert!(reason("a.rs", Some("let a0 = f(0);\n".to_owned())).contains("removes 19"));
        assert!(reason("a.rs", None).contains("may not be removed"));
        assert!(reason("Cargo.toml", Some(String::new())).contains("may not be changed"));
    }
}
