//! Tests that are run again: those that failed, and those of which nothing was heard.

use cogo_protocol::verdict::Outcome;

use super::cases::Cases;
use super::{Engine, Ran, Why};
use crate::dispatch::{Dispatch, DispatchError};
use crate::test_recovery::judge::{Class, Judgement};
use crate::test_recovery::report::Recovered;
use crate::test_results::{TestKey, TestResult, TestStatus, TestTool, libtest_suite};

impl<D: Dispatch> Engine<'_, D> {
    /// Runs failed tests again, all that still fail together, until each has passed or there are no
    /// more repeats.
    pub(super) fn repeat_failures(&mut self, argv: &[String], cases: &mut Cases) {
        for _ in 0..self.settings.reruns {
            let failing = cases.failing();
            if failing.is_empty() || !self.may_go_on() {
                return;
            }
            let Some(only) = self.only(&failing) else {
                self.repeat_all(argv, cases);
                continue;
            };
            let ran = self.run(Why::Failed, &only, &[], &failing);
            cases.add(&ran.results);
            let silent: Vec<TestKey> = (failing.into_iter())
                .filter(|key| !has_ended(&ran.results, key))
                .collect();
            // One of them took the others with it.
            if silent.len() > 1 {
                self.each_alone(&silent, cases);
            } else if let [key] = &silent[..] {
                decide(cases, key, &ran.outcome);
            }
        }
    }

    /// The runner cannot be asked for single tests: all of them again.
    fn repeat_all(&mut self, argv: &[String], cases: &mut Cases) {
        let ran = self.run(Why::Failed, argv, &[], &[]);
        cases.add(&ran.results);
        cases.passed_at_last |= matches!(ran.outcome, Ok(Outcome::Exited { code: 0 }));
    }

    /// Finds what an early end has left out, and runs it: first what had not begun, all together; then
    /// what was at it, each alone. A runner that cannot be asked for a list runs everything once more.
    pub(super) fn missing(&mut self, ran: &Ran, argv: &[String], cases: &mut Cases) {
        let mut alone = cases.unfinished();
        let listed = self.listed();
        cases.is_whole = listed.is_some();
        let left_out: Vec<TestKey> = (listed.into_iter().flatten())
            .filter(|key| !cases.knows(key))
            .collect();
        alone.extend(self.together(left_out, cases));
        self.each_alone(&alone, cases);
        if !cases.is_whole && self.may_go_on() {
            let again = (self.command.as_ref()).and_then(|command| command.one_at_a_time(argv));
            let (argv, env) =
                again.map_or((argv.to_vec(), Vec::new()), |again| (again.argv, again.env));
            let whole = self.run(Why::Missing, &argv, &env, &[]);
            cases.add(&whole.results);
            cases.passed_at_last = matches!(whole.outcome, Ok(Outcome::Exited { code: 0 }));
            cases.is_whole = !super::ended_early(&whole);
        }
        self.recovered.push(Recovered {
            cause: ran
                .outcome
                .as_ref()
                .map_or_else(|error| error.message.clone(), Outcome::describe),
            change: "what had no result was run again, alone where that was needed".to_owned(),
            helped: cases.is_whole && cases.are_good(),
        });
    }

    /// Runs tests in one run, and returns those that have no result.
    fn together(&mut self, keys: Vec<TestKey>, cases: &mut Cases) -> Vec<TestKey> {
        if keys.len() < 2 || !self.may_go_on() {
            return keys;
        }
        let Some(only) = self.only(&keys) else {
            return keys;
        };
        let ran = self.run(Why::Missing, &only, &[], &keys);
        cases.add(&ran.results);
        let silent = keys.into_iter().filter(|key| !has_ended(&ran.results, key));
        silent.collect()
    }

    /// Runs each test in a run of its own, whose verdict then is the test's.
    fn each_alone(&mut self, keys: &[TestKey], cases: &mut Cases) {
        for key in keys.iter().take(self.settings.alone_max) {
            let one = std::slice::from_ref(key);
            let Some(only) = self.only(one) else { return };
            if !self.may_go_on() {
                return;
            }
            let ran = self.run(Why::Missing, &only, &[], one);
            cases.add(&ran.results);
            if !has_ended(&ran.results, key) {
                decide(cases, key, &ran.outcome);
            }
        }
    }

    fn only(&self, keys: &[TestKey]) -> Option<Vec<String>> {
        self.command.as_ref()?.only(keys)
    }

    /// All tests there are. None if the runner cannot be asked for them.
    fn listed(&mut self) -> Option<Vec<TestKey>> {
        let command = self.command.as_ref()?;
        let (tool, argv) = (command.tool, command.list()?);
        if !self.may_go_on() {
            return None;
        }
        let ran = self.run(Why::List, &argv, &[], &[]);
        let has_list = ran.outcome == Ok(Outcome::Exited { code: 0 });
        has_list.then(|| listed(tool, &String::from_utf8_lossy(&ran.text)))
    }
}

/// The tests that a list names.
fn listed(tool: TestTool, text: &str) -> Vec<TestKey> {
    let mut suite = String::new();
    let mut waiting = Vec::new();
    let mut keys = Vec::new();
    for line in text.lines() {
        match tool {
            TestTool::Libtest => {
                suite = libtest_suite(line).unwrap_or(suite);
                keys.extend(
                    line.strip_suffix(": test")
                        .map(|name| TestKey::new(&*suite, name)),
                );
            }
            TestTool::Nextest => {
                let found = line.split_once(' ').filter(|(suite, _)| !suite.is_empty());
                let found = found.filter(|(_, name)| !name.contains(' '));
                keys.extend(found.map(|(suite, name)| TestKey::new(suite, name)));
            }
            TestTool::Pytest => {
                let id = line
                    .split_once("::")
                    .filter(|(file, _)| !file.contains(' '));
                keys.extend(id.map(|(file, name)| TestKey::new(file, name)));
            }
            TestTool::Go => match line.strip_prefix("ok") {
                Some(rest) => {
                    let package = rest.split_whitespace().next().unwrap_or_default();
                    keys.extend(
                        waiting
                            .drain(..)
                            .map(|name: String| TestKey::new(package, name)),
                    );
                }
                None if line.starts_with("Test") => waiting.push(line.to_owned()),
                None => {}
            },
            TestTool::Jest
            | TestTool::Vitest
            | TestTool::NodeTest
            | TestTool::Tap
            | TestTool::Junit => {}
        }
    }
    keys
}

fn has_ended(results: &[TestResult], key: &TestKey) -> bool {
    results.iter().any(|result| {
        let is_it =
            result.key.name == key.name && (key.suite.is_empty() || result.key.suite == key.suite);
        is_it && !matches!(result.status, TestStatus::Unfinished | TestStatus::Skipped)
    })
}

/// A run of one test gave no result of it: the run's verdict is the test's.
fn decide(cases: &mut Cases, key: &TestKey, outcome: &Result<Outcome, DispatchError>) {
    let judgement = match outcome {
        // Nothing was run under this name; that is no verdict on it.
        Ok(Outcome::Exited { code: 0 }) => return,
        Ok(outcome) => {
            let class = match outcome {
                Outcome::TimedOut { .. } => Class::TimedOut,
                Outcome::Blocked { .. } => Class::Blocked,
                Outcome::OutOfMemory { .. }
                | Outcome::PidsExhausted { .. }
                | Outcome::DiskFull { .. } => Class::OutOfMemory,
                Outcome::Exited { .. } | Outcome::Signaled { .. } => Class::Broken,
                Outcome::Cancelled | Outcome::NotStarted { .. } | Outcome::Unknown { .. } => {
                    Class::Unknown
                }
            };
            Judgement::certain(class, format!("run alone: {}", outcome.describe()))
        }
        Err(error) => Judgement::certain(Class::Unknown, format!("run alone: {}", error.message)),
    };
    cases.decide(key, judgement);
}
