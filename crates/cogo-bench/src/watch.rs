//! How soon `cogo watch` answers an edit, and how soon a diagnostic is known after its bytes.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::lines;
use crate::measure::percentile;

/// A source with an error that a compiler finds in no time.
const BROKEN: &str = "int main(void) { return nothing; }\n";

/// The watch that is measured, and what it tells.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Prints both.
pub(crate) fn run(rounds: u32) -> anyhow::Result<()> {
    let place = tempfile::Builder::new()
        .prefix("cogo-bench")
        .tempdir_in(std::env::current_dir()?)?;
    let workspace = place.path().join("workspace");
    std::fs::create_dir(&workspace)?;
    let state = place.path().join("state");
    println!("| what | p50 ms | p95 ms | p99 ms | max ms |");
    println!("|---|---|---|---|---|");
    // `cat` takes a millisecond: what is measured is the watch.
    let source = workspace.join("source");
    std::fs::write(&source, "0\n")?;
    let mut watch = Watch::start(&state, &workspace, &["--output"], &["cat", "source"])?;
    let outputs = watch.edits(rounds, &source, |round| format!("{round}\n"), "run_output")?;
    row("edit → first output of `cat`", outputs);
    drop(watch);
    let source = workspace.join("a.c");
    std::fs::write(&source, BROKEN)?;
    let mut watch = Watch::start(&state, &workspace, &[], &["cc", "-fsyntax-only", "a.c"])?;
    let text = |round| format!("/* {round} */ {BROKEN}");
    let found = watch.edits(rounds, &source, text, "run_diagnostic")?;
    row("edit → error of `cc -fsyntax-only`", found);
    row(
        "`cc -fsyntax-only` alone, start to end",
        alone(rounds, &workspace)?,
    );
    drop(watch);
    row(
        "bytes of an error → diagnostic, following another line",
        diagnostics(&state, &workspace, rounds, "burst")?,
    );
    row(
        "bytes of an error → diagnostic, followed by silence",
        diagnostics(&state, &workspace, rounds, "silence")?,
    );
    Ok(())
}

fn row(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |percent| percentile(&times, percent).as_secs_f64() * 1e3;
    println!(
        "| {name} | {:.1} | {:.1} | {:.1} | {:.1} |",
        ms(50),
        ms(95),
        ms(99),
        ms(100)
    );
}

impl Watch {
    fn start(
        state: &Path,
        workspace: &Path,
        options: &[&str],
        command: &[&str],
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(cogo()?)
            .arg("--state-dir")
            .arg(state)
            .args(["watch", "--json"])
            .args(options)
            .arg("--")
            .args(command)
            .current_dir(workspace)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it was asked for")?;
        let mut watch = Self {
            child,
            lines: BufReader::new(stdout).lines(),
        };
        watch.event("run_ended")?;
        Ok(watch)
    }

    fn event(&mut self, kind: &str) -> anyhow::Result<Value> {
        loop {
            let line = self.lines.next().context("the watch has ended")??;
            let event: Value = serde_json::from_str(&line)?;
            if event["event"] == kind {
                return Ok(event);
            }
        }
    }

    /// Edits a file again and again, and measures until the first event of a kind.
    fn edits(
        &mut self,
        rounds: u32,
        file: &Path,
        text: impl Fn(u32) -> String,
        kind: &str,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        for round in 0..rounds {
            let text = text(round);
            let begin = Instant::now();
            std::fs::write(file, text)?;
            self.event(kind)?;
            times.push(begin.elapsed());
            self.event("run_ended")?;
        }
        Ok(times)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.child.wait();
    }
}

/// The compiler's own time.
fn alone(rounds: u32, workspace: &Path) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        let output = Command::new("cc")
            .args(["-fsyntax-only", "a.c"])
            .current_dir(workspace)
            .output()?;
        ensure!(!output.status.success(), "the source is broken");
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// A plan's step writes errors with the time in them; how old is each when its event comes?
fn diagnostics(
    state: &Path,
    workspace: &Path,
    rounds: u32,
    how: &str,
) -> anyhow::Result<Vec<Duration>> {
    let stamp = workspace.join("stamp");
    std::fs::copy(std::env::current_exe()?, &stamp)?;
    let plan = format!(
        "steps:\n  - {{id: errors, type: build, argv: [./stamp, errors, '{rounds}', {how}]}}\n"
    );
    std::fs::write(workspace.join("cogo.yaml"), plan)?;
    let mut child = Command::new(cogo()?)
        .arg("--state-dir")
        .arg(state)
        .args(["plan", "run", "--json"])
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("it was asked for")?;
    let mut times = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if !line.contains("\"step_diagnostic\"") {
            continue;
        }
        let event: Value = serde_json::from_str(&line)?;
        let message = event["diagnostic"]["message"]
            .as_str()
            .context("a message")?;
        times.push(lines::age(message)?);
    }
    child.wait()?;
    ensure!(
        times.len() == rounds as usize,
        "{} of {rounds} errors were found",
        times.len()
    );
    Ok(times)
}

/// Writes errors as gcc does, with the time in them: in one burst each with another line behind it, or
/// with a pause behind each.
pub(crate) fn errors(count: u32, how: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    for number in 0..count {
        write!(
            stdout,
            "a.c:{}:1: error: {}",
            number + 1,
            lines::now().as_nanos()
        )?;
        stdout.write_all(b"\n")?;
        if how == "burst" {
            stdout.write_all(b"    1 | int a;\n")?;
            stdout.write_all(b"make: something else\n")?;
        }
        stdout.flush()?;
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(())
}

fn cogo() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("cogo");
    ensure!(
        path.exists(),
        "`{}` is not there: build it with the same profile",
        path.display()
    );
    Ok(path)
}
