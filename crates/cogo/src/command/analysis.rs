//! The commands about what is in a repository: `analyze`, `query`, `impact`, `map`.

pub(crate) mod analyze;
mod draw;
pub(crate) mod impact;
pub(crate) mod map;
mod progress;
pub(crate) mod query;
mod surroundings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use cogo_analysis::analyse::{AnalysisError, analyse};
use cogo_analysis::store::{Store, StoreError};
use cogo_sandbox::exec_dir::StateDir;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::progress::Progress;
use crate::exit_code;
use crate::failure::Failure;

/// Which repository is meant, and whether it is looked at first.
#[derive(Args, Debug)]
pub(crate) struct Repository {
    /// The repository [default: the one around the current directory]
    #[arg(long = "repo", value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Answer from the last analysis, without looking for changes
    #[arg(long, global = true)]
    no_update: bool,
}

impl Repository {
    /// Where the repository is.
    fn root(&self) -> Result<PathBuf, Failure> {
        if let Some(root) = &self.root {
            located(root)
        } else {
            let here = located(Path::new("."))?;
            let around = here.ancestors().find(|folder| folder.join(".git").exists());
            Ok(around.unwrap_or(&here).to_owned())
        }
    }

    /// The store of the repository, up to date with its files.
    fn open(&self, state: &StateDir) -> Result<(Store, PathBuf), Failure> {
        let root = self.root()?;
        if !self.no_update {
            match Store::open(state.path(), &root) {
                Ok(mut store) => update(&mut store, &root)?,
                // Whoever holds it brings it up to date.
                Err(StoreError::Busy { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let store = Store::open_read_only(state.path(), &root).map_err(|error| {
            Failure::from(error).hint("`cogo analyze` analyses it; leave out --no-update")
        })?;
        Ok((store, root))
    }
}

fn located(path: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(path).map_err(|error| {
        Failure::caused(format!("failed to find `{}`", path.display()), &error)
            .hint("name a directory that exists")
    })
}

fn update(store: &mut Store, root: &Path) -> Result<(), Failure> {
    let cancelled = cancellation()?;
    let mut progress = Progress::new();
    let result = analyse(store, root, &cancelled, &mut |event| progress.show(event));
    progress.clear();
    result.map(drop).map_err(failure)
}

fn failure(error: AnalysisError) -> Failure {
    match error {
        AnalysisError::Cancelled => Failure::new(error.to_string())
            .code(exit_code::SIGNAL_BASE + SIGINT as u8)
            .hint("the same command goes on where this one stopped"),
        error => Failure::from(error),
    }
}

/// Set when the user or the system asks to stop. Asked twice, the process ends at once; the store
/// stays whole all the same.
fn cancellation() -> Result<Arc<AtomicBool>, Failure> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::caused("failed to listen for signals", &error))?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if flag.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(exit_code::SIGNAL_BASE) + signal);
                }
            }
        })
        .map_err(|error| Failure::caused("failed to listen for signals", &error))?;
    Ok(cancelled)
}
