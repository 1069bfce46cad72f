//! `jest` and `vitest`: their trees of ticks and crosses, the details behind them, and jest's JSON.

use serde_json::Value;

use super::collection::Collection;
use super::parser::{Format, milliseconds};
use super::tree::{Explained, Groups};
use super::{TestKey, TestResult, TestStatus, TestTool};

#[derive(Debug)]
pub(super) struct JavaScript {
    tool: Option<TestTool>,
    /// The file whose tree is shown.
    file: String,
    /// The groups above the next line, each with its indentation.
    groups: Groups,
    /// The failure that is explained.
    told: Explained,
}

impl JavaScript {
    pub(super) fn new(tool: Option<TestTool>) -> Self {
        Self {
            tool,
            file: String::new(),
            groups: Groups::default(),
            told: Explained::default(),
        }
    }
}

impl Format for JavaScript {
    fn tool(&self) -> TestTool {
        self.tool.unwrap_or(TestTool::Jest)
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        if line.starts_with("{\"num") {
            return serde_json::from_str(line)
                .is_ok_and(|report: Value| jest_report(&report, into));
        }
        if let Some(file) = jest_file(line) {
            self.close(into);
            self.tool.get_or_insert(TestTool::Jest);
            file.clone_into(&mut self.file);
            self.groups.clear();
            return true;
        }
        if let Some(path) = line.trim_start().strip_prefix("FAIL  ") {
            self.close(into);
            self.tool.get_or_insert(TestTool::Vitest);
            return self.tell(vitest_key(path));
        }
        if let Some(path) = line.strip_prefix("  ● ") {
            self.close(into);
            let name = path.trim().replace(" › ", " > ");
            return self.tell(TestKey::new(&*self.file, name));
        }
        if is_end_of_details(line) {
            self.close(into);
            return true;
        }
        if self.told.add(line) {
            return true;
        }
        self.tree(line, into)
    }

    fn finish(&mut self, into: &mut Collection) {
        self.close(into);
    }
}

impl JavaScript {
    fn tell(&mut self, key: TestKey) -> bool {
        self.told.begin(key);
        true
    }

    /// A tick, a cross, or a group above them.
    fn tree(&mut self, line: &str, into: &mut Collection) -> bool {
        let indent = line.len() - line.trim_start().len();
        let body = line.trim();
        let mut characters = body.chars();
        let status = match characters.next() {
            Some('✓' | '√') => TestStatus::Passed,
            Some('✕' | '×') => TestStatus::Failed,
            Some('○' | '↓' | '✎') => TestStatus::Skipped,
            _ => return self.group(indent, body),
        };
        let body = characters.as_str().trim();
        if body.contains(" > ") {
            return self.flat(status, body, into);
        }
        if self.file.is_empty() {
            return false;
        }
        let (name, time) = timed(body);
        let name = name
            .trim_start_matches("skipped ")
            .trim_start_matches("todo ");
        self.groups.leave(indent);
        let key = TestKey::new(&*self.file, self.groups.path(name));
        into.ended(TestResult::new(key, status).took(time));
        true
    }

    /// vitest's ` ✓ a.test.js > outer > adds 1ms`.
    fn flat(&mut self, status: TestStatus, body: &str, into: &mut Collection) -> bool {
        self.tool.get_or_insert(TestTool::Vitest);
        let (path, time) = match body.rsplit_once(' ') {
            Some((path, time)) if milliseconds(time).is_some() => (path, milliseconds(time)),
            _ => (body, None),
        };
        into.ended(TestResult::new(vitest_key(path), status).took(time));
        true
    }

    fn group(&mut self, indent: usize, body: &str) -> bool {
        if self.file.is_empty()
            || indent == 0
            || body.is_empty()
            || self.tool == Some(TestTool::Vitest)
        {
            return false;
        }
        self.groups.enter(indent, body);
        true
    }

    fn close(&mut self, into: &mut Collection) {
        self.told.close(into);
        self.groups.clear();
    }
}

/// `FAIL ./src/a.test.js (5.1 s)`, `PASS src/b.test.js`
fn jest_file(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("PASS ")
        .or_else(|| line.strip_prefix("FAIL "))?;
    let path = rest.split(" (").next()?.trim();
    let path = path.strip_prefix("./").unwrap_or(path);
    (!path.contains(' ') && path.contains('.')).then_some(path)
}

fn vitest_key(path: &str) -> TestKey {
    match path.trim().split_once(" > ") {
        Some((file, name)) => TestKey::new(file, name),
        None => TestKey::new(path.trim(), ""),
    }
}

fn timed(body: &str) -> (&str, Option<f64>) {
    match body
        .strip_suffix(')')
        .and_then(|body| body.rsplit_once(" ("))
    {
        Some((name, time)) if milliseconds(time).is_some() => (name, milliseconds(time)),
        Some(_) | None => (body, None),
    }
}

fn is_end_of_details(line: &str) -> bool {
    let line = line.trim_start();
    ["Test Suites: ", "Test Files  ", "⎯⎯⎯"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// The report of `--json`, which vitest's `--reporter=json` writes, too.
pub(super) fn jest_report(report: &Value, into: &mut Collection) -> bool {
    let Some(files) = report.get("testResults").and_then(Value::as_array) else {
        return false;
    };
    for file in files {
        let name = file.get("name").and_then(Value::as_str).unwrap_or_default();
        let tests = file.get("assertionResults").and_then(Value::as_array);
        for test in tests.into_iter().flatten() {
            jest_test(name, test, into);
        }
    }
    true
}

fn jest_test(file: &str, told: &Value, into: &mut Collection) {
    let text = |name: &str| told.get(name).and_then(Value::as_str);
    let Some(title) = text("title") else { return };
    let groups = told.get("ancestorTitles").and_then(Value::as_array);
    let groups = groups.into_iter().flatten().filter_map(Value::as_str);
    let path: Vec<&str> = groups
        .filter(|group| !group.is_empty())
        .chain([title])
        .collect();
    let key = TestKey::new(file, path.join(" > "));
    let status = match text("status") {
        Some("passed") => TestStatus::Passed,
        Some("failed") => TestStatus::Failed,
        _ => TestStatus::Skipped,
    };
    let duration = told.get("duration").and_then(Value::as_f64);
    let said = told.get("failureMessages").and_then(|said| said.get(0));
    let said = said.and_then(Value::as_str).unwrap_or_default();
    into.ended(TestResult::new(key.clone(), status).took(duration));
    into.explain(&key, said.lines().next(), said);
}
