//! `node --test` with its reporter for people: `✔ adds (0.6ms)`.

use super::collection::Collection;
use super::parser::{Format, milliseconds};
use super::tree::{Explained, Groups};
use super::{TestKey, TestResult, TestStatus, TestTool};

#[derive(Debug, Default)]
pub(super) struct Spec {
    /// Groups that are shown, each with its indentation.
    groups: Groups,
    /// The failure that is explained.
    told: Explained,
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
            self.told.close(into);
            self.is_over = body.starts_with('✖');
            return true;
        }
        if let Some(group) = body.strip_prefix("▶ ") {
            self.told.close(into);
            self.groups.enter(indent, group.trim());
            return true;
        }
        if self.result(indent, body, into) {
            return true;
        }
        self.told.add(line)
    }

    fn finish(&mut self, into: &mut Collection) {
        self.told.close(into);
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
        self.told.close(into);
        let is_group = self.groups.is_in(indent, name);
        self.groups.leave(indent);
        if is_group {
            return true;
        }
        let key = TestKey::new("", self.groups.path(name));
        if status == TestStatus::Failed {
            self.told.begin(key.clone());
        }
        into.ended(TestResult::new(key, status).took(Some(time)));
        true
    }
}
