//! Where a step runs: in a sandbox of a worker, or beside the executor.
//!
//! The rule is fixed by the protocol: compilation, build, test and sandbox steps go to a sandbox,
//! and so does a step whose description speaks of compile, build, test or run.

use serde::{Deserialize, Serialize};

use crate::document::{Step, StepType};

/// Where a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// In a sandbox, by a worker.
    Sandbox,
    /// In the executor's own restricted sandbox.
    Executor,
}

/// Words that send a step to a sandbox.
const WORDS: [&str; 4] = ["compile", "build", "test", "run"];

/// Where this step runs.
pub fn route(step: &Step) -> Route {
    let by_type = match step.kind {
        StepType::SandboxExecution | StepType::Compilation | StepType::Build | StepType::Test => {
            true
        }
        StepType::CodeExecution
        | StepType::FileOperation
        | StepType::GitOperation
        | StepType::Deployment
        | StepType::Analysis
        | StepType::Custom => false,
    };
    let by_words = || step.description.as_deref().is_some_and(speaks_of_running);
    if by_type || by_words() {
        Route::Sandbox
    } else {
        Route::Executor
    }
}

/// Whether a text has one of the words, whole and in any case.
fn speaks_of_running(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric())
        .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read;

    fn route_of(kind: &str, description: &str) -> Route {
        let text =
            format!("steps: [{{id: a, type: {kind}, description: '{description}', run: 'true'}}]");
        route(&read(&text).expect("a plan").steps[0])
    }

    #[test]
    fn the_last_four_types_go_to_a_sandbox() {
        let sandboxed: Vec<&str> = StepType::ALL
            .into_iter()
            .map(StepType::name)
            .filter(|name| route_of(name, "") == Route::Sandbox)
            .collect();
        assert_eq!(
            sandboxed,
            ["sandbox-execution", "compilation", "build", "test"]
        );
    }

    #[test]
    fn whole_words_in_any_case_send_a_step_to_a_sandbox() {
        for text in ["Run the linter", "then TEST it", "pre-build", "compile."] {
            assert_eq!(route_of("custom", text), Route::Sandbox, "{text}");
        }
        for text in ["rebuilding", "runner", "latest", "compiler flags", ""] {
            assert_eq!(route_of("custom", text), Route::Executor, "{text}");
        }
    }
}
