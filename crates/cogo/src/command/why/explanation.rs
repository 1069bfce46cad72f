//! An explanation, for people and for programs.

use cogo_protocol::recovery::{Cause, RecoveryRecord, Strategy};
use cogo_protocol::task::{TaskState, TaskStatus};
use cogo_protocol::verdict::Verdict;
use serde::Serialize;

use super::words;
use crate::paint::{Color, Painter};
use crate::remote;

/// Lines of output that are shown.
const OUTPUT_LINES: usize = 12;

/// What became of a task or an exec.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    /// Its name.
    name: String,
    /// What it ran.
    command: String,
    /// Where it stands.
    status: String,
    /// How it ended or stands, in a few words.
    fact: String,
    /// What that means.
    meaning: String,
    /// How it is known.
    evidence: Vec<String>,
    /// What was tried, in order.
    tried: Vec<RecoveryRecord>,
    /// What can be done.
    advice: Vec<String>,
    /// The end of the latest attempt's output.
    last_output: Vec<String>,
}

impl Explanation {
    pub(super) fn of_task(task: &TaskStatus, output: &str) -> Self {
        let outcome = task.verdict.as_ref().map(|verdict| &verdict.outcome);
        let meaning = match outcome {
            Some(outcome) if task.state.is_final() => words::of_outcome(outcome),
            Some(_) | None => words::of_state(task.state),
        };
        let fact = if task.state.is_final() {
            remote::describe(task)
        } else {
            remote::state_text(task.state).to_owned()
        };
        Self {
            name: task.task_id.to_string(),
            command: task.command.clone(),
            status: remote::state_text(task.state).to_owned(),
            fact,
            meaning: meaning.to_owned(),
            evidence: evidence(task),
            tried: task.recoveries.clone(),
            advice: advice(task),
            last_output: last_lines(output),
        }
    }

    pub(super) fn of_exec(
        name: &str,
        command: &str,
        verdict: &Verdict,
        line: String,
        advice: Vec<String>,
        output: &str,
    ) -> Self {
        Self {
            name: name.to_owned(),
            command: command.to_owned(),
            status: "ended".to_owned(),
            fact: verdict.outcome.describe(),
            meaning: words::of_outcome(&verdict.outcome).to_owned(),
            evidence: std::iter::once(line)
                .chain(verdict.incidents.iter().map(words::of_incident))
                .collect(),
            tried: Vec::new(),
            advice,
            last_output: last_lines(output),
        }
    }

    pub(super) fn of_live_exec(name: &str, command: &str, output: &str) -> Self {
        Self {
            name: name.to_owned(),
            command: command.to_owned(),
            status: "running".to_owned(),
            fact: "running".to_owned(),
            meaning: words::of_state(TaskState::Running).to_owned(),
            evidence: Vec::new(),
            tried: Vec::new(),
            advice: vec![format!(
                "`cogo attach {name}` shows it, `cogo kill {name}` ends it"
            )],
            last_output: last_lines(output),
        }
    }

    pub(super) fn for_people(&self, painter: Painter) -> String {
        let label = |text: &str| painter.paint(Color::Cyan, text);
        let mut text = format!("{} {}\n", label(&format!("{}:", self.name)), self.fact);
        text += &format!("  {} {}\n", label("ran"), self.command);
        text += &format!("  {} {}\n", label("why"), self.meaning);
        for fact in &self.evidence {
            text += &format!("  {} {fact}\n", label("seen"));
        }
        for record in &self.tried {
            text += &format!("  {} {}\n", label("tried"), tried(record));
        }
        for advice in &self.advice {
            text += &format!("  {} {advice}\n", label("do"));
        }
        if !self.last_output.is_empty() {
            text += &format!("  {}\n", label("last output"));
            for line in &self.last_output {
                text += &format!("    {line}\n");
            }
        }
        text
    }
}

/// One rung of the ladder, in a line.
fn tried(record: &RecoveryRecord) -> String {
    let after = format!(
        "attempt {} on {}: {}",
        record.after_attempt,
        record.worker_id,
        record.cause.describe()
    );
    if record.strategy == Strategy::Quarantine {
        return format!("{after}; given up: {}", record.note);
    }
    let result = record.result.as_deref().unwrap_or("under way");
    format!(
        "{after}; then {} ({}): {result}",
        record.note,
        record.strategy.name()
    )
}

fn evidence(task: &TaskStatus) -> Vec<String> {
    let mut evidence = Vec::new();
    if let Some(verdict) = &task.verdict {
        evidence.extend(words::facts(&verdict.outcome));
        evidence.extend(verdict.incidents.iter().map(words::of_incident));
    }
    if let Some(usage) = &task.usage {
        evidence.push(words::of_usage(usage));
    }
    if let Some(block) = &task.block {
        evidence.push(format!(
            "hangs for {} ms: {}",
            block.duration,
            block.reason.describe()
        ));
        evidence.extend(block.evidence.clone());
    }
    let stacks = task.recoveries.last().map(|record| &record.cause);
    if let Some(Cause::Blocked { evidence: seen, .. }) = stacks {
        evidence.extend(seen.iter().cloned());
    }
    let mut known = std::collections::BTreeSet::new();
    evidence.retain(|fact| known.insert(fact.clone()));
    evidence
}

fn advice(task: &TaskStatus) -> Vec<String> {
    let mut advice = Vec::new();
    let failed = task.state.is_final() && task.state != TaskState::Succeeded;
    if let Some(verdict) = task.verdict.as_ref().filter(|_| failed) {
        advice.extend(words::advice(&verdict.outcome).map(str::to_owned));
        if words::is_recoverable(&verdict.outcome) && task.recoveries.is_empty() {
            advice.push("submit it with --recover to have this tried by itself".to_owned());
        }
    }
    if task.block.is_some() && !task.state.is_final() {
        let worker = task.worker_id.as_ref().map(ToString::to_string);
        advice.push(format!(
            "`POST /api/sandbox/recover/{}` tries what may help; `cogo kill {}` ends it",
            worker.unwrap_or_default(),
            task.task_id
        ));
    }
    advice
}

fn last_lines(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().collect();
    let from = lines.len().saturating_sub(OUTPUT_LINES);
    let visible = |line: &&str| {
        let shown = line.chars().filter(|it| !it.is_control() || *it == '\t');
        shown.collect::<String>()
    };
    lines[from..].iter().map(visible).collect()
}
