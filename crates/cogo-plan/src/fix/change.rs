//! What a fixer proposes: texts in place of others, and whole files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::text;
use super::tree::Tree;

/// Text that takes the place of other text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The file, from the top of the workspace.
    pub file: PathBuf,
    /// The bytes that go.
    pub range: Range<usize>,
    /// What comes instead.
    pub text: String,
}

/// Files with their new content; none for one that is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Change {
    /// By path from the top of the workspace.
    pub files: BTreeMap<PathBuf, Option<String>>,
}

impl Change {
    /// What replacements make of the files as they are. None if they overlap, lie outside, or change
    /// nothing.
    pub fn of(tree: &Tree, replacements: &[Replacement]) -> Option<Self> {
        let mut by_file: BTreeMap<&PathBuf, Vec<&Replacement>> = BTreeMap::new();
        for replacement in replacements {
            by_file
                .entry(&replacement.file)
                .or_default()
                .push(replacement);
        }
        let mut files = BTreeMap::new();
        for (file, replacements) in by_file {
            let before = tree.read(file)?;
            let after = text::replaced(&before, &replacements)?;
            if after != before {
                files.insert(file.clone(), Some(after));
            }
        }
        (!files.is_empty()).then_some(Self { files })
    }
}

/// A change that may repair something, and who proposes it why.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The fixer.
    pub fixer: Fixer,
    /// The error it is against, as one line.
    pub cause: String,
    /// What it does.
    pub description: String,
    /// Whether whoever proposes it is sure.
    pub sure: bool,
    /// The change, against the files as they are.
    pub change: Change,
    /// The same as replacements, where it is made of them: those of several candidates may be made at
    /// once.
    pub replacements: Vec<Replacement>,
}

impl Candidate {
    /// A candidate of replacements. None if they cannot be made.
    pub(super) fn new(
        tree: &Tree,
        fixer: Fixer,
        cause: String,
        description: impl Into<String>,
        replacements: Vec<Replacement>,
    ) -> Option<Self> {
        Some(Self {
            fixer,
            cause,
            description: description.into(),
            sure: false,
            change: Change::of(tree, &replacements)?,
            replacements,
        })
    }

    /// The same from one that is sure.
    pub(super) fn sure(self, sure: bool) -> Self {
        Self { sure, ..self }
    }
}

/// Who proposes changes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Fixer {
    /// Repairs that the tool proposes in its output.
    Suggestions,
    /// Rules of ours for errors whose message says what is missing.
    Rules,
    /// The tool's own way to repair, such as `ruff check --fix`.
    Tools,
    /// A package that the error names.
    Dependencies,
    /// A model, or a program, that gets the errors and returns a diff.
    Agent,
}

impl Fixer {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 5] = [
        Self::Suggestions,
        Self::Rules,
        Self::Tools,
        Self::Dependencies,
        Self::Agent,
    ];

    /// The name that people and files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suggestions => "suggestions",
            Self::Rules => "rules",
            Self::Tools => "tools",
            Self::Dependencies => "dependencies",
            Self::Agent => "agent",
        }
    }
}

impl std::str::FromStr for Fixer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fixer| fixer.name() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|fixer| fixer.name()).collect();
            format!("there is no fixer `{text}`; there are {}", names.join(", "))
        })
    }
}
