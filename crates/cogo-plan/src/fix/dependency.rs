//! Packages that an error names and the project does not depend on.
//!
//! Only the exact name in the error is taken, and the package manager itself adds it: nothing is guessed.

use std::sync::LazyLock;

use regex::Regex;

use super::command::Command;
use super::findings::Located;
use super::tree::Tree;

/// A package, and the command that adds it.
pub(super) struct Missing {
    pub(super) name: String,
    pub(super) argv: Vec<String>,
}

/// A kind of message, the file that shows that its package manager is used, and what adds a package.
struct Kind {
    message: Regex,
    manifest: &'static str,
    add: &'static [&'static str],
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let kind = |pattern: &str, manifest, add| Kind {
        message: Regex::new(pattern).expect("the pattern is sound"),
        manifest,
        add,
    };
    vec![
        kind(
            r"(?:unlinked crate|can't find crate for|undeclared crate or module|maybe a missing crate) `([A-Za-z0-9_]+)`",
            "Cargo.toml",
            &["cargo", "add"] as &[&str],
        ),
        kind(
            r#"Cannot find (?:module|package) '((?:@[a-z0-9._-]+/)?[a-z0-9][a-z0-9._-]*)(?:/[^']*)?'"#,
            "package.json",
            &["npm", "install", "--no-audit", "--no-fund"],
        ),
        kind(
            r"No module named '([A-Za-z0-9_]+)(?:\.[A-Za-z0-9_.]+)?'",
            "requirements.txt",
            // A line in the file is what the project's own installation reads.
            &[
                "sh",
                "-c",
                "printf '%s\\n' \"$0\" >> requirements.txt && python3 -m pip install --quiet \"$0\"",
            ],
        ),
    ]
});

pub(super) fn missing(tree: &Tree, command: &Command, problems: &[Located]) -> Vec<Missing> {
    let mut found: Vec<Missing> = Vec::new();
    for problem in problems {
        let notes = problem.diagnostic.notes.iter().map(|note| &note.message);
        for message in std::iter::once(&problem.diagnostic.message).chain(notes) {
            for kind in KINDS.iter() {
                let Some(name) = kind
                    .message
                    .captures(message)
                    .map(|found| found[1].to_owned())
                else {
                    continue;
                };
                let manifest = command.cwd.join(kind.manifest);
                if tree.read(&manifest).is_none() || found.iter().any(|other| other.name == name) {
                    continue;
                }
                let mut argv: Vec<String> =
                    kind.add.iter().map(|word| (*word).to_owned()).collect();
                argv.push(name.clone());
                found.push(Missing { name, argv });
            }
        }
    }
    found
}
