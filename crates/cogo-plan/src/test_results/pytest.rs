//! `pytest`: lines of `-v`, the sections behind them, and the short summary.

use super::collection::Collection;
use super::parser::{Format, milliseconds};
use super::{TestKey, TestResult, TestStatus, TestTool};

#[derive(Debug, Default)]
pub(super) struct Pytest {
    /// A test that has been named and has no result yet.
    open: Option<TestKey>,
    /// The test whose failure is shown, by the name in its heading.
    told: Option<(String, String)>,
}

impl Format for Pytest {
    fn tool(&self) -> TestTool {
        TestTool::Pytest
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        if is_rule(line, '=') {
            self.close(into);
            return true;
        }
        if let Some(name) = heading(line) {
            self.close(into);
            self.told = Some((name.to_owned(), String::new()));
            return true;
        }
        if let Some((_, text)) = &mut self.told {
            text.push_str(line);
            text.push('\n');
            return true;
        }
        self.result(line, into) || summary(line, into) || duration(line, into)
    }

    fn finish(&mut self, into: &mut Collection) {
        self.close(into);
    }
}

impl Pytest {
    /// `test_a.py::test_later SKIPPED (slow)      [ 37%]`, with what the test wrote in between when its
    /// output is not captured. `[gw0] [ 50%] PASSED test_a.py::test_b` by workers of xdist.
    fn result(&mut self, line: &str, into: &mut Collection) -> bool {
        if let Some(rest) = line.strip_prefix("[gw") {
            let mut words = rest.splitn(2, "%] ");
            let told = words.nth(1).and_then(|rest| rest.split_once(' '));
            let Some((word, id)) = told else { return false };
            return status(word).is_some_and(|status| {
                into.ended(TestResult::new(key(id), status));
                true
            });
        }
        let body = without_percent(line);
        if let Some((id, status, message)) = named(body) {
            let key = key(id);
            into.began(key.clone());
            into.ended(TestResult::new(key, status).message(message));
            self.open = None;
            return true;
        }
        if let (Some(key), Some(status)) = (&self.open, status(body)) {
            into.ended(TestResult::new(key.clone(), status));
            self.open = None;
            return true;
        }
        // A name alone, in front of whatever the test wrote, or of its death.
        let id = body
            .split("::")
            .next()
            .filter(|file| file.rsplit('.').next() == Some("py") && !file.contains(' '));
        if id.is_some() && body.contains("::") && !body.contains(" - ") {
            let key = key(body.split_once(' ').map_or(body, |(id, _)| id));
            into.began(key.clone());
            self.open = Some(key);
            return true;
        }
        false
    }

    fn close(&mut self, into: &mut Collection) {
        let Some((name, text)) = self.told.take() else {
            return;
        };
        // The heading says `TestK.test_in`, the id `test_a.py::TestK::test_in`.
        let wanted = name.replace('.', "::");
        let key = into.named(|key| {
            key.name == name || key.name == wanted || key.name.replace("::", ".") == name
        });
        if let Some(key) = key {
            into.explain(&key, error_line(&text), &text);
        }
    }
}

fn key(id: &str) -> TestKey {
    match id.trim().split_once("::") {
        Some((file, name)) => TestKey::new(file, name),
        None => TestKey::new("", id.trim()),
    }
}

fn status(word: &str) -> Option<TestStatus> {
    Some(match word.trim() {
        "PASSED" | "XPASS" => TestStatus::Passed,
        "FAILED" | "ERROR" => TestStatus::Failed,
        "SKIPPED" | "XFAIL" => TestStatus::Skipped,
        _ => return None,
    })
}

/// A line of `-v`: id, word, and perhaps a reason in brackets.
fn named(body: &str) -> Option<(&str, TestStatus, Option<&str>)> {
    let file_end = body.find("::")?;
    if body[..file_end].contains(' ') {
        return None;
    }
    for word in ["PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "XPASS"] {
        let Some(at) = body.rfind(&format!(" {word}")) else {
            continue;
        };
        let rest = body[at + 1 + word.len()..].trim();
        let reason = rest
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        if rest.is_empty() || reason.is_some() {
            return Some((&body[..at], status(word)?, reason));
        }
    }
    None
}

/// Without the `[ 37%]` at the end.
fn without_percent(line: &str) -> &str {
    let line = line.trim_end();
    match line
        .strip_suffix("%]")
        .and_then(|line| line.rsplit_once('['))
    {
        Some((body, number)) if number.trim().parse::<u32>().is_ok() => body.trim_end(),
        Some(_) | None => line,
    }
}

/// `FAILED test_a.py::test_bad - AssertionError: sums`, of the short summary.
fn summary(line: &str, into: &mut Collection) -> bool {
    let Some((word, rest)) = line.split_once(' ') else {
        return false;
    };
    let Some(status @ TestStatus::Failed) = status(word) else {
        return false;
    };
    let (id, message) = match rest.split_once(" - ") {
        Some((id, message)) => (id, Some(message)),
        None => (rest, None),
    };
    if !id.contains(".py") {
        return false;
    }
    into.ended(TestResult::new(key(id), status).message(message));
    true
}

/// `0.50s call     test_a.py::test_slow`, of `--durations`.
fn duration(line: &str, into: &mut Collection) -> bool {
    let mut words = line.trim_start().splitn(3, ' ');
    let (Some(time), Some("call"), Some(id)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let (Some(time), true) = (milliseconds(time), id.contains("::")) else {
        return false;
    };
    let key = key(id);
    let Some(key) = into.named(|known| *known == key) else {
        return false;
    };
    into.took(&key, time);
    true
}

/// `======= FAILURES =======`
fn is_rule(line: &str, with: char) -> bool {
    line.len() > 20 && line.starts_with(with) && line.ends_with(with)
}

/// `______ ERROR at setup of test_err ______`: the test's name.
fn heading(line: &str) -> Option<&str> {
    if !is_rule(line, '_') {
        return None;
    }
    let inner = line
        .trim_matches('_')
        .strip_prefix(' ')?
        .strip_suffix(' ')?;
    let inner = inner.strip_prefix("ERROR at ").map_or(inner, |inner| {
        inner.split_once(" of ").map_or(inner, |(_, name)| name)
    });
    Some(inner)
}

/// `E       AssertionError: sums`
fn error_line(text: &str) -> Option<&str> {
    let mut errors = text.lines().filter_map(|line| line.strip_prefix("E "));
    errors.next().map(str::trim)
}
