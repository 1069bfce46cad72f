//! `cargo test`: `test NAME ... ok`, behind a line that names the program.

use serde_json::Value;

use super::collection::Collection;
use super::parser::Format;
use super::{TestKey, TestResult, TestStatus, TestTool};

#[derive(Debug, Default)]
pub(super) struct Libtest {
    /// The program whose tests are run.
    suite: String,
    /// A line that named a test and had its result elsewhere: the test wrote into it.
    open: Option<TestKey>,
    /// Whose output comes, and what of it has come.
    told: Option<(TestKey, String)>,
}

impl Format for Libtest {
    fn tool(&self) -> TestTool {
        TestTool::Libtest
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        if let Some(suite) = suite(line) {
            self.close(into);
            self.suite = suite;
            return true;
        }
        if let Some(name) = section(line) {
            self.close(into);
            self.told = Some((TestKey::new(&*self.suite, name), String::new()));
            return true;
        }
        if line == "failures:" || line.starts_with("test result: ") {
            self.close(into);
            self.open = None;
            return true;
        }
        if let Some((_, text)) = &mut self.told {
            text.push_str(line);
            text.push('\n');
            return true;
        }
        self.result(line, into) || self.event(line, into)
    }

    fn finish(&mut self, into: &mut Collection) {
        self.close(into);
    }
}

impl Libtest {
    fn result(&mut self, line: &str, into: &mut Collection) -> bool {
        let Some(rest) = line.strip_prefix("test ") else {
            return self.end_of_open(line, into);
        };
        if let Some((name, _)) = rest.split_once(" has been running for over ") {
            into.began(self.key(name));
            return true;
        }
        let Some((name, word)) = rest.rsplit_once(" ... ") else {
            return false;
        };
        let key = self.key(name);
        into.began(key.clone());
        match ended(key.clone(), word) {
            Some(result) => into.ended(result),
            None => self.open = Some(key),
        }
        true
    }

    /// With `--nocapture` the result stands behind what the test wrote.
    fn end_of_open(&mut self, line: &str, into: &mut Collection) -> bool {
        let Some(key) = &self.open else { return false };
        let word = ["ok", "FAILED"]
            .into_iter()
            .find(|word| line.ends_with(word));
        if let Some(result) = word.and_then(|word| ended(key.clone(), word)) {
            self.open = None;
            into.ended(result);
            return true;
        }
        false
    }

    /// `--format json` of the nightly libtest.
    fn event(&mut self, line: &str, into: &mut Collection) -> bool {
        if !line.starts_with('{') {
            return false;
        }
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            return false;
        };
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let (Some("test"), Some(what), Some(name)) = (text("type"), text("event"), text("name"))
        else {
            return event.get("type").is_some() && event.get("event").is_some();
        };
        let key = self.key(name);
        let status = match what {
            "ok" => TestStatus::Passed,
            "failed" => TestStatus::Failed,
            "ignored" => TestStatus::Skipped,
            _ => {
                into.began(key);
                return true;
            }
        };
        let seconds = event.get("exec_time").and_then(Value::as_f64);
        into.ended(TestResult::new(key.clone(), status).took(seconds.map(|s| s * 1000.0)));
        if let Some(output) = text("stdout") {
            into.explain(&key, panic_message(output), output);
        }
        true
    }

    fn key(&self, name: &str) -> TestKey {
        TestKey::new(
            &*self.suite,
            name.trim_end_matches(" - should panic").trim(),
        )
    }

    fn close(&mut self, into: &mut Collection) {
        if let Some((key, text)) = self.told.take() {
            into.explain(&key, panic_message(&text), &text);
        }
    }
}

/// `Running tests/it.rs (target/debug/deps/it-a69063779ff8c574)`, `Doc-tests demo`: the program's name
/// without the hash, which is another one after each change.
pub(crate) fn suite(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{package} (doc)"));
    }
    let (_, rest) = line.strip_prefix("Running ")?.split_once(" (")?;
    let file = rest.strip_suffix(')')?.rsplit('/').next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    Some(name.to_owned())
}

/// `---- tests::fails stdout ----`
fn section(line: &str) -> Option<&str> {
    let inner = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    inner
        .strip_suffix(" stdout")
        .or_else(|| inner.strip_suffix(" stderr"))
}

fn ended(key: TestKey, word: &str) -> Option<TestResult> {
    let (word, time) = match word.split_once(" <") {
        Some((word, time)) => (
            word,
            super::parser::milliseconds(time.trim_end_matches('>')),
        ),
        None => (word, None),
    };
    let (status, message) = match word.trim_end() {
        "ok" => (TestStatus::Passed, None),
        "FAILED" | "failed" => (TestStatus::Failed, None),
        "ignored" => (TestStatus::Skipped, None),
        word => (TestStatus::Skipped, Some(word.strip_prefix("ignored, ")?)),
    };
    Some(TestResult::new(key, status).took(time).message(message))
}

/// The line behind `thread '…' panicked at …:`, or the error a test returned.
pub(super) fn panic_message(output: &str) -> Option<&str> {
    let mut lines = output.lines().map(str::trim_start);
    let mut error = None;
    while let Some(line) = lines.next() {
        if line.starts_with("thread '") && line.contains("panicked at") {
            // Before Rust 1.73 the message stood in the same line.
            return match line.split_once("panicked at '") {
                Some((_, message)) => message.rsplit_once("', ").map(|(message, _)| message),
                None => lines.next(),
            };
        }
        if line.starts_with("Error: ") {
            error = Some(line);
        }
    }
    error
}
