//! `cogo ps`: lists execs.

use clap::Args;
use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};
use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::verdict::{Outcome, Verdict};
use serde::Serialize;

use crate::failure::{Failure, print};
use crate::paint::{Color, Painter};
use crate::{instant, measure, state, summary};

/// Longest state and command that a table shows.
const STATE_MAX: usize = 28;
const COMMAND_MAX: usize = 40;

/// List running execs
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// List ended execs too
    #[arg(short, long)]
    all: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Print full ids alone
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// One exec, with what is known of it.
struct Listed {
    exec: ExecDir,
    state: ExecState,
    spec: Option<ExecSpec>,
    started_at_ms: Option<u64>,
}

/// Lists the execs, newest first.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let listed: Vec<Listed> = state
        .execs()?
        .into_iter()
        .rev()
        .filter_map(look)
        .filter(|listed| options.all || !matches!(listed.state, ExecState::Ended(_)))
        .collect();
    let text = if options.quiet {
        listed
            .iter()
            .flat_map(|listed| [listed.exec.id(), "\n"])
            .collect()
    } else if options.json {
        listed.iter().map(json_line).collect()
    } else {
        table(&listed, instant::now_ms(), Painter::stdout())
    };
    print(&text)?;
    Ok(0)
}

/// `None` for an exec that was removed meanwhile or whose files are damaged.
fn look(exec: ExecDir) -> Option<Listed> {
    let state = exec.state().ok()?;
    let started_at_ms = match &state {
        ExecState::Running(running) => Some(running.started_at_ms),
        ExecState::Starting => None,
        ExecState::Ended(_) => exec.running().ok()?.map(|running| running.started_at_ms),
    };
    Some(Listed {
        spec: exec.spec().ok(),
        state,
        started_at_ms,
        exec,
    })
}

fn table(listed: &[Listed], now_ms: u64, painter: Painter) -> String {
    let mut rows =
        vec![["ID", "STATE", "COMMAND", "STARTED", "TIME", "WORKSPACE"].map(str::to_owned)];
    rows.extend(listed.iter().map(|listed| row(listed, now_ms)));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padded = format!("{cell:width$}  ");
            let color = (column == 1 && index > 0).then(|| color(&listed[index - 1].state));
            line.push_str(&match color {
                Some(color) => painter.paint(color, padded),
                None => padded,
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(listed: &Listed, now_ms: u64) -> [String; 6] {
    let spec = listed.spec.as_ref();
    let time = match (&listed.state, listed.started_at_ms) {
        (ExecState::Ended(verdict), _) => measure::time(verdict.usage.wall),
        (_, Some(at)) => measure::time(std::time::Duration::from_millis(now_ms.saturating_sub(at))),
        (_, None) => "-".to_owned(),
    };
    [
        state::short_id(&listed.exec).to_owned(),
        shortened(&state_text(&listed.state), STATE_MAX),
        shortened(
            &spec.map_or_else(|| "?".to_owned(), |spec| spec.argv.join(" ")),
            COMMAND_MAX,
        ),
        listed
            .started_at_ms
            .map_or_else(|| "-".to_owned(), |at| instant::ago(at, now_ms)),
        time,
        spec.map_or_else(
            || "?".to_owned(),
            |spec| spec.workspace.path.display().to_string(),
        ),
    ]
}

fn color(state: &ExecState) -> Color {
    match state {
        ExecState::Starting | ExecState::Running(_) => Color::Cyan,
        ExecState::Ended(Verdict {
            outcome: Outcome::Exited { code: 0 },
            ..
        }) => Color::Green,
        ExecState::Ended(Verdict {
            outcome: Outcome::Cancelled,
            ..
        }) => Color::Yellow,
        ExecState::Ended(_) => Color::Red,
    }
}

fn state_text(state: &ExecState) -> String {
    match state {
        ExecState::Starting => "starting".to_owned(),
        ExecState::Running(_) => "running".to_owned(),
        ExecState::Ended(verdict) => summary::outcome(&verdict.outcome),
    }
}

/// One line of at most so many characters, without control characters.
fn shortened(text: &str, characters_max: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= characters_max {
        return text.chars().map(clean).collect();
    }
    let mut short: String = text.chars().take(characters_max - 1).map(clean).collect();
    short.push('…');
    short
}

/// An exec as `cogo ps --json` tells it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    exec_id: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    argv: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<&'a std::path::Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<cogo_protocol::verdict::Outcome>,
    exec_dir: &'a std::path::Path,
}

fn json_line(listed: &Listed) -> String {
    let verdict = match &listed.state {
        ExecState::Ended(verdict) => Some(verdict),
        ExecState::Starting | ExecState::Running(_) => None,
    };
    let line = Line {
        exec_id: listed.exec.id(),
        state: match listed.state {
            ExecState::Starting => "starting",
            ExecState::Running(_) => "running",
            ExecState::Ended(_) => "ended",
        },
        argv: listed.spec.as_ref().map(|spec| spec.argv.as_slice()),
        workspace: listed
            .spec
            .as_ref()
            .map(|spec| spec.workspace.path.as_path()),
        started_at_ms: listed.started_at_ms,
        ended_at_ms: verdict.map(|verdict| verdict.ended_at_ms),
        pid: match &listed.state {
            ExecState::Running(running) => running.command_pid,
            ExecState::Starting | ExecState::Ended(_) => None,
        },
        outcome: verdict.map(|verdict| cogo_worker::convert::outcome(&verdict.outcome)),
        exec_dir: listed.exec.path(),
    };
    // A path that is not UTF-8 cannot be told in JSON.
    serde_json::to_string(&line).map_or_else(|_| String::new(), |line| line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_wild_text_is_tamed() {
        assert_eq!(shortened("cargo test", 10), "cargo test");
        assert_eq!(shortened("cargo tests", 10), "cargo tes…");
        assert_eq!(shortened("a\nb\x1b[2Jc", 40), "a b [2Jc");
    }

    #[test]
    fn an_empty_table_has_its_heading() {
        let text = table(&[], 0, Painter::plain());
        assert_eq!(text, "ID  STATE  COMMAND  STARTED  TIME  WORKSPACE\n");
    }
}
