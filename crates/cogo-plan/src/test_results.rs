//! Results of tests, read from what test runners write while they write it.
//!
//! ```text
//! bytes ──lines──▶ libtest │ nextest │ pytest │ go │ jest, vitest │ node:test │ TAP │ JUnit ──▶ results
//! ```
//!
//! A [`TestParser`] is fed with the bytes of both streams. It returns each result when its line is there;
//! what the runner says of a failure comes later, and is in what [`TestParser::finish`] returns. Which
//! runner wrote a line is found from the line, unless the command says it. A test that began and has no
//! result is told as [`TestStatus::Unfinished`]: the runner died, or was ended, in it or beside it.

mod collection;
mod go;
mod javascript;
mod junit;
mod libtest;
mod nextest;
mod node;
mod parser;
mod pytest;
mod report;
mod tap;
mod tree;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use junit::read_junit;
pub(crate) use libtest::suite as libtest_suite;
pub use parser::TestParser;
pub use report::{Reported, read_report, write_junit};

/// A program that runs tests.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TestTool {
    /// `cargo test`, and any program that libtest made.
    Libtest,
    /// `cargo nextest`.
    Nextest,
    /// `pytest`.
    Pytest,
    /// `go test`.
    Go,
    /// `jest`.
    Jest,
    /// `vitest`.
    Vitest,
    /// `node --test`.
    NodeTest,
    /// Anything that writes the Test Anything Protocol.
    Tap,
    /// Anything that writes the XML of `JUnit`.
    Junit,
}

impl TestTool {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Libtest => "libtest",
            Self::Nextest => "nextest",
            Self::Pytest => "pytest",
            Self::Go => "go",
            Self::Jest => "jest",
            Self::Vitest => "vitest",
            Self::NodeTest => "node-test",
            Self::Tap => "tap",
            Self::Junit => "junit",
        }
    }
}

/// What tells tests apart.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct TestKey {
    /// Where the runner keeps the test: a program, a package or a file. Empty where it says none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// Its name as the runner writes it; groups and the test are parted by ` > ` where a runner nests
    /// them.
    pub name: String,
}

impl TestKey {
    /// A key of these.
    pub fn new(suite: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            suite: suite.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for TestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.suite.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{} {}", self.suite, self.name)
        }
    }
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TestStatus {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It was not run, or its failure is expected.
    Skipped,
    /// The runner stopped it because it took too long.
    TimedOut,
    /// It began, and nothing says how it ended.
    Unfinished,
}

impl TestStatus {
    /// Whether the test did what it should, as far as it was asked.
    pub const fn is_good(self) -> bool {
        match self {
            Self::Passed | Self::Skipped => true,
            Self::Failed | Self::TimedOut | Self::Unfinished => false,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed out",
            Self::Unfinished => "unfinished",
        }
    }
}

/// One result of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// The test.
    #[serde(flatten)]
    pub key: TestKey,
    /// How it ended.
    pub status: TestStatus,
    /// How long it took, where the runner says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// Why it failed or was skipped, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it wrote, or what the runner wrote of its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl TestResult {
    /// A result without details.
    pub fn new(key: TestKey, status: TestStatus) -> Self {
        Self {
            key,
            status,
            duration_ms: None,
            message: None,
            output: None,
        }
    }

    fn took(mut self, duration_ms: Option<f64>) -> Self {
        self.duration_ms = duration_ms;
        self
    }

    fn message(mut self, message: Option<&str>) -> Self {
        self.message = (message.map(str::trim).filter(|text| !text.is_empty())).map(str::to_owned);
        self
    }
}

#[cfg(test)]
mod tests;
