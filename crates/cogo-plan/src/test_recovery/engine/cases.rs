//! The tests of a run, each with all its tries.

use std::collections::HashMap;

use cogo_protocol::verdict::Outcome;

use crate::test_recovery::history::History;
use crate::test_recovery::judge::{Class, Judgement, judge};
use crate::test_recovery::quarantine::Quarantine;
use crate::test_recovery::report::{Recovered, Report, TestReport, TestsOutcome, is_evidence};
use crate::test_results::{TestKey, TestResult, TestStatus};

/// Tests in the order in which they were heard of.
#[derive(Debug)]
pub(super) struct Cases {
    all: Vec<Case>,
    by_key: HashMap<TestKey, usize>,
    /// How the last run of the whole ended, where that is known.
    pub(super) end: Option<Outcome>,
    /// All tests there are have been heard of.
    pub(super) is_whole: bool,
    /// The whole passed when it was run again, whatever its tests are called.
    pub(super) passed_at_last: bool,
}

#[derive(Debug)]
struct Case {
    /// The first one beside all others.
    tries: Vec<TestResult>,
    /// What a verdict has said of it.
    certain: Option<Judgement>,
}

impl Cases {
    pub(super) fn new(results: &[TestResult]) -> Self {
        let mut cases = Self {
            all: Vec::new(),
            by_key: HashMap::new(),
            end: None,
            is_whole: true,
            passed_at_last: false,
        };
        cases.add(results);
        cases
    }

    /// Another run has told of tests. A test that a selector left out is told as skipped, which says
    /// nothing of it.
    pub(super) fn add(&mut self, results: &[TestResult]) {
        for result in results {
            match self.by_key.get(&result.key) {
                Some(at)
                    if is_evidence(result.status) || result.status == TestStatus::Unfinished =>
                {
                    self.all[*at].tries.push(result.clone());
                }
                Some(_) => {}
                None => {
                    self.by_key.insert(result.key.clone(), self.all.len());
                    self.all.push(Case {
                        tries: vec![result.clone()],
                        certain: None,
                    });
                }
            }
        }
    }

    /// What came before no longer counts: everything was run anew.
    pub(super) fn replace(&mut self, results: &[TestResult]) {
        *self = Self::new(results);
    }

    /// A verdict leaves no doubt about a test.
    pub(super) fn decide(&mut self, key: &TestKey, judgement: Judgement) {
        if !self.by_key.contains_key(key) {
            self.add(&[TestResult::new(key.clone(), TestStatus::Unfinished)]);
        }
        if let Some(at) = self.by_key.get(key) {
            self.all[*at].certain = Some(judgement);
        }
    }

    pub(super) fn knows(&self, key: &TestKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// Whether each test has come to a good end.
    pub(super) fn are_good(&self) -> bool {
        self.failing().is_empty() && self.all.iter().all(|case| case.certain.is_none())
    }

    /// Tests that began and have no result at all.
    pub(super) fn unfinished(&self) -> Vec<TestKey> {
        self.keys(|case| case.last() == TestStatus::Unfinished && case.certain.is_none())
    }

    /// Tests that have never passed, and of which no verdict has said why.
    pub(super) fn failing(&self) -> Vec<TestKey> {
        self.keys(|case| case.certain.is_none() && !case.has_passed() && !case.last().is_good())
    }

    fn keys(&self, is_wanted: impl Fn(&Case) -> bool) -> Vec<TestKey> {
        let wanted = self.all.iter().filter(|case| is_wanted(case));
        wanted.map(|case| case.tries[0].key.clone()).collect()
    }

    pub(super) fn into_report(
        self,
        (verdict, is_cancelled): (Option<Outcome>, bool),
        recovered: Vec<Recovered>,
        history: &History,
        quarantine: &Quarantine,
        now_ms: u64,
    ) -> Report {
        let tests: Vec<TestReport> = (self.all.into_iter())
            .map(|case| case.into_report(history, quarantine, now_ms))
            .collect();
        let is_repaired = tests.iter().any(|test| test.judgement.class != Class::Good);
        let has_failed = tests.iter().any(TestReport::counts);
        let is_told = tests
            .iter()
            .any(|test| test.tries.iter().any(|result| !result.status.is_good()));
        let outcome = match self.end {
            _ if is_cancelled => TestsOutcome::Cancelled,
            _ if has_failed => TestsOutcome::Failed,
            Some(Outcome::Exited { code: 0 }) => {
                if is_repaired || !recovered.is_empty() {
                    TestsOutcome::Recovered
                } else {
                    TestsOutcome::Passed
                }
            }
            _ if self.passed_at_last => TestsOutcome::Recovered,
            // It failed, by tests that all pass now or are excused.
            Some(_) if self.is_whole && (is_told || !recovered.is_empty()) => {
                TestsOutcome::Recovered
            }
            Some(_) | None => TestsOutcome::CommandFailed,
        };
        Report {
            outcome,
            verdict,
            error: None,
            recovered,
            tests,
        }
    }
}

impl Case {
    fn last(&self) -> TestStatus {
        self.tries
            .last()
            .map_or(TestStatus::Unfinished, |result| result.status)
    }

    fn has_passed(&self) -> bool {
        self.tries
            .iter()
            .any(|result| result.status == TestStatus::Passed)
    }

    fn into_report(self, history: &History, quarantine: &Quarantine, now_ms: u64) -> TestReport {
        // A pass is the last word, whatever came before.
        let passed = self
            .tries
            .iter()
            .rfind(|result| result.status == TestStatus::Passed);
        let last = self.tries.iter().next_back();
        let result = passed.or(last).expect("a case has a try").clone();
        let judgement = self.judgement(history, &result);
        let entry = (quarantine.entry(&result.key)).filter(|entry| !entry.is_expired(now_ms));
        TestReport {
            quarantine: entry.map(|entry| entry.reason.clone()),
            tries: self.tries,
            judgement,
            result,
        }
    }

    fn judgement(&self, history: &History, last: &TestResult) -> Judgement {
        if let Some(certain) = &self.certain {
            return certain.clone();
        }
        if last.status == TestStatus::Skipped {
            return Judgement::certain(Class::Good, "was not run");
        }
        let counted = self
            .tries
            .iter()
            .filter(|result| is_evidence(result.status));
        let tries: Vec<bool> = counted.map(|result| result.status.is_good()).collect();
        if tries.is_empty() {
            return Judgement::certain(Class::Unknown, "it began, and nobody saw its end");
        }
        if tries.iter().all(|passed| *passed) && self.tries.len() > tries.len() {
            return Judgement::certain(
                Class::Good,
                "the run around it ended early; passed when run again",
            );
        }
        if tries.iter().all(|passed| !*passed) && last.status == TestStatus::TimedOut {
            return Judgement::certain(Class::TimedOut, "the runner stopped it each time");
        }
        judge(&tries, history.known(&last.key))
    }
}
