//! Jobs: work of a manager's beside its tasks, such as a run of a plan, a repair or an analysis.
//!
//! A job may submit tasks of its own. It goes on after the manager was killed, and reports what
//! happens as events that are numbered from 1 without a gap.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::Progress;
use crate::name::name_type;

name_type! {
    /// Names a job. Clients may choose it, as a key that makes submission idempotent.
    JobId, "job id"
}

/// What sort of work a job is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A repository is analysed.
    Analysis,
    /// A build is repaired.
    Fix,
    /// A plan is run.
    Plan,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for others to end.
    Queued,
    /// It is at work.
    Running,
    /// It did what was asked.
    Succeeded,
    /// It did not.
    Failed,
    /// Someone ended it.
    Cancelled,
}

impl JobState {
    /// Whether nothing changes any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// A job, as far as it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// The job.
    pub job_id: JobId,
    /// What sort of work it is.
    pub kind: JobKind,
    /// Where it stands.
    #[serde(rename = "status")]
    pub state: JobState,
    /// Who submitted it: the name of the token used, or `local`.
    pub submitter: String,
    /// How far it is, once it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Why it failed, for a reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Unix time in milliseconds of the submission.
    pub created_at: u64,
    /// Of the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// Of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
}

/// Something that happened in a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobEvent {
    /// From 1, without a gap.
    pub number: u64,
    /// When it happened.
    pub timestamp: u64,
    /// What happened; its form depends on the kind of the job.
    pub event: Value,
}

/// Asks for an analysis of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRequest {
    /// The job's name. Default: a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Where it is: a URL, or an absolute path on the manager's host.
    pub repository: String,
    /// Branch, tag or commit. Default: what is checked out, or the remote's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Asks for the repair of a command that fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FixRequest {
    /// The job's name. Default: a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The command that is to succeed, run by the shell.
    pub command: String,
    /// Absolute path on the manager's host of the files it works on.
    pub workspace: PathBuf,
    /// Whether to change the workspace itself. Default: no, the result holds the changes.
    #[serde(default)]
    pub write: bool,
    /// Attempts at most. Default: the fixer's own bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// Milliseconds at most. Default: the fixer's own bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// Asks for a run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanRequest {
    /// The job's name. Default: a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The plan, in YAML or JSON.
    pub plan: String,
    /// Absolute path on the manager's host of the files it works on.
    pub workspace: PathBuf,
    /// Values for the plan's inputs, each as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
}
