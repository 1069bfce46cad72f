//! What the crate makes of real output of real tools, whole and in pieces.

mod reports;
mod streaming;

use std::fs;
use std::path::{Path, PathBuf};

use cogo_plan::diagnostic::{self, Diagnostic, Parser};

/// Recorded outputs, each `x.txt` beside an `x.expected` with one line for each finding.
fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/outputs");
    let entries = fs::read_dir(folder).expect("the recordings");
    let files = entries.map(|entry| entry.expect("a recording").path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    assert!(files.len() > 30, "recordings are missing");
    files
}

fn parsed(output: &[u8]) -> Vec<Diagnostic> {
    Parser::new(None).parse(output)
}

fn lines(found: &[Diagnostic]) -> String {
    let lines = found.iter().map(|found| {
        let line = diagnostic::line(found);
        format!("{}: {line}\n", found.tool)
    });
    lines.collect()
}

#[test]
fn every_recording_gives_what_is_expected() {
    for file in recordings() {
        let output = fs::read(&file).expect("a recording");
        let expected = fs::read_to_string(file.with_extension("expected"));
        let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(lines(&parsed(&output)), expected, "in {}", file.display());
    }
}
