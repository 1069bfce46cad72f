//! Runs of plans, each in a directory of its own below the state directory.
//!
//! ```text
//! plans/<run>/plan.yaml    the plan as it was
//! plans/<run>/run.json     which workspace, from which file
//! plans/<run>/journal      what has happened
//! plans/<run>/artifacts/   files that steps have made
//! ```

use std::path::{Path, PathBuf};

use clap::Args;
use cogo_sandbox::exec_dir::StateDir;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, print};
use crate::table::Table;
use crate::{instant, state};

#[derive(Args, Debug)]
pub(super) struct ListOptions {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// What a run is of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
    /// The plan's name.
    pub(super) name: String,
    /// The file it came from.
    pub(super) file: PathBuf,
    /// Where its steps work.
    pub(super) workspace: PathBuf,
    /// Unix time in milliseconds at which it began.
    pub(super) started_at_ms: u64,
}

/// A run's directory.
pub(super) struct RunDir {
    pub(super) id: String,
    pub(super) path: PathBuf,
}

impl RunDir {
    /// A fresh one.
    pub(super) fn create(state: &StateDir, text: &str, about: &About) -> Result<Self, Failure> {
        let id = state::fresh_id(about.started_at_ms)?;
        let path = plans(state).join(&id);
        let failed = |error: std::io::Error| {
            Failure::caused(
                format!("failed to keep a run in `{}`", path.display()),
                &error,
            )
        };
        std::fs::create_dir_all(&path).map_err(failed)?;
        std::fs::write(path.join("plan.yaml"), text).map_err(failed)?;
        let about = serde_json::to_vec(about)?;
        std::fs::write(path.join("run.json"), about).map_err(failed)?;
        Ok(Self { id, path })
    }

    /// The one that is meant: `last`, an id, or an unambiguous start or end of one.
    pub(super) fn find(state: &StateDir, name: &str) -> Result<Self, Failure> {
        let ids = ids(state)?;
        let mut found = ids.iter().rev().filter(|id| {
            name == "last" || id.as_str() == name || id.starts_with(name) || id.ends_with(name)
        });
        let first = found.next().ok_or_else(|| {
            Failure::new(format!("there is no run `{name}`")).hint("`cogo plan list` shows them")
        })?;
        if name != "last" && first != name && found.next().is_some() {
            return Err(Failure::new(format!(
                "more than one run is called `{name}`"
            )));
        }
        Ok(Self {
            id: first.clone(),
            path: plans(state).join(first),
        })
    }

    pub(super) fn about(&self) -> Result<About, Failure> {
        let path = self.path.join("run.json");
        let text = std::fs::read(&path).map_err(|error| {
            Failure::caused(format!("failed to read `{}`", path.display()), &error)
        })?;
        Ok(serde_json::from_slice(&text)?)
    }
}

fn plans(state: &StateDir) -> PathBuf {
    state.path().join("plans")
}

/// Where results of steps are kept for later runs.
pub(crate) fn cache_dir(state: &StateDir) -> PathBuf {
    state.path().join("plan-cache")
}

/// All runs, the oldest first: ids begin with the time.
fn ids(state: &StateDir) -> Result<Vec<String>, Failure> {
    let listing = match std::fs::read_dir(plans(state)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut ids = Vec::new();
    for entry in listing {
        ids.extend(entry?.file_name().into_string());
    }
    ids.sort();
    Ok(ids)
}

/// The last word of a run's journal.
fn outcome(run: &Path) -> String {
    use cogo_plan::journal::Entry;
    let text = std::fs::read_to_string(run.join("journal")).unwrap_or_default();
    let last = text
        .lines()
        .next_back()
        .and_then(|line| serde_json::from_str::<Entry>(line).ok());
    match last {
        Some(Entry::Finished { outcome }) => format!("{outcome:?}").to_lowercase(),
        Some(_) | None => "not finished".to_owned(),
    }
}

/// Lists runs, the newest first.
pub(super) fn list(options: &ListOptions, state: &StateDir) -> Result<u8, Failure> {
    let mut table = Table::new(["RUN", "PLAN", "OUTCOME", "STARTED", "WORKSPACE"]);
    let mut lines = String::new();
    for id in ids(state)?.into_iter().rev() {
        let run = RunDir {
            path: plans(state).join(&id),
            id,
        };
        let about = run.about()?;
        let outcome = outcome(&run.path);
        if options.json {
            let mut object = serde_json::to_value(&about)?;
            object["run"] = run.id.into();
            object["outcome"] = outcome.into();
            lines.push_str(&format!("{object}\n"));
        } else {
            table.row([
                run.id,
                about.name,
                outcome,
                instant::ago(about.started_at_ms, instant::now_ms()),
                about.workspace.display().to_string(),
            ]);
        }
    }
    print(&if options.json { lines } else { table.render() })?;
    Ok(0)
}
