//! Runs the targets of `fuzz/` for a moment, on the toolchain of the project: what `cargo fuzz` does
//! on a nightly one, without its sanitizer.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo_command, succeed};
use crate::workspace;

/// Made-up inputs for each target, and the seconds it takes at most.
const RUNS: u32 = 20_000;
const SECONDS_MAX: u32 = 10;

/// Coverage, as libFuzzer wants it told. The same flags as those of `cargo fuzz`.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cforce-frame-pointers=yes",
];

/// Builds and runs all targets.
pub(crate) fn run() -> Result<()> {
    let folder = workspace::root().join("fuzz");
    let host = host()?;
    let arguments = [
        "build",
        "--release",
        "--locked",
        "--manifest-path=fuzz/Cargo.toml",
        "--target-dir=target/fuzz",
        "--target",
        &host,
    ];
    succeed(cargo_command(&arguments).env("RUSTFLAGS", FLAGS.join(" ")))?;
    let binaries = workspace::root()
        .join("target/fuzz")
        .join(&host)
        .join("release");
    for target in targets(&folder)? {
        println!("--> {target}");
        run_target(&binaries.join(&target), &folder, &target)?;
    }
    Ok(())
}

/// Made-up inputs that reach something new go to a folder that is thrown away; `cargo fuzz run`
/// keeps them.
fn run_target(binary: &Path, folder: &Path, target: &str) -> Result<()> {
    let found = workspace::root().join("target/fuzz/found").join(target);
    fs::create_dir_all(&found)?;
    let artifacts = folder.join("artifacts").join(target);
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(binary);
    command
        .arg(format!("-runs={RUNS}"))
        .arg(format!("-max_total_time={SECONDS_MAX}"))
        .arg("-timeout=20")
        .arg("-rss_limit_mb=4096")
        .arg("-verbosity=0")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&found)
        .arg(folder.join("seeds").join(target));
    succeed(&mut command).with_context(|| {
        format!(
            "target `{target}` failed; its input is in `{}`",
            artifacts.display()
        )
    })
}

/// Names of all targets, in order.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    ensure!(!names.is_empty(), "`fuzz/fuzz_targets` is empty");
    names.sort();
    Ok(names)
}

/// The triple of this machine. With `--target`, build scripts are built without the flags.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.context("failed to start `rustc`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}
