//! Findings of tools, read from their output while it streams.
//!
//! ```text
//! bytes ──lines──▶ lines ──document──▶ JSON and XML ──mapping──▶ diagnostics
//!                         └──────────▶ text ──────────patterns──▶ diagnostics
//! ```
//!
//! A [`Parser`] is fed with the bytes of both streams and returns each diagnostic as soon as its bytes
//! are there. What a tool's output looks like is data: the tables in `formats/`, read by [`table`]. Which
//! tool wrote a line is found from the line itself; the command, where it is known, only settles which
//! of several readings is meant. Deliberately absent are clocks and files: the caller says when output
//! pauses, and paths stay as the tool wrote them.

mod document;
mod entry;
pub(crate) mod lines;
mod mapping;
mod parser;
mod patterns;
mod report;
mod rustc;
pub mod table;
mod test_events;
mod walk;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use parser::Parser;
pub use report::{github, line, sarif};

/// One finding of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// The format that was recognised, named after the tool that writes it.
    pub tool: String,
    /// The file, as the tool wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The first line, from 1. A tool that speaks of a whole file may say 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The first column, as the tool counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    /// The column behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// The tool's name for this kind of finding, such as `E0308` or `no-unused-vars`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What the tool said besides, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Repairs that the tool proposes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<Suggestion>,
}

/// How bad a finding is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something to know.
    Info,
    /// Something to look at.
    Warning,
    /// The tool failed because of it.
    #[default]
    Error,
}

impl Severity {
    /// The name that people and files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A remark that belongs to a diagnostic, perhaps about another place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// What it says.
    pub message: String,
    /// The file it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// A repair that a tool proposes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suggestion {
    /// What it does.
    pub message: String,
    /// How sure the tool is, in its words, such as `MachineApplicable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applicability: Option<String>,
    /// The replacements that make it up. All of them or none.
    pub edits: Vec<Edit>,
}

/// Text that takes the place of other text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edit {
    /// The file to change.
    pub file: String,
    /// Where it begins: line and column, from 1.
    pub start: (u32, u32),
    /// Where it ends: line and column behind the last character.
    pub end: (u32, u32),
    /// What is put there.
    pub replacement: String,
}
