//! `cargo nextest`: `        PASS [   0.005s] (1/5) demo::it adds`.

use super::collection::Collection;
use super::libtest::panic_message;
use super::parser::{Format, milliseconds};
use super::{TestKey, TestResult, TestStatus, TestTool};

#[derive(Debug, Default)]
pub(super) struct Nextest {
    /// The last test that was told, and what came behind it.
    told: Option<(TestKey, String)>,
    /// Results stand once more in the summary, without their output.
    is_summary: bool,
}

impl Format for Nextest {
    fn tool(&self) -> TestTool {
        TestTool::Nextest
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        if let Some(result) = result(line) {
            self.close(into);
            if !result.status.is_good() && !self.is_summary {
                self.told = Some((result.key.clone(), String::new()));
            }
            into.ended(result);
            return true;
        }
        let word = line.trim_start();
        if word.starts_with("Summary [") || word.starts_with("Nextest run ID ") {
            self.close(into);
            self.is_summary = word.starts_with('S');
            return true;
        }
        let Some((_, text)) = &mut self.told else {
            return false;
        };
        if !is_frame(word) {
            text.push_str(line.strip_prefix("    ").unwrap_or(line));
            text.push('\n');
        }
        true
    }

    fn finish(&mut self, into: &mut Collection) {
        self.close(into);
    }
}

impl Nextest {
    fn close(&mut self, into: &mut Collection) {
        if let Some((key, text)) = self.told.take() {
            let how = || text.lines().find(|line| line.starts_with("(test "));
            into.explain(&key, panic_message(&text).or_else(how), &text);
        }
    }
}

/// Rules, and the names of streams between them.
fn is_frame(line: &str) -> bool {
    line.starts_with("───") || line.ends_with(" ───") || line == "Cancelling due to test failure"
}

fn result(line: &str) -> Option<TestResult> {
    let line = line.trim_start();
    let (words, rest) = line.split_once(" [")?;
    let status = match words {
        "PASS" | "LEAK" | "SLOW+PASS" => TestStatus::Passed,
        "FAIL" | "ABORT" | "LEAK-FAIL" | "EXECFAIL" | "XFAIL" => TestStatus::Failed,
        "TIMEOUT" | "TERMINATING" => TestStatus::TimedOut,
        signal if signal.starts_with("SIG") => TestStatus::Failed,
        // `TRY 2 PASS`, `FLAKY 2/3`: nextest's own repeats. The last one counts.
        repeat if repeat.starts_with("FLAKY ") => TestStatus::Passed,
        repeat if repeat.starts_with("TRY ") => match repeat.rsplit(' ').next()? {
            "PASS" => TestStatus::Passed,
            "TMT" => TestStatus::TimedOut,
            _ => TestStatus::Failed,
        },
        _ => return None,
    };
    let (time, rest) = rest.split_once(']')?;
    let duration = milliseconds(time.trim().trim_start_matches('>'));
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('(') {
        Some(counted) => counted.split_once(") ")?.1,
        None => rest,
    };
    let (suite, name) = rest.trim_end().split_once(' ')?;
    let signal = words.starts_with("SIG").then_some(words);
    Some(
        TestResult::new(TestKey::new(suite, name), status)
            .took(duration)
            .message(signal),
    )
}
