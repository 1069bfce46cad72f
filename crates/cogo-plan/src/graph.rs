//! A plan's steps with their matrices expanded: what can be run, and what has to end before it.

use std::collections::{BTreeMap, HashMap};

use serde_saphyr::{Location, Spanned};

use crate::document::{Plan, Scalar, Step};
use crate::read::PlanError;

/// Most instances a plan may have.
pub const NODES_MAX: usize = 10_000;

/// One instance of a step.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which of the plan's steps it is of.
    pub step: usize,
    /// Its name: the step's, with the values of its matrix: `test[os=linux,python=3.12]`.
    pub name: String,
    /// Its values.
    pub matrix: BTreeMap<String, Scalar>,
    /// What has to end before it: nodes, in the order of the plan's `needs`.
    pub needs: Vec<usize>,
}

/// All instances, in the order of the plan.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The plan.
    pub plan: Plan,
    /// Its instances.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Sets a variable for all steps, in place of what the plan says of it.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        let value = Scalar::Text(value.to_owned());
        let value = Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN);
        self.plan.env.insert(name.to_owned(), value);
    }

    /// Expands a plan. Who needs a step needs all its instances.
    ///
    /// # Errors
    ///
    /// What [`crate::check::check`] finds first; too many instances.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        if let Some(error) = crate::check::check(&plan).into_iter().next() {
            return Err(error);
        }
        let mut nodes = Vec::new();
        let mut of_step: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, step) in plan.steps.iter().enumerate() {
            if instances(step) > NODES_MAX - nodes.len() {
                let message = format!("the plan has more than {NODES_MAX} instances of steps");
                return Err(PlanError::at(&step.id, message));
            }
            for matrix in combinations(step) {
                of_step.entry(&step.id.value).or_default().push(nodes.len());
                nodes.push(Node {
                    step: index,
                    name: name(step, &matrix),
                    matrix,
                    needs: Vec::new(),
                });
            }
        }
        for node in &mut nodes {
            let needs = plan.steps[node.step].needs.iter();
            // `check` has found all of them.
            node.needs = needs
                .flat_map(|need| of_step[need.value.as_str()].iter().copied())
                .collect();
        }
        Ok(Self { plan, nodes })
    }

    /// The step a node is of.
    pub fn step(&self, node: usize) -> &Step {
        &self.plan.steps[self.nodes[node].step]
    }
}

fn instances(step: &Step) -> usize {
    let sizes = step.matrix.values().map(Vec::len);
    sizes.fold(1, usize::saturating_mul)
}

/// All combinations of a step's matrix, the last key changing fastest. Without one, one.
fn combinations(step: &Step) -> Vec<BTreeMap<String, Scalar>> {
    let mut combinations = vec![BTreeMap::new()];
    for (key, values) in &step.matrix {
        combinations = combinations
            .iter()
            .flat_map(|combination| {
                values.iter().map(move |value| {
                    let mut extended = combination.clone();
                    extended.insert(key.clone(), value.clone());
                    extended
                })
            })
            .collect();
    }
    combinations
}

fn name(step: &Step, matrix: &BTreeMap<String, Scalar>) -> String {
    if matrix.is_empty() {
        return step.id.value.clone();
    }
    let values: Vec<String> = matrix
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{}[{}]", step.id.value, values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read;

    fn graph(text: &str) -> Result<Graph, PlanError> {
        Graph::new(read(text).expect("a plan"))
    }

    #[test]
    fn matrices_are_expanded_and_needed_whole() {
        let text = "
steps:
  - {id: test, type: test, run: 'true', matrix: {os: [a, b], py: [3.12, 3]}, needs: [build]}
  - {id: build, type: build, run: 'true'}
  - {id: report, type: custom, run: 'true', needs: [test]}
";
        let graph = graph(text).expect("a graph");
        let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "test[os=a,py=3.12]",
                "test[os=a,py=3]",
                "test[os=b,py=3.12]",
                "test[os=b,py=3]",
                "build",
                "report"
            ]
        );
        assert_eq!(graph.nodes[0].needs, [4]);
        assert_eq!(graph.nodes[5].needs, [0, 1, 2, 3]);
    }

    #[test]
    fn too_many_instances_are_refused_before_they_are_made() {
        let values: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        let values = values.join(",");
        let text = format!(
            "steps: [{{id: a, type: test, run: 'true', matrix: {{x: [{values}], y: [{values}], z: [{values}]}}}}]"
        );
        assert!(
            graph(&text)
                .expect_err("a refusal")
                .message
                .contains("10000")
        );
    }
}
