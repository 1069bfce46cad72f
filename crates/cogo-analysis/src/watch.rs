//! Live analysis: files that change are analysed as they do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use notify::{EventKind, RecursiveMode, Watcher as _};

use crate::analyse::{AnalysisError, Event, Summary, analyse, analyse_paths};
use crate::store::Store;

/// Changes that come within this time are taken together.
const QUIET: Duration = Duration::from_millis(20);
/// Changes that go on and on are taken after this time all the same.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// How often a cancellation is looked for.
const TICK: Duration = Duration::from_millis(200);
/// From so many changes on, a scan of everything costs less.
const PATHS_MAX: usize = 500;

/// Why watching ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system does not tell of changes.
    #[error("failed to watch `{root}`")]
    Watch {
        /// What was to be watched.
        root: PathBuf,
        /// Why.
        source: notify::Error,
    },
    /// An analysis failed.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
}

/// Analyses a repository, then every change of it until it is cancelled.
///
/// `round` is told the result of every analysis that changed something, the first one included.
///
/// # Errors
///
/// When changes cannot be watched, or an analysis fails.
pub fn watch(
    store: &mut Store,
    root: &Path,
    cancelled: &AtomicBool,
    observer: &mut dyn FnMut(&Event<'_>),
    round: &mut dyn FnMut(&Summary),
) -> Result<(), WatchError> {
    let failed = |source| WatchError::Watch {
        root: root.to_owned(),
        source,
    };
    let (sender, receiver) = channel();
    let mut watcher = notify::recommended_watcher(sender).map_err(failed)?;
    // Watched before the first look, so that no change falls between.
    watcher
        .watch(root, RecursiveMode::Recursive)
        .map_err(failed)?;
    round(&analyse(store, root, cancelled, observer)?);
    let mut ignored = ignored(root);
    while !cancelled.load(Ordering::Relaxed) {
        let first = match receiver.recv_timeout(TICK) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let mut batch = Batch::default();
        batch.add(first);
        let since = Instant::now();
        while since.elapsed() < QUIET_MAX
            && let Ok(event) = receiver.recv_timeout(QUIET)
        {
            batch.add(event);
        }
        if batch.needs_scan(root) {
            ignored = self::ignored(root);
            round(&analyse(store, root, cancelled, observer)?);
            continue;
        }
        let paths: Vec<PathBuf> = batch
            .paths
            .into_iter()
            .filter(|path| is_wanted(root, path, &ignored))
            .collect();
        if paths.is_empty() {
            continue;
        }
        let summary = analyse_paths(store, root, &paths, cancelled, observer)?;
        if summary.read + summary.removed > 0 {
            round(&summary);
        }
    }
    Ok(())
}

/// Changes that are taken together.
#[derive(Default)]
struct Batch {
    paths: BTreeSet<PathBuf>,
    is_incomplete: bool,
}

impl Batch {
    fn add(&mut self, event: Result<notify::Event, notify::Error>) {
        match event {
            Ok(event) if event.need_rescan() => self.is_incomplete = true,
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            Ok(event) => self.paths.extend(event.paths),
            Err(_) => self.is_incomplete = true,
        }
    }

    /// Whether single paths do not tell what changed: folders that came or went, rules for what is
    /// ignored, a switch of the branch, or very much.
    fn needs_scan(&self, root: &Path) -> bool {
        let is_special = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            matches!(name, Some(".gitignore" | ".ignore")) || *path == root.join(".git/HEAD")
        };
        let is_folder = |path: &PathBuf| {
            path.is_dir() && !path.starts_with(root.join(".git")) && path.as_path() != root
        };
        // What is gone may have been a folder; a file that was known has a stem and an ending.
        let may_have_been_folder = |path: &PathBuf| {
            !path.exists() && path.extension().is_none() && !path.starts_with(root.join(".git"))
        };
        self.is_incomplete
            || self.paths.len() > PATHS_MAX
            || self
                .paths
                .iter()
                .any(|path| is_special(path) || is_folder(path) || may_have_been_folder(path))
    }
}

fn ignored(root: &Path) -> Gitignore {
    let mut builder = GitignoreBuilder::new(root);
    let walk = ignore::WalkBuilder::new(root)
        .hidden(false)
        .require_git(false)
        .build();
    for entry in walk.filter_map(Result::ok) {
        if entry.file_name() == ".gitignore" {
            // A rule that cannot be read ignores nothing, here as in git.
            let _ = builder.add(entry.path());
        }
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

fn is_wanted(root: &Path, path: &Path, ignored: &Gitignore) -> bool {
    let Ok(relative) = path.strip_prefix(root) else {
        return false;
    };
    !relative.starts_with(".git")
        && !ignored
            .matched_path_or_any_parents(relative, false)
            .is_ignore()
}

#[cfg(test)]
mod tests {

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    #[test]
    fn changes_are_stored_as_they_happen() {
        let root = tempfile::tempdir().unwrap();
        let root_path = std::fs::canonicalize(root.path()).unwrap();
        let state = tempfile::tempdir().unwrap();
        std::fs::write(root_path.join(".gitignore"), "out/\n").unwrap();
        std::fs::create_dir(root_path.join("out")).unwrap();
        std::fs::write(root_path.join("a.py"), "def f(): pass\n").unwrap();
        let cancelled = AtomicBool::new(false);
        let (sender, rounds) = channel();
        std::thread::scope(|scope| {
            let (cancelled, state, root_path) = (&cancelled, state.path(), &root_path);
            scope.spawn(move || {
                let mut store = Store::open(state, root_path).unwrap();
                let mut paths = Vec::new();
                let paths = std::cell::RefCell::new(&mut paths);
                let result = watch(
                    &mut store,
                    root_path,
                    cancelled,
                    &mut |event| match event {
                        Event::FileStored { path, .. } => {
                            paths.borrow_mut().push(format!("+{path}"));
                        }
                        Event::FileRemoved { path } => paths.borrow_mut().push(format!("-{path}")),
                        Event::Scanned { .. } | Event::Resolved { .. } => {}
                    },
                    &mut |_| {
                        let changed = std::mem::take(&mut **paths.borrow_mut());
                        let _ = sender.send(changed);
                    },
                );
                assert!(result.is_ok());
            });
            let expect = |path: &str| {
                loop {
                    let round: Vec<String> = rounds.recv_timeout(PATIENCE).unwrap();
                    if round.iter().any(|changed| changed == path) {
                        break;
                    }
                }
            };
            expect("+a.py");
            std::fs::write(root_path.join("out/x.py"), "def x(): pass\n").unwrap();
            std::fs::write(root_path.join("b.py"), "from a import f\nf()\n").unwrap();
            expect("+b.py");
            std::fs::remove_file(root_path.join("b.py")).unwrap();
            expect("-b.py");
            cancelled.store(true, Ordering::Relaxed);
        });
        let store = Store::open_read_only(state.path(), &root_path).unwrap();
        let count = |sql| {
            store
                .connection()
                .query_row(sql, [], |row| row.get::<_, u32>(0))
                .unwrap()
        };
        assert_eq!(count("SELECT count(*) FROM file WHERE path LIKE '%.py'"), 1);
    }
}
