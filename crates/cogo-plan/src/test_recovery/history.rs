//! What earlier runs of a workspace's tests have shown, in one file that appears whole.
//!
//! For each test there are counts and the last outcomes, so the file grows with the tests and not with
//! the runs. Tests that were not seen for [`FORGET_AFTER_MS`] are forgotten.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::test_results::TestKey;

/// Ninety days.
const FORGET_AFTER_MS: u64 = 90 * 24 * 3600 * 1000;

/// Outcomes that are kept of each test.
const RECENT_MAX: usize = 32;

/// What is known of the tests of one workspace.
#[derive(Clone, Debug, Default)]
pub struct History {
    file: Option<PathBuf>,
    tests: BTreeMap<TestKey, Known>,
}

/// What is known of one test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// How often it was run, repeats included.
    pub tries: u64,
    /// How many of them failed.
    pub failed_tries: u64,
    /// Runs in which it failed at first and it came out that it is broken.
    pub broken: u64,
    /// Runs in which it failed at first and passed when repeated.
    pub flaky: u64,
    /// Its first outcome in the last runs, the newest last: `P` passed, `F` failed.
    pub recent: String,
    /// How long it takes: a mean in which later runs weigh more.
    pub duration_ms: Option<f64>,
    /// Unix time in milliseconds of its last run.
    pub seen_at_ms: u64,
}

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the history of tests `{path}`")]
pub struct HistoryError {
    path: String,
    source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    key: TestKey,
    #[serde(flatten)]
    known: Known,
}

impl History {
    /// The history in this file, which need not exist yet.
    ///
    /// # Errors
    ///
    /// When there is a file that cannot be read.
    pub fn open(file: &Path) -> Result<Self, HistoryError> {
        let tests = load(file).map_err(|source| failed(file, source))?;
        Ok(Self {
            file: Some(file.to_owned()),
            tests,
        })
    }

    /// What is known of a test.
    pub fn known(&self, key: &TestKey) -> Option<&Known> {
        self.tests.get(key)
    }

    /// Adds what a run has shown. Runs that end at the same time wait for each other.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then the file is as it was.
    pub fn add(&mut self, shown: &BTreeMap<TestKey, Known>) -> Result<(), HistoryError> {
        let Some(file) = self.file.clone() else {
            merge(&mut self.tests, shown);
            return Ok(());
        };
        self.tests = store(&file, shown).map_err(|source| failed(&file, source))?;
        Ok(())
    }
}

impl Known {
    /// One more run of a test: its tries, whether the first failed, and how long it took.
    pub(super) fn of_run(tries: &[bool], duration_ms: Option<f64>, now_ms: u64) -> Self {
        let passed = |passed: &&bool| !**passed;
        Self {
            tries: tries.len() as u64,
            failed_tries: tries.iter().filter(passed).count() as u64,
            broken: 0,
            flaky: 0,
            recent: match tries.first() {
                Some(true) => "P".to_owned(),
                Some(false) => "F".to_owned(),
                None => String::new(),
            },
            duration_ms,
            seen_at_ms: now_ms,
        }
    }

    fn add(&mut self, other: &Self) {
        self.tries += other.tries;
        self.failed_tries += other.failed_tries;
        self.broken += other.broken;
        self.flaky += other.flaky;
        self.recent.push_str(&other.recent);
        let excess = self.recent.len().saturating_sub(RECENT_MAX);
        self.recent.drain(..excess);
        self.duration_ms = match (self.duration_ms, other.duration_ms) {
            (Some(before), Some(now)) => Some(before * 0.7 + now * 0.3),
            (before, now) => now.or(before),
        };
        self.seen_at_ms = self.seen_at_ms.max(other.seen_at_ms);
    }
}

fn failed(file: &Path, source: io::Error) -> HistoryError {
    HistoryError {
        path: file.display().to_string(),
        source,
    }
}

/// A line that cannot be read is of a later version, or of nobody: it is left out.
fn load(file: &Path) -> io::Result<BTreeMap<TestKey, Known>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read?,
    };
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    Ok(lines.map(|line| (line.key, line.known)).collect())
}

fn merge(tests: &mut BTreeMap<TestKey, Known>, shown: &BTreeMap<TestKey, Known>) {
    for (key, known) in shown {
        tests.entry(key.clone()).or_default().add(known);
    }
    let newest = shown
        .values()
        .map(|known| known.seen_at_ms)
        .max()
        .unwrap_or(0);
    tests.retain(|_, known| known.seen_at_ms + FORGET_AFTER_MS >= newest);
}

fn store(file: &Path, shown: &BTreeMap<TestKey, Known>) -> io::Result<BTreeMap<TestKey, Known>> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let lock = File::create(file.with_extension("lock"))?;
    lock.lock()?;
    let mut tests = load(file)?;
    merge(&mut tests, shown);
    let mut text = String::new();
    for (key, known) in &tests {
        let line = Line {
            key: key.clone(),
            known: known.clone(),
        };
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    let fresh = file.with_extension("fresh");
    let mut writer = File::create(&fresh)?;
    writer.write_all(text.as_bytes())?;
    writer.sync_all()?;
    fs::rename(&fresh, file)?;
    File::open(folder)?.sync_all()?;
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tries: &[bool], now_ms: u64) -> BTreeMap<TestKey, Known> {
        BTreeMap::from([(
            TestKey::new("suite", "test"),
            Known::of_run(tries, Some(10.0), now_ms),
        )])
    }

    #[test]
    fn runs_add_up_and_stay() {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("below/history");
        for tries in [&[true][..], &[false, true], &[true]] {
            let mut history = History::open(&file).expect("a history");
            history.add(&shown(tries, 1)).expect("room");
        }
        let history = History::open(&file).expect("a history");
        let known = history
            .known(&TestKey::new("suite", "test"))
            .expect("the test");
        assert_eq!((known.tries, known.failed_tries), (4, 1));
        assert_eq!(known.recent, "PFP");
        assert_eq!(known.duration_ms, Some(10.0));
    }

    #[test]
    fn writers_at_the_same_time_lose_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("history");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut history = History::open(&file).expect("a history");
                    for _ in 0..5 {
                        history.add(&shown(&[true], 1)).expect("room");
                    }
                });
            }
        });
        let history = History::open(&file).expect("a history");
        let known = history
            .known(&TestKey::new("suite", "test"))
            .expect("the test");
        assert_eq!(known.tries, 20);
    }

    #[test]
    fn tests_that_are_gone_are_forgotten() {
        let mut history = History::default();
        history.add(&shown(&[true], 0)).expect("room");
        let other = BTreeMap::from([(
            TestKey::new("suite", "other"),
            Known::of_run(&[true], None, FORGET_AFTER_MS + 1),
        )]);
        history.add(&other).expect("room");
        assert_eq!(history.known(&TestKey::new("suite", "test")), None);
    }
}
