//! `go test`: events of `-json`, and the text of `-v`.

use serde_json::Value;

use super::collection::Collection;
use super::parser::{Format, milliseconds};
use super::{TestKey, TestResult, TestStatus, TestTool};

/// A package name that is not known yet: text tells it behind the package's tests.
#[derive(Debug, Default)]
pub(super) struct Go {
    /// Tests of text whose package comes later.
    waiting: Vec<(TestResult, String)>,
    /// The test whose output comes.
    current: Option<usize>,
    /// What events have told of tests that have not ended.
    outputs: std::collections::HashMap<TestKey, String>,
}

impl Format for Go {
    fn tool(&self) -> TestTool {
        TestTool::Go
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        if line.starts_with('{') {
            return serde_json::from_str(line).is_ok_and(|event: Value| self.event(&event, into));
        }
        self.text(line, into)
    }

    fn finish(&mut self, into: &mut Collection) {
        self.settle("", into);
    }
}

impl Go {
    fn event(&mut self, event: &Value, into: &mut Collection) -> bool {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let (Some(action), Some(package)) = (text("Action"), text("Package")) else {
            return text("Action").is_some() && text("ImportPath").is_some();
        };
        let Some(name) = text("Test") else {
            return true;
        };
        let key = TestKey::new(package, name);
        let status = match action {
            "pass" => TestStatus::Passed,
            "fail" => TestStatus::Failed,
            "skip" => TestStatus::Skipped,
            "output" => {
                let output = self.outputs.entry(key).or_default();
                output.push_str(text("Output").unwrap_or_default());
                return true;
            }
            _ => {
                into.began(key);
                return true;
            }
        };
        let seconds = event.get("Elapsed").and_then(Value::as_f64);
        into.ended(TestResult::new(key.clone(), status).took(seconds.map(|s| s * 1000.0)));
        let output = self.outputs.remove(&key).unwrap_or_default();
        if status == TestStatus::Failed {
            into.explain(&key, said(&output), &output);
        }
        true
    }

    fn text(&mut self, line: &str, into: &mut Collection) -> bool {
        let trimmed = line.trim_start();
        if let Some(name) = trimmed.strip_prefix("=== RUN ") {
            let key = TestKey::new("", name.trim());
            self.current = Some(self.waiting.len());
            self.waiting
                .push((TestResult::new(key, TestStatus::Unfinished), String::new()));
            return true;
        }
        if trimmed.starts_with("=== ") {
            return ["PAUSE", "CONT", "NAME"]
                .iter()
                .any(|word| trimmed[4..].starts_with(word));
        }
        if let Some(result) = ended(trimmed) {
            let known = (self.waiting.iter()).position(|(known, _)| known.key == result.key);
            let at = known.unwrap_or(self.waiting.len());
            match known {
                Some(at) => self.waiting[at].0 = result,
                None => self.waiting.push((result, String::new())),
            }
            self.current = Some(at);
            return true;
        }
        if let Some(package) = package(line) {
            self.settle(package, into);
            return true;
        }
        if let Some((_, output)) = self.current.and_then(|at| self.waiting.get_mut(at)) {
            output.push_str(line);
            output.push('\n');
            return true;
        }
        false
    }

    /// The package of all that waits is known, or will not be.
    fn settle(&mut self, package: &str, into: &mut Collection) {
        self.current = None;
        for (mut result, output) in self.waiting.drain(..) {
            package.clone_into(&mut result.key.suite);
            let key = result.key.clone();
            let is_failure = !result.status.is_good();
            if result.status == TestStatus::Unfinished {
                into.began(key.clone());
            } else {
                into.ended(result);
            }
            if is_failure {
                into.explain(&key, said(&output), &output);
            }
        }
    }
}

/// `--- FAIL: TestX/sub (0.01s)`
fn ended(line: &str) -> Option<TestResult> {
    let (word, rest) = line.strip_prefix("--- ")?.split_once(": ")?;
    let status = match word {
        "PASS" => TestStatus::Passed,
        "FAIL" => TestStatus::Failed,
        "SKIP" => TestStatus::Skipped,
        _ => return None,
    };
    let (name, time) = rest.rsplit_once(" (")?;
    let time = milliseconds(time.trim_end_matches(')'));
    Some(TestResult::new(TestKey::new("", name), status).took(time))
}

/// The line behind a package's tests: `ok` or `FAIL`, its name and its time, parted by tabs.
fn package(line: &str) -> Option<&str> {
    let mut parts = line.split('\t');
    let word = parts.next()?.trim_end();
    let package = parts.next()?;
    (matches!(word, "ok" | "FAIL") && !package.contains(' ')).then_some(package)
}

/// `    shop_test.go:12: sums differ`: what the test itself said.
fn said(output: &str) -> Option<&str> {
    let is_said = |line: &&str| line.contains("_test.go:") || line.starts_with("panic: ");
    let line = output.lines().map(str::trim).find(is_said)?;
    line.split_once("_test.go:")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(Some(line), |(_, message)| Some(message))
}
