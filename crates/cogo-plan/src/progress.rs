//! Which instance may begin, and how the whole ended: a plain function of what is known.
//!
//! ```text
//! waiting ──all needs ended, condition holds──▶ running ──▶ succeeded | failed
//!    │                                             │ an attempt is left
//!    └──condition does not hold──▶ skipped         └──▶ waiting
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::OnFailure;
use crate::expression::{NeedScope, Outlook, Scope};
use crate::graph::Graph;

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Something it needs has not ended.
    Waiting,
    /// It runs.
    Running,
    /// It did its work, now or, by the cache, before.
    Succeeded,
    /// It failed.
    Failed,
    /// It was not run.
    Skipped,
}

/// How far a plan is.
#[derive(Clone, Debug)]
pub struct Progress {
    states: Vec<State>,
    /// A failure that ends the plan was seen.
    is_stopped: bool,
    is_cancelled: bool,
}

#[derive(Clone, Debug)]
struct State {
    status: Status,
    /// Attempts begun.
    attempts: u32,
    outputs: BTreeMap<String, String>,
    /// It failed, or was skipped because of a failure.
    is_tainted: bool,
}

/// How a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanOutcome {
    /// All that had to be done is done.
    Succeeded,
    /// A step failed whose failure counts.
    Failed,
    /// It was ended from outside.
    Cancelled,
}

impl Progress {
    /// Nothing has begun.
    pub fn new(graph: &Graph) -> Self {
        let waiting = State {
            status: Status::Waiting,
            attempts: 0,
            outputs: BTreeMap::new(),
            is_tainted: false,
        };
        Self {
            states: vec![waiting; graph.nodes.len()],
            is_stopped: false,
            is_cancelled: false,
        }
    }

    /// Where an instance stands.
    pub fn status(&self, node: usize) -> Status {
        self.states[node].status
    }

    /// The waiting instances whose needs have all ended: the most urgent first, then in the order
    /// of the plan.
    pub fn ready(&self, graph: &Graph) -> Vec<usize> {
        let mut ready: Vec<usize> = (0..self.states.len())
            .filter(|node| self.states[*node].status == Status::Waiting)
            .filter(|node| {
                let mut needs = graph.nodes[*node].needs.iter();
                needs.all(|need| self.is_over(*need))
            })
            .collect();
        ready.sort_by_key(|node| std::cmp::Reverse(graph.step(*node).priority));
        ready
    }

    /// What `success()` and `failure()` say for an instance.
    pub fn outlook(&self, graph: &Graph, node: usize) -> Outlook {
        let needs = &graph.nodes[node].needs;
        let counts = |need: usize| self.counts_as_success(graph, need);
        Outlook {
            success: needs.iter().all(|need| counts(*need)) && !self.is_stopped,
            failure: self.is_stopped || needs.iter().any(|need| self.states[*need].is_tainted),
        }
    }

    /// What expressions of an instance see, but for its variables.
    pub fn scope(&self, graph: &Graph, node: usize) -> Scope {
        let mut scope = Scope {
            matrix: graph.nodes[node].matrix.clone(),
            ..Scope::default()
        };
        for need in &graph.nodes[node].needs {
            let state = &self.states[*need];
            let seen = scope
                .needs
                .entry(graph.step(*need).id.value.clone())
                .or_insert_with(|| NeedScope {
                    status: "succeeded",
                    outputs: BTreeMap::new(),
                });
            seen.status = worse(seen.status, self.told_status(graph, *need));
            seen.outputs.extend(state.outputs.clone());
        }
        scope
    }

    /// An attempt begins; its number, from 1.
    pub fn begin(&mut self, node: usize) -> u32 {
        let state = &mut self.states[node];
        state.status = Status::Running;
        state.attempts += 1;
        state.attempts
    }

    /// It is known that so many attempts were made before.
    pub fn remember_attempts(&mut self, node: usize, attempts: u32) {
        self.states[node].attempts = attempts;
    }

    /// The last attempt begins, whatever the plan says: another one would fail as well.
    pub fn begin_last(&mut self, graph: &Graph, node: usize) {
        let attempts_max = graph.step(node).attempts;
        self.begin(node);
        self.states[node].attempts = attempts_max.map_or(1, std::num::NonZeroU32::get);
    }

    /// How many instances are over.
    pub fn done(&self) -> usize {
        (0..self.states.len())
            .filter(|node| self.is_over(*node))
            .count()
    }

    /// Its work is done.
    pub fn succeed(&mut self, node: usize, outputs: BTreeMap<String, String>) {
        let state = &mut self.states[node];
        state.status = Status::Succeeded;
        state.outputs = outputs;
    }

    /// An attempt failed. Whether another one may be made.
    pub fn fail(&mut self, graph: &Graph, node: usize) -> bool {
        let step = graph.step(node);
        let attempts_max = step.attempts.map_or(1, std::num::NonZeroU32::get);
        let is_cancelled = self.is_cancelled;
        let state = &mut self.states[node];
        if state.attempts < attempts_max && !is_cancelled {
            state.status = Status::Waiting;
            return true;
        }
        state.status = Status::Failed;
        state.is_tainted = step.on_failure != OnFailure::Ignore;
        self.is_stopped |= step.on_failure == OnFailure::Stop;
        false
    }

    /// It is not run.
    pub fn skip(&mut self, graph: &Graph, node: usize) {
        let outlook = self.outlook(graph, node);
        let state = &mut self.states[node];
        state.status = Status::Skipped;
        state.is_tainted = outlook.failure;
    }

    /// Ends it: what waits is skipped.
    pub fn cancel(&mut self) {
        self.is_cancelled = true;
        for state in &mut self.states {
            if state.status == Status::Waiting {
                state.status = Status::Skipped;
            }
        }
    }

    /// How it ended, once nothing waits or runs.
    pub fn outcome(&self, graph: &Graph) -> PlanOutcome {
        let failed = (0..self.states.len()).any(|node| {
            self.states[node].status == Status::Failed
                && graph.step(node).on_failure != OnFailure::Ignore
        });
        match (self.is_cancelled, failed) {
            (true, _) => PlanOutcome::Cancelled,
            (false, true) => PlanOutcome::Failed,
            (false, false) => PlanOutcome::Succeeded,
        }
    }

    fn is_over(&self, node: usize) -> bool {
        match self.states[node].status {
            Status::Waiting | Status::Running => false,
            Status::Succeeded | Status::Failed | Status::Skipped => true,
        }
    }

    fn counts_as_success(&self, graph: &Graph, node: usize) -> bool {
        match self.states[node].status {
            Status::Succeeded => true,
            Status::Failed => graph.step(node).on_failure == OnFailure::Ignore,
            Status::Waiting | Status::Running | Status::Skipped => false,
        }
    }

    fn told_status(&self, graph: &Graph, node: usize) -> &'static str {
        match self.states[node].status {
            _ if self.counts_as_success(graph, node) => "succeeded",
            Status::Failed => "failed",
            Status::Waiting | Status::Running | Status::Succeeded | Status::Skipped => "skipped",
        }
    }
}

fn worse(a: &'static str, b: &'static str) -> &'static str {
    let rank = |status| match status {
        "failed" => 2,
        "skipped" => 1,
        _ => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression;
    use crate::read::read;

    /// Runs a plan in which the named instances fail, and tells what ran and how it ended.
    fn run(steps: &str, failing: &[&str]) -> (Vec<String>, PlanOutcome) {
        let plan = read(&format!("steps:\n{steps}")).expect("a plan");
        let graph = Graph::new(plan).expect("a graph");
        let mut progress = Progress::new(&graph);
        let mut ran = Vec::new();
        while let Some(node) = progress.ready(&graph).first().copied() {
            let condition = graph.step(node).condition.as_ref();
            let condition = condition.map_or("success()", |condition| condition.value.as_str());
            let scope = progress.scope(&graph, node);
            let outlook = progress.outlook(&graph, node);
            if !expression::holds(condition, &scope, outlook).expect("a value") {
                progress.skip(&graph, node);
                continue;
            }
            let name = &graph.nodes[node].name;
            let attempt = progress.begin(node);
            ran.push(if attempt == 1 {
                name.clone()
            } else {
                format!("{name}#{attempt}")
            });
            if failing.contains(&ran.last().expect("one").as_str()) {
                progress.fail(&graph, node);
            } else {
                progress.succeed(node, BTreeMap::new());
            }
        }
        (ran, progress.outcome(&graph))
    }

    const CHAIN: &str = "
  - {id: build, type: build, run: x}
  - {id: test, type: test, run: x, needs: [build]}
  - {id: clean, type: custom, run: x, needs: [test], if: always()}
  - {id: alarm, type: custom, run: x, needs: [test], if: failure()}
";

    #[test]
    fn needs_come_first() {
        assert_eq!(
            run(CHAIN, &[]),
            (
                vec!["build".into(), "test".into(), "clean".into()],
                PlanOutcome::Succeeded
            )
        );
    }

    #[test]
    fn a_failure_reaches_what_needs_it() {
        let (ran, outcome) = run(CHAIN, &["build"]);
        assert_eq!(ran, ["build", "clean", "alarm"]);
        assert_eq!(outcome, PlanOutcome::Failed);
    }

    #[test]
    fn a_failure_stops_others_unless_it_is_told_not_to() {
        let steps = |on_failure: &str| {
            format!(
                "
  - {{id: lint, type: custom, run: x, on-failure: {on_failure}, priority: 9}}
  - {{id: test, type: test, run: x}}
  - {{id: publish, type: deployment, run: x, needs: [lint, test]}}
"
            )
        };
        let failing = ["lint"];
        assert_eq!(run(&steps("stop"), &failing).0, ["lint"]);
        let (ran, outcome) = run(&steps("continue"), &failing);
        assert_eq!((ran.len(), outcome), (2, PlanOutcome::Failed));
        let (ran, outcome) = run(&steps("ignore"), &failing);
        assert_eq!((ran.len(), outcome), (3, PlanOutcome::Succeeded));
    }

    #[test]
    fn attempts_are_bounded() {
        let steps = "  - {id: a, type: test, run: x, attempts: 3}\n";
        assert_eq!(
            run(steps, &["a", "a#2"]),
            (
                vec!["a".into(), "a#2".into(), "a#3".into()],
                PlanOutcome::Succeeded
            )
        );
        assert_eq!(run(steps, &["a", "a#2", "a#3"]).1, PlanOutcome::Failed);
    }

    #[test]
    fn the_most_urgent_goes_first() {
        let steps = "
  - {id: a, type: test, run: x}
  - {id: b, type: test, run: x, priority: 9}
  - {id: c, type: test, run: x, priority: 0}
";
        assert_eq!(run(steps, &[]).0, ["b", "a", "c"]);
    }
}
