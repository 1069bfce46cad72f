//! What the trees of ticks and crosses that JavaScript's runners print have in common.

use super::TestKey;
use super::collection::Collection;

/// The groups above a line, each with its indentation.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<(usize, String)>);

impl Groups {
    /// Ends those that are not above a line with that indentation.
    pub(super) fn leave(&mut self, indent: usize) {
        while self.0.last().is_some_and(|(its, _)| *its >= indent) {
            self.0.pop();
        }
    }

    pub(super) fn enter(&mut self, indent: usize, name: &str) {
        self.leave(indent);
        self.0.push((indent, name.to_owned()));
    }

    /// Whether the innermost one is this one.
    pub(super) fn is_in(&self, indent: usize, name: &str) -> bool {
        let last = self.0.last();
        last.is_some_and(|(its, group)| *its == indent && group == name)
    }

    /// A test in them by its whole name.
    pub(super) fn path(&self, name: &str) -> String {
        let groups = self.0.iter().map(|(_, group)| &**group);
        let path: Vec<&str> = groups.chain([name]).collect();
        path.join(" > ")
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The failure that is explained, and what was said of it so far.
#[derive(Debug, Default)]
pub(super) struct Explained(Option<(TestKey, String)>);

impl Explained {
    pub(super) fn begin(&mut self, key: TestKey) {
        self.0 = Some((key, String::new()));
    }

    /// Adds a line; whether there is a failure to explain.
    pub(super) fn add(&mut self, line: &str) -> bool {
        let Some((_, text)) = &mut self.0 else {
            return false;
        };
        text.push_str(line);
        text.push('\n');
        true
    }

    pub(super) fn close(&mut self, into: &mut Collection) {
        if let Some((key, text)) = self.0.take() {
            let message = text.lines().map(str::trim).find(|line| !line.is_empty());
            into.explain(&key, message, &text);
        }
    }
}
