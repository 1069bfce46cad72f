//! Where the repository itself defines a name: a scan of its texts for definitions at their top.

use std::path::PathBuf;

use regex::Regex;

use super::Case;

/// A definition.
pub(super) struct Symbol {
    /// The file it is in.
    pub(super) file: PathBuf,
    /// Its line, without its end.
    pub(super) line: String,
    /// The byte where the line begins.
    pub(super) start: usize,
}

/// Definitions of a name in files with these endings, by a pattern in which `NAME` stands for it.
pub(super) fn definitions(case: &Case, name: &str, endings: &[&str], pattern: &str) -> Vec<Symbol> {
    let Ok(pattern) = Regex::new(&pattern.replace("NAME", &regex::escape(name))) else {
        return Vec::new();
    };
    let sources = case.tree.sources().filter(|file| {
        let ending = file.extension().unwrap_or_default().to_string_lossy();
        endings.contains(&ending.as_ref())
    });
    let mut found = Vec::new();
    for file in sources {
        let text = case.tree.read(&file).unwrap_or_default();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if pattern.is_match(line) {
                found.push(Symbol {
                    file: file.clone(),
                    line: line.trim_end().to_owned(),
                    start,
                });
            }
            start += line.len();
        }
    }
    found
}
