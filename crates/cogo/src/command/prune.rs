//! `cogo prune`: removes ended execs with their logs.

use clap::Args;
use cogo_protocol::units::TimeSpan;
use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};

use crate::failure::{Failure, print};
use crate::{instant, measure, retention};

const LONG: &str = "\
Remove ended execs with their logs

Without this command, `cogo run` keeps the newest 1000 ended execs, and of these as many as take \
10 GiB together. Running execs are never removed.";

/// Remove ended execs with their logs
#[derive(Args, Debug)]
#[command(long_about = LONG)]
pub(crate) struct Options {
    /// Remove only those that ended longer ago than this
    #[arg(long, value_name = "TIME", default_value = "0s")]
    older_than: TimeSpan,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Removes and reports.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let now = instant::now_ms();
    let old: Vec<ExecDir> = state
        .execs()?
        .into_iter()
        .filter(|exec| ended_before(exec, now.saturating_sub(options.older_than.as_millis())))
        .collect();
    if options.dry_run {
        let ids: Vec<String> = old.iter().map(|exec| format!("{}\n", exec.id())).collect();
        print(&ids.concat())?;
        return Ok(0);
    }
    let freed: Vec<u64> = old
        .into_iter()
        .filter_map(retention::remove_ended)
        .collect();
    let bytes = measure::bytes(freed.iter().sum());
    print(&format!(
        "removed {}, {bytes}\n",
        measure::count(freed.len() as u64, "exec")
    ))?;
    Ok(0)
}

fn ended_before(exec: &ExecDir, before_ms: u64) -> bool {
    match exec.state() {
        Ok(ExecState::Ended(verdict)) => verdict.ended_at_ms <= before_ms,
        Ok(ExecState::Starting | ExecState::Running(_)) | Err(_) => false,
    }
}
