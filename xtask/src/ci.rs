//! What CI runs, step by step; the first failure ends it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::command::{cargo, cargo_command, has_subcommand, succeed};
use crate::{arrows, boundaries, fuzz, licenses, map, workspace};

/// One check.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<()>,
}

/// Quick checks first. The tests come last, so that the runner's summary ends the output.
const STEPS: [Step; 10] = [
    Step {
        name: "fmt",
        about: "the code is formatted",
        run: fmt,
    },
    Step {
        name: "arrows",
        about: "crates depend on each other as the map says",
        run: arrows::run,
    },
    Step {
        name: "boundaries",
        about: "crates contain what they may",
        run: boundaries::run,
    },
    Step {
        name: "map",
        about: "ARCHITECTURE.md matches the tree",
        run: map::run,
    },
    Step {
        name: "licenses",
        about: "dependencies are allowed by deny.toml",
        run: licenses::run,
    },
    Step {
        name: "clippy",
        about: "no warning in any target",
        run: clippy,
    },
    Step {
        name: "doc",
        about: "no warning in the API documentation",
        run: doc,
    },
    Step {
        name: "examples",
        about: "the example project builds and agrees",
        run: examples,
    },
    Step {
        name: "fuzz",
        about: "made-up input does no harm to what reads it",
        run: fuzz::run,
    },
    Step {
        name: "test",
        about: "all tests",
        run: test,
    },
];

/// Prints the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:<12}{}", step.name, step.about);
    }
}

/// Runs the named steps, or all.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    for step in selected(names)? {
        println!("==> {}: {}", step.name, step.about);
        let started_at = Instant::now();
        (step.run)().with_context(|| {
            format!(
                "step `{0}` failed; to repeat it: cargo xtask ci {0}",
                step.name
            )
        })?;
        println!(
            "<== {}: ok, {:.1} s",
            step.name,
            started_at.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn selected(names: &[&str]) -> Result<Vec<Step>> {
    if names.is_empty() {
        return Ok(STEPS.to_vec());
    }
    let find = |name: &&str| {
        let step = STEPS.into_iter().find(|step| step.name == *name);
        step.with_context(|| format!("there is no step `{name}`; see `cargo xtask ci --list`"))
    };
    names.iter().map(find).collect()
}

fn fmt() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "fmt",
        "--manifest-path",
        "examples/polyglot/rust/Cargo.toml",
        "--check",
    ])
}

fn clippy() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
}

fn doc() -> Result<()> {
    let arguments = [
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--locked",
    ];
    succeed(cargo_command(&arguments).env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    ))
}

fn examples() -> Result<()> {
    succeed(
        Command::new("./build-and-test.sh")
            .current_dir(workspace::root().join("examples/polyglot")),
    )
}

fn test() -> Result<()> {
    cargo(&["test", "--workspace", "--doc", "--locked"])?;
    if has_subcommand("nextest") {
        let config = format!("--config-file={NEXTEST_CONFIG}");
        cargo(&[
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            &config,
        ])
    } else {
        cargo(&[
            "test",
            "--workspace",
            "--all-targets",
            "--locked",
            "--no-fail-fast",
        ])
    }
}

/// Where the settings of the test runner are, from the root.
pub(crate) const NEXTEST_CONFIG: &str = "xtask/nextest.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_the_order_named() {
        let names: Vec<_> = selected(&["test", "fmt"])
            .unwrap()
            .iter()
            .map(|step| step.name)
            .collect();
        assert_eq!(names, ["test", "fmt"]);
    }

    #[test]
    fn all_steps_run_by_default() {
        assert_eq!(selected(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn unknown_step_is_refused() {
        assert!(selected(&["fmt", "fnt"]).is_err());
    }
}
