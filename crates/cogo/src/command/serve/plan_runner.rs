//! Runs plans that a manager was asked for. Sandbox steps are tasks of that manager, all others run beside
//! it; the journal lies in the job's folder, so that the next manager goes on where this one ended.

use cogo_manager::jobs::{JobFailure, JobRunner, JobWork};
use cogo_plan::cache::Cache;
use cogo_plan::execute::{Event, Settings, execute};
use cogo_plan::graph::Graph;
use cogo_plan::journal::Journal;
use cogo_plan::progress::PlanOutcome;
use cogo_plan::read::{PlanError, read};
use cogo_protocol::job::PlanRequest;
use cogo_protocol::message::{Progress, Stage};
use cogo_sandbox::exec_dir::StateDir;
use serde_json::{Map, Value, json};

use super::job_cancel::cancelled_with;
use crate::client::Client;
use crate::command::plan::{Routes, cache_dir};
use crate::command::test::history_file;
use crate::isolation::IsolationOption;

/// Runs plans.
pub(super) struct PlanRunner {
    pub(super) state: StateDir,
    /// The way to the manager itself; nothing where it speaks TLS only, and then all steps run beside it.
    pub(super) client: Option<Client>,
}

impl JobRunner for PlanRunner {
    fn check(&self, request: &Value) -> Result<(), String> {
        let request = parse(request)?;
        graph(&request)?;
        if !request.workspace.is_absolute() || !request.workspace.is_dir() {
            let path = request.workspace.display();
            return Err(format!(
                "`{path}` is not the absolute path of a folder here"
            ));
        }
        Ok(())
    }

    fn run(&self, work: &JobWork) -> Result<Value, JobFailure> {
        let request = parse(work.request()).map_err(JobFailure::new)?;
        let graph = graph(&request).map_err(JobFailure::new)?;
        let failed = |error: &dyn std::error::Error| JobFailure::new(error.to_string());
        let workspace = request
            .workspace
            .canonicalize()
            .map_err(|error| failed(&error))?;
        let settings = Settings {
            run: format!("plan-{}", work.id()),
            artifacts: work.directory().join("artifacts"),
            cache: Some(Cache::new(cache_dir(&self.state))),
            test_history: Some(history_file(&self.state, &workspace)),
            parallel: None,
            workspace,
        };
        let journal = Journal::open(&work.directory().join("journal"), &request.plan)
            .map_err(|error| failed(&error))?;
        let routes = Routes::of(
            self.client.clone(),
            &settings.workspace,
            IsolationOption::default(),
            &self.state,
        );
        let mut told = Told::default();
        let outcome = cancelled_with(work, |cancel| {
            execute(&graph, &settings, journal, &routes, cancel, &mut |event| {
                told.event(work, &graph, event);
            })
        });
        let result = json!({"outcome": outcome.as_ref().ok(), "steps": told.steps});
        let error = match outcome {
            Ok(PlanOutcome::Succeeded) => return Ok(result),
            Ok(PlanOutcome::Failed) => "a step failed".to_owned(),
            Ok(PlanOutcome::Cancelled) => "it was ended".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(JobFailure {
            error,
            result: Some(result),
        })
    }
}

fn parse(request: &Value) -> Result<PlanRequest, String> {
    let request: PlanRequest =
        serde_json::from_value(request.clone()).map_err(|error| error.to_string())?;
    if let Some(input) = request.inputs.iter().find(|input| !input.contains('=')) {
        return Err(format!("input `{input}` is not written as name=value"));
    }
    Ok(request)
}

/// The plan, with its inputs as variables of all steps.
fn graph(request: &PlanRequest) -> Result<Graph, String> {
    let told = |error: PlanError| match &error.hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    };
    let mut graph = read(&request.plan).and_then(Graph::new).map_err(told)?;
    for (name, value) in request
        .inputs
        .iter()
        .filter_map(|input| input.split_once('='))
    {
        graph.set_variable(name, value);
    }
    Ok(graph)
}

/// What was told of a run so far.
#[derive(Default)]
struct Told {
    /// How each instance ended.
    steps: Map<String, Value>,
    done: usize,
}

impl Told {
    /// Passes an event on. Output is not: it is in the logs of tasks and execs.
    fn event(&mut self, work: &JobWork, graph: &Graph, event: &Event<'_>) {
        let (step, end) = match event {
            Event::StepOutput { .. } => return,
            Event::StepStarted { step, .. } => (Some(*step), None),
            Event::StepEnded {
                step, error, retry, ..
            } if !retry => (
                Some(*step),
                Some(if error.is_none() {
                    "succeeded"
                } else {
                    "failed"
                }),
            ),
            Event::StepCached { step } => (Some(*step), Some("succeeded")),
            Event::StepSkipped { step } => (Some(*step), Some("skipped")),
            Event::StepEnded { .. }
            | Event::StepDiagnostic { .. }
            | Event::StepTests { .. }
            | Event::PlanFinished { .. } => (None, None),
        };
        work.report(serde_json::to_value(event).expect("events have string keys only"));
        let Some(step) = step else { return };
        if let Some(end) = end {
            self.done += 1;
            self.steps.insert(step.to_owned(), end.into());
        }
        let all = graph.nodes.len().max(1);
        work.progress(Progress {
            percentage: 100.0 * self.done as f64 / all as f64,
            stage: stage(graph, step),
            message: format!("{step}: {}", end.unwrap_or("running")),
            estimated_time_remaining: None,
        });
    }
}

/// The protocol's word for what a step does.
fn stage(graph: &Graph, name: &str) -> Stage {
    use cogo_plan::document::StepType;
    let node = graph.nodes.iter().position(|node| node.name == name);
    match node.map(|node| graph.step(node).kind) {
        Some(StepType::Compilation) => Stage::Compiling,
        Some(StepType::Test) => Stage::Testing,
        Some(StepType::Analysis) => Stage::Analyzing,
        Some(
            StepType::Build
            | StepType::CodeExecution
            | StepType::FileOperation
            | StepType::GitOperation
            | StepType::Deployment
            | StepType::Custom
            | StepType::SandboxExecution,
        )
        | None => Stage::Building,
    }
}
