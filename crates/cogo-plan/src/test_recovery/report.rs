//! What came of a run of tests and its repeats.

use std::collections::BTreeMap;

use cogo_protocol::verdict::Outcome;
use serde::Serialize;

use super::history::Known;
use super::judge::{Class, Judgement};
use crate::dispatch::DispatchError;
use crate::test_results::{Reported, TestKey, TestResult, TestStatus};

/// All tests, and what the whole comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the whole comes to.
    pub outcome: TestsOutcome,
    /// How the first command ended, where that is known.
    pub verdict: Option<Outcome>,
    /// Why there is no such end.
    pub error: Option<DispatchError>,
    /// What was changed to get it done, and whether that helped.
    pub recovered: Vec<Recovered>,
    /// The tests, in the order in which they were heard of.
    pub tests: Vec<TestReport>,
}

/// What a run of tests comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestsOutcome {
    /// All tests passed.
    Passed,
    /// All passed in the end, some only when run again.
    Recovered,
    /// Tests failed that nothing excuses.
    Failed,
    /// The command failed, and not by a test whose name is known.
    CommandFailed,
    /// Somebody asked for the end.
    Cancelled,
}

/// One way in which a whole run was tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// Why.
    pub cause: String,
    /// What was changed.
    pub change: String,
    /// Whether it helped.
    pub helped: bool,
}

/// One test: its last word and how it came to it.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// The last word: a pass if it passed at last.
    #[serde(flatten)]
    pub result: TestResult,
    /// What it is.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// All its tries, the first one beside all others.
    #[serde(skip)]
    pub tries: Vec<TestResult>,
    /// Why its failure is excused, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
}

impl TestReport {
    /// Whether it makes the whole fail.
    pub fn counts(&self) -> bool {
        !self.result.status.is_good() && self.quarantine.is_none()
    }

    /// What it is, in one line.
    pub fn describe(&self) -> String {
        let word = self.judgement.class.name();
        let excuse = match &self.quarantine {
            Some(reason) => format!("; excused: {reason}"),
            None => String::new(),
        };
        format!(
            "{word} {}: {}{excuse}",
            self.result.key, self.judgement.evidence
        )
    }

    /// The test as a report has it.
    pub fn reported(&self) -> Reported<'_> {
        let failed = self
            .tries
            .iter()
            .take_while(|result| !result.status.is_good())
            .count();
        let before = failed.min(self.tries.len().saturating_sub(1));
        Reported {
            result: &self.result,
            failed_before: &self.tries[..before],
        }
    }
}

impl Report {
    /// What a history keeps of it.
    pub fn known(&self, now_ms: u64) -> BTreeMap<TestKey, Known> {
        let runs = self.tests.iter().filter_map(|test| {
            let counted = test
                .tries
                .iter()
                .filter(|result| is_evidence(result.status));
            let tries: Vec<bool> = counted.map(|result| result.status.is_good()).collect();
            if tries.is_empty() {
                return None;
            }
            let mut known = Known::of_run(&tries, test.result.duration_ms, now_ms);
            known.flaky = u64::from(test.judgement.class == Class::Flaky);
            known.broken = u64::from(test.judgement.class == Class::Broken);
            Some((test.result.key.clone(), known))
        });
        runs.collect()
    }

    /// The end of the whole: a success if all is well in the end, whatever the first command's was.
    ///
    /// # Errors
    ///
    /// When the command could not be run.
    pub fn end(&self) -> Result<Outcome, DispatchError> {
        let own = match (&self.verdict, &self.error) {
            (Some(verdict), _) => Ok(verdict.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(Outcome::Unknown {
                reason: "nobody saw its end".to_owned(),
            }),
        };
        match self.outcome {
            TestsOutcome::Passed | TestsOutcome::Recovered => Ok(Outcome::Exited { code: 0 }),
            TestsOutcome::Cancelled => Ok(Outcome::Cancelled),
            TestsOutcome::CommandFailed => own,
            TestsOutcome::Failed => match own {
                Ok(Outcome::Exited { code: 0 }) => Ok(Outcome::Exited { code: 1 }),
                own => own,
            },
        }
    }

    /// How many tests have this status at last.
    pub fn count(&self, status: TestStatus) -> usize {
        let tests = self.tests.iter();
        tests.filter(|test| test.result.status == status).count()
    }
}

/// Whether a result says something of the test, and not only of what was around it.
pub(super) fn is_evidence(status: TestStatus) -> bool {
    match status {
        TestStatus::Passed | TestStatus::Failed | TestStatus::TimedOut => true,
        TestStatus::Skipped | TestStatus::Unfinished => false,
    }
}
