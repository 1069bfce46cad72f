//! The formats, which are data: every file in `formats/` is part of the table.
//!
//! `docs/diagnostics.md` says how to write an entry. The table is compiled when the first parser is
//! made; an entry that cannot be read is a defect that the tests of this module find.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::Severity;

/// The files, in the order in which their formats are tried.
const FILES: [(&str, &str); 9] = [
    ("rust", include_str!("formats/rust.toml")),
    ("devops", include_str!("formats/devops.toml")),
    ("python", include_str!("formats/python.toml")),
    ("javascript", include_str!("formats/javascript.toml")),
    ("scripting", include_str!("formats/scripting.toml")),
    ("jvm", include_str!("formats/jvm.toml")),
    ("native", include_str!("formats/native.toml")),
    ("other", include_str!("formats/other.toml")),
    ("general", include_str!("formats/general.toml")),
];
const COMMON: &str = include_str!("formats/common.toml");
const DOCUMENTS: &str = include_str!("formats/documents.toml");

/// Every format there is, ready to use.
static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::load().expect("the embedded table is tested"));

/// What a format file could not be read for.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file is no TOML or has a key nobody knows.
    #[error("failed to read the format file `{file}`")]
    Read {
        /// Its name.
        file: &'static str,
        /// What is wrong with it.
        source: toml::de::Error,
    },
    /// A pattern is no regular expression.
    #[error("failed to compile a pattern of the format `{format}`")]
    Pattern {
        /// The format's name.
        format: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
}

/// Every format there is, ready to use.
#[derive(Debug)]
pub struct Table {
    /// Formats of text, those that are tried first at the front.
    pub formats: Vec<Format>,
    /// Formats of JSON and XML.
    pub documents: Vec<DocumentFormat>,
    /// All first lines at once.
    pub(super) starts: RegexSet,
    /// The format and pattern of each member of `starts`.
    pub(super) owners: Vec<(usize, usize)>,
    /// What other programs put in front of each line: a time, an Ant task, a container step.
    pub(super) prefixes: Regex,
    /// Elements that an XML report may begin with where it does not say that it is XML.
    pub(super) xml_roots: Vec<String>,
    severities: BTreeMap<String, Severity>,
}

/// One format of text.
#[derive(Debug)]
pub struct Format {
    /// Named after the tool that writes it.
    pub name: String,
    /// Programs that write it, as they are called in commands.
    pub commands: Vec<String>,
    /// The severity of what does not say its own.
    pub severity: Severity,
    /// Lines to try the format on, with what it must make of them.
    pub examples: Vec<Example>,
    pub(super) starts: Vec<Regex>,
    pub(super) before: Vec<Regex>,
    pub(super) heading: Option<Regex>,
    pub(super) follow: Vec<Follow>,
    pub(super) requires: Vec<Requirement>,
    pub(super) message: Option<String>,
    pub(super) skip: bool,
    pub(super) fallback: bool,
    pub(super) once_a_line: bool,
    severities: BTreeMap<String, Severity>,
}

/// Lines that may come behind a first line.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) pattern: Regex,
    pub(super) role: Role,
    pub(super) join: Option<String>,
}

/// What a line behind the first one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// It belongs to the diagnostic and says nothing.
    Ignore,
    /// It fills in what is not known yet, and adds to the message.
    Continuation,
    /// It is where the diagnostic is, or where its last note is.
    Location,
    /// It is where the diagnostic is, unless a later line knows better.
    Frame,
    /// It is a remark, perhaps with a place.
    Note,
    /// It is the message, if there is none yet.
    Message,
    /// It is the last line.
    End,
}

/// What a diagnostic must have in the end. One that has not was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Requirement {
    File,
    Line,
    Message,
    Code,
}

/// Output, and what is to be found in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What the tool wrote.
    pub text: String,
    /// What is to be found: the fields that are given.
    pub found: Vec<Expected>,
}

/// What an example expects of one diagnostic. What is left out is not compared.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The file.
    pub file: Option<String>,
    /// The first line.
    pub line: Option<u32>,
    /// The first column.
    pub column: Option<u32>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// The kind of finding.
    pub code: Option<String>,
    /// What is wrong.
    pub message: Option<String>,
}

/// One format of JSON or XML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentFormat {
    /// Named after the tool that writes it.
    pub name: String,
    /// Paths that must lead to something from the root.
    pub when: Vec<String>,
    /// The way to each finding. Empty: the root is one.
    #[serde(default)]
    pub items: Vec<String>,
    /// Paths to the file, from the finding or from what encloses it; the first that leads somewhere counts.
    #[serde(default)]
    pub(super) file: Vec<String>,
    #[serde(default)]
    pub(super) line: Vec<String>,
    #[serde(default)]
    pub(super) column: Vec<String>,
    #[serde(default)]
    pub(super) end_line: Vec<String>,
    #[serde(default)]
    pub(super) end_column: Vec<String>,
    #[serde(default)]
    pub(super) message: Vec<String>,
    #[serde(default)]
    pub(super) code: Vec<String>,
    #[serde(default)]
    pub(super) level: Vec<String>,
    #[serde(default)]
    pub(super) severity: Option<Severity>,
    #[serde(default)]
    pub(super) severities: BTreeMap<String, Severity>,
    /// What to add to lines and columns that are counted from 0.
    #[serde(default)]
    pub(super) lines_from_zero: bool,
    #[serde(default)]
    pub(super) columns_from_zero: bool,
    /// Findings at which one of these paths leads to `true`, or to the text behind `=`, are left out.
    #[serde(default)]
    pub(super) unless: Vec<String>,
    /// Documents to try the format on, with what it must make of them.
    #[serde(default)]
    pub examples: Vec<Example>,
}

impl Table {
    /// The table that is part of the program.
    pub fn get() -> &'static Self {
        &TABLE
    }

    /// Reads and compiles the embedded files.
    ///
    /// # Errors
    ///
    /// Names the file or the format that is wrong.
    pub fn load() -> Result<Self, TableError> {
        let common: Common = read("common", COMMON)?;
        let documents: DocumentFile = read("documents", DOCUMENTS)?;
        let mut formats = Vec::new();
        let mut starts = Vec::new();
        let mut owners = Vec::new();
        for (file, text) in FILES {
            for source in read::<FormatFile>(file, text)?.format {
                let place = formats.len();
                let expanded = source.start.iter().map(|start| common.expand(start));
                owners.extend((0..source.start.len()).map(|index| (place, index)));
                starts.extend(expanded);
                formats.push(source.compile(&common)?);
            }
        }
        let starts = RegexSetBuilder::new(starts)
            .unicode(false)
            .size_limit(SET_SIZE_MAX)
            .dfa_size_limit(SET_CACHE_MAX)
            .build()
            .map_err(|error| in_format("all", error))?;
        Ok(Self {
            formats,
            documents: documents.document,
            starts,
            owners,
            prefixes: pattern("prefixes", &common.prefixes())?,
            xml_roots: common.xml_roots,
            severities: common.severities,
        })
    }

    /// What a tool's word for a severity means.
    pub(super) fn severity(&self, format: &Format, word: &str) -> Option<Severity> {
        self.severity_word(&format.severities, word)
    }

    /// The same for a document.
    pub(super) fn severity_word(
        &self,
        first: &BTreeMap<String, Severity>,
        word: &str,
    ) -> Option<Severity> {
        let word = word.trim().to_lowercase();
        let found = first.get(&word).or_else(|| self.severities.get(&word));
        found.copied()
    }

    /// The text behind what another program put in front of it, if it did.
    pub(super) fn without_prefix<'a>(&self, line: &'a str) -> Option<&'a str> {
        let first = line.bytes().find(|byte| *byte != b' ')?;
        if !(first == b'[' || first == b'#' || first.is_ascii_digit()) {
            return None;
        }
        let end = self.prefixes.find(line)?.end();
        Some(&line[end..]).filter(|rest| end > 0 && !rest.is_empty())
    }
}

/// The patterns of all first lines, compiled.
const SET_SIZE_MAX: usize = 64 * 1024 * 1024;
/// What matching them may remember of states it has seen; less makes it slow.
const SET_CACHE_MAX: usize = 32 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    macros: BTreeMap<String, String>,
    prefixes: Vec<String>,
    xml_roots: Vec<String>,
    severities: BTreeMap<String, Severity>,
}

impl Common {
    /// Puts macros, written `%{NAME}`, in their places.
    fn expand(&self, pattern: &str) -> String {
        let mut text = pattern.to_owned();
        for (name, meaning) in &self.macros {
            text = text.replace(&format!("%{{{name}}}"), meaning);
        }
        text
    }

    fn prefixes(&self) -> String {
        format!("^(?:{})*", self.prefixes.join("|"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatFile {
    format: Vec<FormatSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentFile {
    document: Vec<DocumentFormat>,
}

/// A format as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatSource {
    name: String,
    #[serde(default)]
    commands: Vec<String>,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    severities: BTreeMap<String, Severity>,
    start: Vec<String>,
    #[serde(default)]
    before: Vec<String>,
    heading: Option<String>,
    #[serde(default)]
    follow: Vec<FollowSource>,
    #[serde(default)]
    requires: Vec<Requirement>,
    message: Option<String>,
    /// What it reads is swallowed.
    #[serde(default)]
    skip: bool,
    /// It is of use only where no other format of this name has found anything.
    #[serde(default)]
    fallback: bool,
    /// What it finds at the line of its last finding is a consequence of that.
    #[serde(default)]
    once_a_line: bool,
    #[serde(default)]
    examples: Vec<Example>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FollowSource {
    pattern: String,
    role: Role,
    join: Option<String>,
}

impl FormatSource {
    fn compile(self, common: &Common) -> Result<Format, TableError> {
        let regex = |text: &String| pattern(&self.name, &common.expand(text));
        let regexes = |texts: &[String]| texts.iter().map(regex).collect::<Result<Vec<_>, _>>();
        let follow = self.follow.iter().map(|source| {
            Ok(Follow {
                pattern: regex(&source.pattern)?,
                role: source.role,
                join: source.join.clone(),
            })
        });
        Ok(Format {
            starts: regexes(&self.start)?,
            before: regexes(&self.before)?,
            heading: self.heading.as_ref().map(regex).transpose()?,
            follow: follow.collect::<Result<_, TableError>>()?,
            commands: self.commands,
            severity: self.severity,
            examples: self.examples,
            requires: self.requires,
            message: self.message,
            skip: self.skip,
            fallback: self.fallback,
            once_a_line: self.once_a_line,
            severities: self.severities,
            name: self.name,
        })
    }
}

fn read<T: for<'a> Deserialize<'a>>(file: &'static str, text: &str) -> Result<T, TableError> {
    toml::from_str(text).map_err(|source| TableError::Read { file, source })
}

fn pattern(format: &str, text: &str) -> Result<Regex, TableError> {
    let built = RegexBuilder::new(text).size_limit(SET_SIZE_MAX).build();
    built.map_err(|error| in_format(format, error))
}

fn in_format(format: &str, source: regex::Error) -> TableError {
    TableError::Pattern {
        format: format.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::{Diagnostic, Parser};

    use super::*;

    /// Without a hint.
    #[test]
    fn every_example_gives_what_it_says() {
        let table = Table::load().unwrap_or_else(|error| panic!("{error:?}"));
        let texts = table.formats.iter().map(|f| (&f.name, &f.examples));
        let documents = table.documents.iter().map(|f| (&f.name, &f.examples));
        let mut wrong = Vec::new();
        for (name, examples) in texts.chain(documents) {
            for example in examples {
                let found = Parser::new(None).parse(example.text.as_bytes());
                if found.len() != example.found.len() {
                    wrong.push(format!("`{name}` reads\n{}\nas {found:#?}", example.text));
                    continue;
                }
                let pairs = found.iter().zip(&example.found);
                wrong.extend(
                    pairs.filter_map(|(found, expected)| difference(name, found, expected)),
                );
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What is found in another way than the example says.
    fn difference(name: &str, found: &Diagnostic, expected: &Expected) -> Option<String> {
        let text = |expected: &Option<String>, found: Option<&String>| {
            expected.is_none() || expected.as_ref() == found
        };
        let number = |expected: Option<u32>, found| expected.is_none() || expected == found;
        let same = [
            ("tool", found.tool == name),
            ("file", text(&expected.file, found.file.as_ref())),
            ("code", text(&expected.code, found.code.as_ref())),
            ("message", text(&expected.message, Some(&found.message))),
            ("line", number(expected.line, found.line)),
            ("column", number(expected.column, found.column)),
            (
                "severity",
                expected.severity.is_none_or(|s| s == found.severity),
            ),
        ];
        let (what, _) = same.iter().find(|(_, same)| !same)?;
        Some(format!("`{name}` finds another {what}: {found:#?}"))
    }
}
