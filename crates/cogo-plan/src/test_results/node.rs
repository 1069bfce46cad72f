//! `node --test` with its reporter for people: `✔ adds (0.6ms)`.

use super::collection::Collection;
use super::parser::{Format, milliseconds};
use super::{TestKey, TestResult, TestStatus, TestTool};

#[derive(Debug, Default)]
pub(super) struct Spec {
    /// Groups that are shown, each with its indentation.
    groups: Vec<(usize, String)>,
    /// The failure that is explained.
    told: Option<(TestKey, String)>,
    /// Failures stand once more at the end.
    is_over: bool,
}

impl Format for Spec {
    fn tool(&self) -> TestTool {
        TestTool::NodeTest
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        if self.is_over {
            return false;
        }
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if body.starts_with("ℹ ") || body == "✖ failing tests:" {
            self.close(into);
            self.is_over = body.starts_with('✖');
            return true;
        }
        if let Some(group) = body.strip_prefix("▶ ") {
            self.close(into);
            self.leave(indent);
            self.groups.push((indent, group.trim().to_owned()));
            return true;
        }
        if self.result(indent, body, into) {
            return true;
        }
        let Some((_, text)) = &mut self.told else {
            return false;
        };
        text.push_str(line);
        text.push('\n');
        true
    }

    fn finish(&mut self, into: &mut Collection) {
        self.close(into);
    }
}

impl Spec {
    fn result(&mut self, indent: usize, body: &str, into: &mut Collection) -> bool {
        let mut characters = body.chars();
        let mut status = match characters.next() {
            Some('✔') => TestStatus::Passed,
            Some('✖') => TestStatus::Failed,
            Some('﹣') => TestStatus::Skipped,
            _ => return false,
        };
        let mut rest = characters.as_str().trim();
        if let Some((before, _)) = rest.rsplit_once(" # ") {
            status = TestStatus::Skipped;
            rest = before;
        }
        let Some((name, time)) = (rest.strip_suffix(')')).and_then(|rest| rest.rsplit_once(" ("))
        else {
            return false;
        };
        let Some(time) = milliseconds(time) else {
            return false;
        };
        self.close(into);
        let is_group = self
            .groups
            .last()
            .is_some_and(|(its, group)| *its == indent && group == name);
        self.leave(indent);
        if is_group {
            return true;
        }
        let groups = self.groups.iter().map(|(_, group)| &**group);
        let path: Vec<&str> = groups.chain([name]).collect();
        let key = TestKey::new("", path.join(" > "));
        if status == TestStatus::Failed {
            self.told = Some((key.clone(), String::new()));
        }
        into.ended(TestResult::new(key, status).took(Some(time)));
        true
    }

    fn leave(&mut self, indent: usize) {
        while self.groups.last().is_some_and(|(its, _)| *its >= indent) {
            self.groups.pop();
        }
    }

    fn close(&mut self, into: &mut Collection) {
        if let Some((key, text)) = self.told.take() {
            let message = text.lines().map(str::trim).find(|line| !line.is_empty());
            into.explain(&key, message, &text);
        }
    }
}
