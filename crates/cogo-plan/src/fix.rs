//! Fixes: a command that fails is repaired in a copy of the workspace, one verified change at a time.
//!
//! ```text
//! command ──runs in the copy──▶ Findings ──fixers──▶ Candidates
//!    ▲                                                  │ one at a time
//!    └───────── Tree: apply, check, keep or undo ◀──────┘
//! ```
//!
//! A change is kept if the command, run again, says strictly less: it succeeds, or it has fewer errors,
//! no new one, and no more new warnings on the changed lines than errors went. What uncovers other errors
//! is followed for a few changes, and kept only if their sum is better than where it began. The workspace
//! is not touched before [`tree::Tree::write_back`]. Every attempt is recorded, with cause, change and
//! result.

pub mod agent;
pub mod change;
mod check;
pub mod command;
mod dependency;
pub mod findings;
pub mod patch;
mod rules;
mod search;
mod suggestion;
mod text;
mod tool;
pub mod tree;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use change::Fixer;
pub use command::Command;
pub use search::{Means, fix};
pub use tree::{Tree, TreeError};

use crate::dispatch::DispatchError;

/// How much may be tried, and by whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Runs of the command at most, beside the first.
    pub attempts_max: u32,
    /// Time for all of it.
    pub time_max: Duration,
    /// Who is asked, in this order.
    pub fixers: Vec<Fixer>,
    /// Whether files that name dependencies may change.
    pub may_change_dependencies: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts_max: 100,
            time_max: Duration::from_mins(10),
            fixers: vec![Fixer::Suggestions, Fixer::Rules, Fixer::Tools],
            may_change_dependencies: false,
        }
    }
}

/// One change that was tried.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// Who proposed it.
    pub fixer: Fixer,
    /// The error it was against.
    pub cause: String,
    /// What it does.
    pub description: String,
    /// The change as a unified diff.
    pub diff: String,
    /// What came of it.
    pub result: AttemptResult,
    /// Errors before it.
    pub errors_before: usize,
    /// Errors after it, where the command was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_after: Option<usize>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum AttemptResult {
    /// Strictly better: kept.
    Kept,
    /// Other errors came to light: followed from here, and kept only with what came of it.
    Followed,
    /// Undone.
    NotBetter,
    /// Not even tried, for this reason.
    Refused {
        /// Why.
        reason: String,
    },
}

/// How fixing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The command succeeded from the start.
    NothingToFix,
    /// It succeeds now.
    Fixed,
    /// It has fewer errors than before.
    Improved,
    /// Nothing that was tried is better.
    NotFixed,
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// Errors of the first run.
    pub errors_before: usize,
    /// Errors that are left.
    pub errors_after: usize,
    /// Those errors, one line each.
    pub errors_left: Vec<String>,
    /// Whether it ended because attempts or time were used up.
    pub budget_exhausted: bool,
    /// All that was tried.
    pub attempts: Vec<Attempt>,
    /// What is kept, as a unified diff.
    pub diff: String,
}

/// What is told while fixing.
#[derive(Debug)]
pub enum Event<'a> {
    /// The command was run for the first time.
    Begun {
        /// Its errors.
        errors: usize,
    },
    /// Something was tried.
    Attempt(&'a Attempt),
    /// Somebody is asked who may take a while.
    Asking(Fixer),
    /// Something to know.
    Note(String),
}

/// Why fixing could not go on. The workspace is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// The copy.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The command could not be run.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// It was asked to stop.
    #[error("fixing was cancelled")]
    Cancelled,
}
