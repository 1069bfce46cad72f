//! Whether a plan makes sense, before any of it runs.

use std::collections::{HashMap, HashSet};

use serde_saphyr::Spanned;

use crate::document::{Plan, Step, StepNetwork};
use crate::expression::{self, ExpressionError};
use crate::read::PlanError;

/// All that is wrong with a plan, in the order of its text.
pub fn check(plan: &Plan) -> Vec<PlanError> {
    let mut errors = Vec::new();
    if plan.steps.is_empty() {
        errors.push(PlanError::new("the plan has no steps"));
    }
    let steps = by_name(plan, &mut errors);
    for step in &plan.steps {
        check_step(step, &steps, &mut errors);
    }
    // A need that is missing makes no cycle.
    if errors.is_empty() {
        errors.extend(cycle(plan, &steps));
    }
    errors.sort_by_key(|error| error.place);
    errors
}

fn by_name<'a>(plan: &'a Plan, errors: &mut Vec<PlanError>) -> HashMap<&'a str, &'a Step> {
    let mut steps = HashMap::new();
    for step in &plan.steps {
        let name = step.id.value.as_str();
        if !is_name(name) {
            let message = format!("`{name}` cannot name a step");
            errors.push(
                PlanError::at(&step.id, message)
                    .hint("use up to 64 letters, digits, `-` and `_`, a letter first"),
            );
        }
        if steps.insert(name, step).is_some() {
            errors.push(PlanError::at(
                &step.id,
                format!("another step is called `{name}` too"),
            ));
        }
    }
    steps
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn check_step(step: &Step, steps: &HashMap<&str, &Step>, errors: &mut Vec<PlanError>) {
    check_command(step, errors);
    check_needs(step, steps, errors);
    check_values(step, errors);
    let mut check_names =
        |names: Result<HashSet<String>, ExpressionError>, at: &Spanned<_>| match names {
            Ok(names) => errors.extend(names.iter().filter_map(|name| {
                let message = unknown_name(name, step, steps)?;
                Some(PlanError::at::<String>(at, message))
            })),
            Err(error) => errors.push(PlanError::at::<String>(at, error.to_string())),
        };
    if let Some(condition) = &step.condition {
        check_names(expression::names_in_condition(&condition.value), condition);
    }
    for text in step.run.iter().chain(&step.argv) {
        check_names(expression::names_in_text(&text.value), text);
    }
    for value in step.env.values() {
        let text = Spanned::new(value.value.to_string(), value.referenced, value.defined);
        check_names(expression::names_in_text(&text.value), &text);
    }
}

fn check_command(step: &Step, errors: &mut Vec<PlanError>) {
    let name = &step.id.value;
    match (&step.run, step.argv.is_empty()) {
        (Some(run), true) if run.value.trim().is_empty() => {
            errors.push(PlanError::at(run, format!("step `{name}` runs nothing")));
        }
        (Some(_), true) | (None, false) => {}
        (None, true) => errors.push(
            PlanError::at(&step.id, format!("step `{name}` has no command"))
                .hint("add `run: COMMAND`, or `argv: [PROGRAM, ARGUMENT]`"),
        ),
        (Some(run), false) => errors.push(PlanError::at(
            run,
            format!("step `{name}` has both `run` and `argv`"),
        )),
    }
}

fn check_needs(step: &Step, steps: &HashMap<&str, &Step>, errors: &mut Vec<PlanError>) {
    let mut seen = HashSet::new();
    for need in &step.needs {
        if !steps.contains_key(need.value.as_str()) {
            let message = format!("there is no step `{}` to need", need.value);
            let error = PlanError::at(need, message);
            errors.push(match nearest(&need.value, steps.keys().copied()) {
                Some(name) => error.hint(format!("is `{name}` meant?")),
                None => error,
            });
        } else if !seen.insert(need.value.as_str()) {
            errors.push(PlanError::at(
                need,
                format!("`{}` is needed twice", need.value),
            ));
        }
    }
}

/// Values that only make sense within bounds.
fn check_values(step: &Step, errors: &mut Vec<PlanError>) {
    let name = &step.id.value;
    for (key, values) in &step.matrix {
        if values.is_empty() {
            let message = format!("`{key}` in the matrix of `{name}` has no values");
            errors.push(PlanError::at(&step.id, message));
        }
        if !is_variable(key) {
            let message =
                format!("`{key}` in the matrix of `{name}` cannot be used in expressions");
            errors.push(PlanError::at(&step.id, message).hint("use letters, digits and `_`"));
        }
    }
    for output in step.outputs.iter().filter(|output| !is_variable(output)) {
        let message = format!("output `{output}` of `{name}` cannot be used in expressions");
        errors.push(PlanError::at(&step.id, message).hint("use letters, digits and `_`"));
    }
    if matches!(&step.network, StepNetwork::Allow(domains) if domains.is_empty()) {
        let message = format!("step `{name}` allows no domain");
        errors.push(PlanError::at(&step.id, message).hint("write `network: none`"));
    }
    for glob in step.inputs.iter().chain(&step.artifacts) {
        if let Err(error) = globset::Glob::new(&glob.value) {
            errors.push(PlanError::at(glob, error.to_string()));
        } else if leaves_workspace(&glob.value) {
            let message = format!("`{}` leads out of the workspace", glob.value);
            errors.push(PlanError::at(glob, message));
        }
    }
    if step.cwd.as_deref().is_some_and(leaves_workspace) {
        let message = format!("the `cwd` of `{name}` leads out of the workspace");
        errors.push(PlanError::at(&step.id, message));
    }
}

fn leaves_workspace(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What is wrong with a name in an expression of this step, such as `needs.build.outputs.x`.
fn unknown_name(name: &str, step: &Step, steps: &HashMap<&str, &Step>) -> Option<String> {
    let mut parts = name.split('.');
    let id = &step.id.value;
    match (parts.next(), parts.next()) {
        (None | Some("env"), _) | (Some("needs" | "matrix"), None) => None,
        (Some("matrix"), Some(key)) => (!step.matrix.contains_key(key))
            .then(|| format!("`{key}` is not in the matrix of `{id}`")),
        (Some("needs"), Some(need)) => {
            if !step.needs.iter().any(|known| known.value == need) {
                return Some(format!("`{id}` does not need `{need}`"));
            }
            let needed = steps.get(need)?;
            match (parts.next(), parts.next()) {
                (None | Some("status"), _) | (Some("outputs"), None) => None,
                (Some("outputs"), Some(output)) => (!needed.outputs.iter().any(|o| o == output))
                    .then(|| format!("`{need}` has no output `{output}`")),
                (Some(other), _) => Some(format!(
                    "`{need}` has a `status` and `outputs`, no `{other}`"
                )),
            }
        }
        (Some(other), _) => Some(format!(
            "`{other}` is not known; there are `needs`, `matrix` and `env`"
        )),
    }
}

/// A name that is close to the one that was written, if there is one.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= name.len() / 3 + 1)
        .map(|(_, candidate)| candidate)
}

/// A circle of steps that need each other, if there is one.
fn cycle(plan: &Plan, steps: &HashMap<&str, &Step>) -> Option<PlanError> {
    let mut done = HashSet::new();
    for step in &plan.steps {
        if let Some(circle) = walk(step, steps, &mut done) {
            let first = circle.first()?;
            let mut names: Vec<&str> = circle.iter().map(|step| step.id.value.as_str()).collect();
            names.push(&first.id.value);
            let message = format!("steps need each other: {}", names.join(" → "));
            return Some(PlanError::at(&first.id, message));
        }
    }
    None
}

/// Follows needs from a step until a circle is found. The path is a list of its own: a long chain
/// would overflow the call stack.
fn walk<'a>(
    start: &'a Step,
    steps: &HashMap<&str, &'a Step>,
    done: &mut HashSet<&'a str>,
) -> Option<Vec<&'a Step>> {
    let mut path = vec![(start, 0)];
    let mut on_path = HashSet::from([start.id.value.as_str()]);
    while let Some((step, next)) = path.last_mut() {
        let name = step.id.value.as_str();
        let Some(need) = step.needs.get(*next) else {
            done.insert(name);
            on_path.remove(name);
            path.pop();
            continue;
        };
        *next += 1;
        let needed = *steps.get(need.value.as_str())?;
        let needed_name = needed.id.value.as_str();
        if done.contains(needed_name) {
            continue;
        }
        if !on_path.insert(needed_name) {
            let circle = path.iter().map(|(step, _)| *step);
            return Some(
                circle
                    .skip_while(|step| step.id.value != needed_name)
                    .collect(),
            );
        }
        path.push((needed, 0));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read;

    /// What is found, one line each.
    fn found(steps: &str) -> String {
        let plan = read(&format!("steps:\n{steps}")).expect("a plan");
        let lines: Vec<String> = check(&plan).iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn a_sound_plan_has_no_errors() {
        let steps = "
  - {id: a, type: build, run: 'echo ::output v=1', outputs: [v]}
  - {id: b, type: test, argv: [echo, '${{ needs.a.outputs.v }}'], needs: [a], if: needs.a.status == 'succeeded'}
  - {id: c, type: custom, run: 'echo ${{ matrix.x }} $HOME', matrix: {x: [1, two]}, env: {A: 1, B: '${{ matrix.x }}'}}
";
        assert_eq!(found(steps), "");
    }

    #[test]
    fn mistakes_are_found_at_their_place() {
        let cases = [
            ("  - {id: a, type: build}", "2:10: step `a` has no command"),
            ("  - {id: a, type: build, run: ' '}", "runs nothing"),
            (
                "  - {id: a, type: build, run: x, argv: [y]}",
                "both `run` and `argv`",
            ),
            ("  - {id: 1a, type: build, run: x}", "cannot name a step"),
            (
                "  - {id: a, type: build, run: x, needs: [b]}",
                "2:42: there is no step `b`",
            ),
            (
                "  - {id: a, type: build, run: x, matrix: {k: []}}",
                "has no values",
            ),
            ("  - {id: a, type: build, run: x, if: 'success('}", "2:38: "),
            (
                "  - {id: a, type: build, run: x, if: 'needs.b.status'}",
                "does not need `b`",
            ),
            (
                "  - {id: a, type: build, run: '${{ matrix.k }}'}",
                "not in the matrix",
            ),
            (
                "  - {id: a, type: build, run: '${{ nope }}'}",
                "`nope` is not known",
            ),
            ("  - {id: a, type: build, run: '${{ x'}", "not closed"),
            ("  - {id: a, type: build, run: x, inputs: ['[']}", "2:43: "),
            (
                "  - {id: a, type: build, run: x, artifacts: [../x]}",
                "out of the workspace",
            ),
            (
                "  - {id: a, type: build, run: x, network: {allow: []}}",
                "allows no domain",
            ),
            (
                "  - {id: a, type: build, run: x}\n  - {id: a, type: build, run: x}",
                "3:10: another step is called `a`",
            ),
            (
                "  - {id: a, type: build, run: x}\n  - {id: b, type: test, run: '${{ needs.a.outputs.v }}', needs: [a]}",
                "`a` has no output `v`",
            ),
        ];
        for (steps, expected) in cases {
            let found = found(steps);
            assert!(found.contains(expected), "{steps}: {found}");
        }
    }

    #[test]
    fn a_cycle_is_told_with_its_path() {
        let steps = "
  - {id: x, type: build, run: x, needs: [a]}
  - {id: a, type: build, run: x, needs: [b]}
  - {id: b, type: build, run: x, needs: [c]}
  - {id: c, type: build, run: x, needs: [a]}
";
        assert!(found(steps).contains("a → b → c → a"), "{}", found(steps));
        assert!(found("  - {id: a, type: build, run: x, needs: [a]}").contains("a → a"));
    }

    #[test]
    fn a_long_chain_is_no_trouble() {
        let steps: String = (0..20_000)
            .map(|number| match number {
                0 => "  - {id: s0, type: build, run: x}\n".to_owned(),
                _ => format!(
                    "  - {{id: s{number}, type: build, run: x, needs: [s{}]}}\n",
                    number - 1
                ),
            })
            .collect();
        assert_eq!(found(&steps), "");
    }
}
