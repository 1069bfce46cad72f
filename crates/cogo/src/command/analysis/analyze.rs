//! `cogo analyze`: brings what is known of a repository up to date, once or as it changes.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use cogo_analysis::analyse::{AnalysisError, Event, Summary, analyse};
use cogo_analysis::history::{self, HistoryError, HistoryOptions};
use cogo_analysis::query::counts::{Counts, counts};
use cogo_analysis::store::{Store, location};
use cogo_analysis::watch::watch;
use cogo_sandbox::exec_dir::StateDir;

use super::progress::Progress;
use super::{cancellation, failure};
use crate::failure::{Failure, chain, note, print};
use crate::measure;
use crate::origin::{self, Origin, OriginOptions};
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  cogo analyze                 the repository around the current directory
  cogo analyze ~/src/linux     another one
  cogo analyze https://example.org/a/b.git --depth 100
  cogo analyze --watch         goes on as files change, until Ctrl-C
  cogo analyze --json | jq .   what was done, as JSON

What is known lies in the state directory and may be deleted at any time. An analysis that was
stopped or killed goes on where it was.";

/// Analyse a repository: files, symbols, who uses what
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The repository: a directory, or a URL that is cloned [default: the one around the current
    /// directory]
    #[arg(value_name = "REPOSITORY")]
    repository: Option<String>,
    #[command(flatten)]
    origin: OriginOptions,
    /// Go on as files change, and tell each change
    #[arg(short, long)]
    watch: bool,
    /// Forget what is known and begin anew
    #[arg(long)]
    fresh: bool,
    /// Print JSON: one object, or with --watch one event a line
    #[arg(long)]
    json: bool,
}

/// Analyses it.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let origin = origin::find(options.repository.as_deref(), &options.origin, state.path())?;
    let root = origin.root.clone();
    if options.fresh {
        let file = location(state.path(), &root).join("analysis.db");
        // What cannot be removed is brought up to date instead.
        let _ = std::fs::remove_file(file);
    }
    let mut store = Store::open(state.path(), &root)?;
    let cancelled = cancellation()?;
    if options.watch {
        return live(options, &mut store, &root, &cancelled);
    }
    let mut progress = Progress::new();
    let result = analyse(&mut store, &root, &cancelled, &mut |event| {
        progress.show(event);
    });
    progress.clear();
    let summary = result.map_err(failure)?;
    let commits = history(&mut store, &origin, &cancelled)?;
    let counts = counts(store.connection())?;
    if options.json {
        let mut object = serde_json::to_value(summary)?;
        object["root"] = root.to_string_lossy().into();
        object["symbols"] = counts.symbols.into();
        object["edges"] = counts.edges.into();
        object["commits"] = commits.into();
        object["languages"] = serde_json::to_value(&counts.languages)?;
        object["skipped"] = serde_json::to_value(&counts.skipped)?;
        print(&format!("{object}\n"))?;
    } else {
        print(&for_people(&summary, &counts, commits))?;
    }
    Ok(0)
}

/// Reads what is new in the history. Returns how many commits that was.
fn history(store: &mut Store, origin: &Origin, cancelled: &AtomicBool) -> Result<usize, Failure> {
    let is_shown = std::io::stderr().is_terminal();
    let mut on_commit = |commits: usize| {
        if is_shown {
            origin::show_line(&format!("history: {commits} commits"));
        }
        if cancelled.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let (path, commit) = (origin.history(), origin.commit.as_deref());
    let connection = store.connection_mut();
    let options = HistoryOptions::default();
    let result = history::update_at(path, commit, connection, options, &mut on_commit);
    if is_shown {
        origin::clear();
    }
    match result {
        Ok(update) => Ok(update.unwrap_or_default().commits),
        Err(HistoryError::Cancelled) => Err(failure(AnalysisError::Cancelled)),
        // A shallow or damaged history says less; the files are known all the same.
        Err(error) => {
            note(&format!("the history is left out: {}", chain(&error)));
            Ok(0)
        }
    }
}

fn for_people(summary: &Summary, counts: &Counts, commits: usize) -> String {
    let mut table = Table::new(["LANGUAGE", "FILES", "LINES", "SYMBOLS"]);
    for row in &counts.languages {
        table.row([
            row.name.clone(),
            row.files.to_string(),
            row.lines.to_string(),
            row.symbols.to_string(),
        ]);
    }
    let skipped: Vec<String> = counts
        .skipped
        .iter()
        .map(|row| format!("{} {}", row.files, row.name))
        .collect();
    let skipped = if skipped.is_empty() {
        String::new()
    } else {
        format!("skipped: {}\n", skipped.join(", "))
    };
    format!(
        "{}\n{} symbols, {} edges; {skipped}{}: {} read, {} parsed, {} resolved, {} removed in {}; {} of \
         history\n",
        table.render(),
        counts.symbols,
        counts.edges,
        measure::count(summary.files as u64, "file"),
        summary.read,
        summary.parsed,
        summary.resolved,
        summary.removed,
        measure::time(std::time::Duration::from_millis(summary.duration_ms)),
        measure::count(commits as u64, "new commit"),
    )
}

fn live(
    options: &Options,
    store: &mut Store,
    root: &std::path::Path,
    cancelled: &AtomicBool,
) -> Result<u8, Failure> {
    let progress = std::cell::RefCell::new(Progress::new());
    let is_first = std::cell::Cell::new(true);
    let json = options.json;
    let mut observer = |event: &Event<'_>| {
        if json {
            if let Ok(line) = serde_json::to_string(event) {
                // A reader that went away ends the watch at the next signal.
                let _ = print(&(line + "\n"));
            }
            return;
        }
        match event {
            _ if is_first.get() => progress.borrow_mut().show(event),
            Event::FileStored { path, .. } => note(&format!("{path} changed")),
            Event::FileRemoved { path } => note(&format!("{path} is gone")),
            Event::Scanned { .. } | Event::Resolved { .. } => {}
        }
    };
    let mut round = |summary: &Summary| {
        progress.borrow_mut().clear();
        is_first.set(false);
        let time = measure::time(std::time::Duration::from_millis(summary.duration_ms));
        if json {
            let mut object = serde_json::to_value(summary).unwrap_or_default();
            object["event"] = "updated".into();
            let _ = print(&format!("{object}\n"));
        } else {
            let resolved = measure::count(summary.resolved as u64, "file");
            note(&format!("up to date in {time}, {resolved} resolved"));
        }
    };
    match watch(store, root, cancelled, &mut observer, &mut round) {
        Ok(()) => Ok(0),
        Err(cogo_analysis::watch::WatchError::Analysis(error)) => Err(failure(error)),
        Err(error) => Err(Failure::from(error)
            .hint("the system limits watches: raise fs.inotify.max_user_watches")),
    }
}
