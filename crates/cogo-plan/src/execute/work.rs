//! From an instance of a step to what a dispatch is given.

use std::collections::BTreeMap;

use crate::dispatch::Work;
use crate::document::Scalar;
use crate::expression::{ExpressionError, Scope, fill};
use crate::graph::Graph;
use crate::route::route;

use super::Settings;

/// Variables of an instance that are no expressions, which is what other expressions see.
pub(super) fn plain_env(graph: &Graph, node: usize) -> BTreeMap<String, String> {
    let step = graph.step(node);
    let plain = graph.plan.env.iter().chain(&step.env);
    plain
        .map(|(name, value)| (name.clone(), value.value.to_string()))
        .filter(|(_, value)| !value.contains("${{"))
        .collect()
}

/// Fills in all expressions.
pub(super) fn work(
    graph: &Graph,
    node: usize,
    settings: &Settings,
    scope: &Scope,
) -> Result<Work, ExpressionError> {
    let step = graph.step(node);
    let argv = match &step.run {
        Some(run) => vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            fill(&run.value, scope)?,
        ],
        None => step
            .argv
            .iter()
            .map(|argument| fill(&argument.value, scope))
            .collect::<Result<_, _>>()?,
    };
    let mut env = BTreeMap::new();
    for (name, value) in graph.plan.env.iter().chain(&step.env) {
        let value = match &value.value {
            Scalar::Text(text) => fill(text, scope)?,
            plain @ (Scalar::Boolean(_) | Scalar::Integer(_) | Scalar::Number(_)) => {
                plain.to_string()
            }
        };
        env.insert(name.clone(), value);
    }
    let cwd = step.cwd.as_deref().unwrap_or_default();
    Ok(Work {
        key: String::new(),
        argv,
        env,
        cwd: settings.workspace.join(cwd),
        route: route(step),
        limits: step.limits.clone(),
        network: step.network.clone(),
        priority: step.priority,
        timeout: step.timeout.map(Into::into),
        handle: None,
    })
}
