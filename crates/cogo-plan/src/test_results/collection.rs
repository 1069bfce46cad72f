//! All results of one run, the last word of each test.

use std::collections::HashMap;

use super::{TestKey, TestResult, TestStatus};

/// Of one test's output this much is kept: the end, where the failure is.
const OUTPUT_MAX: usize = 64 * 1024;

/// Results in the order in which their tests were first heard of.
#[derive(Debug, Default)]
pub(super) struct Collection {
    results: Vec<TestResult>,
    by_key: HashMap<TestKey, usize>,
    /// Results that came since they were last asked for.
    fresh: Vec<usize>,
}

impl Collection {
    /// A test has begun.
    pub(super) fn began(&mut self, key: TestKey) {
        if !self.by_key.contains_key(&key) {
            self.place(TestResult::new(key, TestStatus::Unfinished));
        }
    }

    /// A test has ended. A later result takes the place of an earlier one: a runner repeats results in
    /// its summary, or repeats tests. What only the earlier one knew is kept.
    pub(super) fn ended(&mut self, result: TestResult) {
        let Some(at) = self.by_key.get(&result.key).copied() else {
            let at = self.place(result);
            self.fresh.push(at);
            return;
        };
        let known = &mut self.results[at];
        if known.status != result.status {
            self.fresh.push(at);
        }
        known.status = result.status;
        known.duration_ms = result.duration_ms.or(known.duration_ms);
        if result.message.is_some() {
            known.message = result.message;
        }
        if result.output.is_some() {
            known.output = result.output;
        }
    }

    /// The runner says why a test failed.
    pub(super) fn explain(&mut self, key: &TestKey, message: Option<&str>, output: &str) {
        let Some(at) = self.by_key.get(key) else {
            return;
        };
        let known = &mut self.results[*at];
        if known.message.is_none() {
            known.message =
                (message.map(str::trim).filter(|text| !text.is_empty())).map(str::to_owned);
        }
        let output = output.trim_matches('\n');
        if !output.trim().is_empty() {
            known.output = Some(end_of(output).to_owned());
        }
    }

    /// The runner says later how long a test took.
    pub(super) fn took(&mut self, key: &TestKey, duration_ms: f64) {
        if let Some(at) = self.by_key.get(key) {
            self.results[*at].duration_ms = Some(duration_ms);
        }
    }

    /// What was taken for a test is a group of them.
    pub(super) fn forget(&mut self, key: &TestKey) {
        let Some(at) = self.by_key.remove(key) else {
            return;
        };
        self.results.remove(at);
        self.fresh.retain(|fresh| *fresh != at);
        for index in self.by_key.values_mut().chain(&mut self.fresh) {
            *index -= usize::from(*index > at);
        }
    }

    /// The key of the last test heard of with this name, whatever its suite is.
    pub(super) fn named(&self, is_it: impl Fn(&TestKey) -> bool) -> Option<TestKey> {
        let mut results = self.results.iter().rev();
        results
            .find(|result| is_it(&result.key))
            .map(|result| result.key.clone())
    }

    /// Results that came since this was last asked.
    pub(super) fn take_fresh(&mut self) -> Vec<TestResult> {
        let fresh = std::mem::take(&mut self.fresh);
        fresh
            .into_iter()
            .map(|at| self.results[at].clone())
            .collect()
    }

    pub(super) fn into_results(self) -> Vec<TestResult> {
        self.results
    }

    fn place(&mut self, result: TestResult) -> usize {
        let at = self.results.len();
        self.by_key.insert(result.key.clone(), at);
        self.results.push(result);
        at
    }
}

fn end_of(text: &str) -> &str {
    let mut from = text.len().saturating_sub(OUTPUT_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
