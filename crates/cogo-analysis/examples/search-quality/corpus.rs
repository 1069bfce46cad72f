//! Sources without their documentation, and the documentation as questions.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use regex::Regex;

/// Shorter sentences ask for nothing in particular.
const WORDS_MIN: usize = 4;
/// Questions of one package; of more, evenly spread ones are asked.
const QUESTIONS_MAX: usize = 200;

static PYTHON_FUNCTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*(?:async\s+)?def\s+(\w+)").expect("it is fixed"));
static RUST_FUNCTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(?:pub\S*\s+|const\s+|async\s+|unsafe\s+)*fn\s+(\w+)").expect("it is fixed")
});
static DOCUMENTATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s*[rRuU]?("""|''')"#).expect("it is fixed"));

/// What a function is said to do.
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) function: String,
    pub(crate) text: String,
}

/// A package.
pub(crate) struct Corpus {
    files: Vec<(String, String)>,
    pub(crate) questions: Vec<Question>,
}

impl Corpus {
    /// Reads the Python and Rust files below a directory.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let mut corpus = Self {
            files: Vec::new(),
            questions: Vec::new(),
        };
        for entry in ignore::WalkBuilder::new(directory)
            .standard_filters(false)
            .build()
        {
            let entry = entry?;
            let path = entry
                .path()
                .strip_prefix(directory)?
                .to_string_lossy()
                .into_owned();
            let extension = entry.path().extension().and_then(|ending| ending.to_str());
            let strip = match extension {
                Some("py") => without_python_documentation,
                Some("rs") => without_rust_documentation,
                _ => continue,
            };
            let text = std::fs::read_to_string(entry.path()).with_context(|| path.clone())?;
            let mut found = Vec::new();
            let stripped = strip(&text, &mut found);
            corpus
                .questions
                .extend(found.into_iter().map(|(function, text)| Question {
                    path: path.clone(),
                    function,
                    text: first_sentence(&text),
                }));
            corpus.files.push((path, stripped));
        }
        corpus.keep_telling_questions();
        Ok(corpus)
    }

    /// Writes the sources without documentation.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        for (path, text) in &self.files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().context("a file has a directory")?)?;
            std::fs::write(path, text)?;
        }
        Ok(())
    }

    /// Those that are long enough and said of one function only.
    fn keep_telling_questions(&mut self) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for question in &self.questions {
            *counts.entry(question.text.clone()).or_default() += 1;
        }
        self.questions.retain(|question| {
            counts[&question.text] == 1 && question.text.split_whitespace().count() >= WORDS_MIN
        });
        let step = self.questions.len().div_ceil(QUESTIONS_MAX).max(1);
        let mut at = 0;
        self.questions.retain(|_| {
            at += 1;
            at % step == 0
        });
    }
}

fn first_sentence(text: &str) -> String {
    let paragraph = text.trim().split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.find(". ").unwrap_or(line.len());
    line[..end].trim_end_matches('.').to_owned()
}

fn without_python_documentation(text: &str, found: &mut Vec<(String, String)>) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        kept.push_str(line);
        kept.push('\n');
        let Some(function) = PYTHON_FUNCTION.captures(line) else {
            continue;
        };
        let mut last = line;
        while !last
            .split(" #")
            .next()
            .unwrap_or_default()
            .trim_end()
            .ends_with(':')
        {
            let Some(next) = lines.next() else { break };
            kept.push_str(next);
            kept.push('\n');
            last = next;
        }
        let quote = lines.peek().and_then(|line| DOCUMENTATION.captures(line));
        let Some(quote) = quote.map(|found| found[1].to_owned()) else {
            continue;
        };
        let mut documentation = String::new();
        for line in lines.by_ref() {
            let begins = documentation.is_empty();
            documentation.push_str(line.trim());
            documentation.push('\n');
            let quotes = line.matches(&*quote).count();
            if (begins && quotes > 1) || (!begins && quotes > 0) {
                break;
            }
        }
        let plain = documentation
            .trim_start_matches(['r', 'R', 'u', 'U'])
            .replace(&*quote, "");
        found.push((function[1].to_owned(), plain));
    }
    kept
}

fn without_rust_documentation(text: &str, found: &mut Vec<(String, String)>) -> String {
    let mut kept = String::new();
    let mut documentation = String::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(said) = trimmed.strip_prefix("///") {
            documentation.push_str(said.trim());
            documentation.push('\n');
            continue;
        }
        if trimmed.starts_with("//!") {
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
        if let Some(function) = RUST_FUNCTION.captures(line)
            && !documentation.is_empty()
        {
            found.push((function[1].to_owned(), std::mem::take(&mut documentation)));
        }
        if !trimmed.starts_with("#[") {
            documentation.clear();
        }
    }
    kept
}
