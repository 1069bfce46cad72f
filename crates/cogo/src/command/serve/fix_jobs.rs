//! Repairs that clients of the server ask for: what `cogo fix` does, as a job.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cogo_manager::jobs::{JobFailure, JobRunner, JobWork};
use cogo_plan::dispatch::Cancel;
use cogo_plan::fix::{Command, End, Event, Means, Report, Settings, Tree, fix};
use cogo_protocol::job::FixRequest;
use cogo_sandbox::exec_dir::StateDir;
use cogo_worker::workspace;
use serde_json::{Value, json};

use super::job_cancel::cancelled_with;
use crate::command::fix::{copies, event_json};
use crate::command::plan::local::Local;
use crate::command::run::home;
use crate::isolation::IsolationOption;

pub(super) struct FixJobs {
    state: StateDir,
}

impl FixJobs {
    pub(super) fn new(state: StateDir) -> Self {
        Self { state }
    }

    fn workspace(&self, request: &FixRequest) -> Result<PathBuf, String> {
        let home = home().map_err(|failure| failure.message().to_owned())?;
        workspace::resolve(&request.workspace, &home, self.state.path())
            .map_err(|error| error.to_string())
    }

    fn repair(
        &self,
        request: &FixRequest,
        work: &JobWork,
    ) -> Result<(Report, Vec<PathBuf>), String> {
        let workspace = self.workspace(request)?;
        // Nothing of an earlier try is of use: the workspace may be another one by now.
        let place = tempfile::Builder::new()
            .prefix("cogo-fix-")
            .tempdir_in(copies())
            .map_err(|error| format!("failed to make a place for the copy: {error}"))?;
        let copy = place.path().join(workspace.file_name().unwrap_or_default());
        let mut tree = Tree::copy(&workspace, &copy).map_err(|error| error.to_string())?;
        let report = cancelled_with(work, |cancel| self.search(request, work, &mut tree, cancel))?;
        if request.write && !report.diff.is_empty() {
            tree.write_back().map_err(|error| error.to_string())?;
        }
        Ok((report, tree.changed().into_iter().collect()))
    }

    fn search(
        &self,
        request: &FixRequest,
        work: &JobWork,
        tree: &mut Tree,
        cancel: &Cancel,
    ) -> Result<Report, String> {
        let command = Command {
            argv: ["/bin/sh", "-c", &request.command]
                .map(str::to_owned)
                .to_vec(),
            cwd: Path::new("").to_owned(),
            ..Command::default()
        };
        let defaults = Settings::default();
        let settings = Settings {
            attempts_max: request.attempts_max.unwrap_or(defaults.attempts_max),
            time_max: request
                .timeout
                .map_or(defaults.time_max, Duration::from_millis),
            ..defaults
        };
        let local = Local::new(
            self.state.clone(),
            tree.root().to_owned(),
            IsolationOption::default(),
        );
        let means = Means {
            dispatch: &local,
            cancel,
            agent: None,
        };
        let mut tell = |event: &Event<'_>| work.report(event_json(event));
        fix(tree, &command, &settings, &means, &mut tell).map_err(|error| error.to_string())
    }
}

impl JobRunner for FixJobs {
    fn check(&self, request: &Value) -> Result<(), String> {
        let request: FixRequest = read(request)?;
        if request.command.trim().is_empty() {
            return Err("`command` is empty".to_owned());
        }
        self.workspace(&request).map(drop)
    }

    fn run(&self, work: &JobWork) -> Result<Value, JobFailure> {
        let request: FixRequest = read(work.request()).map_err(JobFailure::new)?;
        let (report, changed) = self.repair(&request, work).map_err(JobFailure::new)?;
        let is_written = request.write && !changed.is_empty();
        let result = json!({ "report": report, "files": changed, "written": is_written });
        match report.end {
            End::NothingToFix | End::Fixed => Ok(result),
            End::Improved | End::NotFixed => Err(JobFailure {
                error: format!("{} errors are left", report.errors_after),
                result: Some(result),
            }),
        }
    }
}

fn read(request: &Value) -> Result<FixRequest, String> {
    serde_json::from_value(request.clone()).map_err(|error| error.to_string())
}
