//! A plan as people write it, in YAML or JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};

use cogo_protocol::task::Priority;
use cogo_protocol::units::{Bytes, Cpus, TimeSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

/// A plan: steps, and what holds for all of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// What to call it. Default: the name of its file.
    #[serde(default)]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Variables that every step gets.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Spanned<Scalar>>,
    /// Steps that run at the same time at most. Default: as many as there are cores.
    #[serde(default)]
    pub parallel: Option<NonZeroUsize>,
    /// The steps. Their order says nothing; what they need does.
    pub steps: Vec<Step>,
}

/// One step: a command, when to run it, and what it may use.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// Its name in the plan: letters, digits, `-` and `_`.
    #[schemars(with = "String")]
    pub id: Spanned<String>,
    /// What kind of work it is, which decides where it runs.
    #[serde(rename = "type")]
    pub kind: StepType,
    /// What it does, in words. One that speaks of compile, build, test or run sends the step to a
    /// sandbox of a worker.
    #[serde(default)]
    pub description: Option<String>,
    /// The command, run by `/bin/sh`. May hold `${{ … }}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub run: Option<Spanned<String>>,
    /// The program and its arguments instead, without a shell. May hold `${{ … }}`.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub argv: Vec<Spanned<String>>,
    /// Steps that have to end before this one begins.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub needs: Vec<Spanned<String>>,
    /// Runs the step once for each combination of these values, at the same time.
    #[serde(default)]
    pub matrix: BTreeMap<String, Vec<Scalar>>,
    /// Whether to run it, asked when all it needs has ended. Default: `success()`.
    #[serde(default, rename = "if")]
    #[schemars(with = "Option<String>")]
    pub condition: Option<Spanned<String>>,
    /// Variables for this step. May hold `${{ … }}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Spanned<Scalar>>,
    /// Directory of the workspace it starts in. Default: the workspace.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Files its result depends on, as globs below the workspace. With them the step is skipped
    /// when it succeeded before with the same files, command and variables.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub inputs: Vec<Spanned<String>>,
    /// Values it tells later steps, by printing lines `::output NAME=VALUE`.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Files to keep of a success, as globs below the workspace.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub artifacts: Vec<Spanned<String>>,
    /// What its processes may use together.
    #[serde(default)]
    pub limits: StepLimits,
    /// What it may reach: `none` (default), `host`, or a list of domains.
    #[serde(default)]
    pub network: StepNetwork,
    /// How urgent it is, from 0 to 9. Default: 5.
    #[serde(default)]
    pub priority: Priority,
    /// Ends it after this time, such as `10m`. Default: never.
    #[serde(default)]
    pub timeout: Option<TimeSpan>,
    /// Times that tests which failed are run again, for steps of type `test` whose command is of a known
    /// runner. Default: 2.
    #[serde(default)]
    pub reruns: Option<u32>,
    /// Attempts at most when it fails. Default: 1.
    #[serde(default)]
    pub attempts: Option<NonZeroU32>,
    /// What its failure means for the plan.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// The fixed types of steps.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StepType {
    /// Runs code in the executor.
    CodeExecution,
    /// Works on files of the workspace.
    FileOperation,
    /// Works on the repository.
    GitOperation,
    /// Brings something out, by the command it names.
    Deployment,
    /// Looks at the repository.
    Analysis,
    /// Whatever its command does.
    Custom,
    /// Runs a command in a sandbox.
    SandboxExecution,
    /// Compiles.
    Compilation,
    /// Builds.
    Build,
    /// Tests.
    Test,
}

/// What a failure means for the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// No more steps begin, but those that ask for it by `always()` or `failure()`.
    #[default]
    Stop,
    /// Steps that do not need it go on; the plan fails.
    Continue,
    /// As if it had succeeded.
    Ignore,
}

/// Bounds of a step's whole process tree. Defaults are those of `cogo run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StepLimits {
    /// Memory, such as `2GiB`.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// Cores, such as `1.5`.
    #[serde(default)]
    pub cpus: Option<Cpus>,
    /// Processes and threads at once.
    #[serde(default)]
    pub pids: Option<NonZeroU32>,
    /// Room in the private places, such as `/tmp`.
    #[serde(default)]
    pub disk: Option<Bytes>,
}

/// What a step may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepNetwork {
    /// Nothing.
    #[default]
    None,
    /// What the host reaches.
    Host,
    /// These domains, by HTTP and HTTPS.
    Allow(Vec<String>),
}

/// A value that people write without thinking of its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl StepType {
    /// All of them, in the order of the protocol.
    pub const ALL: [Self; 10] = [
        Self::CodeExecution,
        Self::FileOperation,
        Self::GitOperation,
        Self::Deployment,
        Self::Analysis,
        Self::Custom,
        Self::SandboxExecution,
        Self::Compilation,
        Self::Build,
        Self::Test,
    ];

    /// Its name in a plan.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CodeExecution => "code-execution",
            Self::FileOperation => "file-operation",
            Self::GitOperation => "git-operation",
            Self::Deployment => "deployment",
            Self::Analysis => "analysis",
            Self::Custom => "custom",
            Self::SandboxExecution => "sandbox-execution",
            Self::Compilation => "compilation",
            Self::Build => "build",
            Self::Test => "test",
        }
    }
}

/// The JSON Schema of a plan, for editors.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Plan)
}
