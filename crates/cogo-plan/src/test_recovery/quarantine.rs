//! Tests whose failures are excused for a while, listed in a file of the repository.

use std::path::Path;

use cogo_protocol::date::civil_date;
use serde::Deserialize;

use crate::test_results::TestKey;

/// The list. Each entry has a reason and an end, so that none is forgotten.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    #[serde(default, rename = "test")]
    tests: Vec<Quarantined>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// The test's name as it is reported.
    pub name: String,
    /// Its suite. Default: any.
    #[serde(default)]
    pub suite: Option<String>,
    /// Why it is excused.
    pub reason: String,
    /// The last day on which it is, such as `2026-12-31`.
    pub expires: String,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// It cannot be read.
    #[error("failed to read the quarantine list `{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not such a list.
    #[error("the quarantine list `{path}` is wrong: {message}")]
    Wrong {
        /// The file.
        path: String,
        /// What and where.
        message: String,
    },
}

impl Quarantine {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// See [`QuarantineError`].
    pub fn read(path: &Path) -> Result<Self, QuarantineError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| QuarantineError::Read {
            path: shown.clone(),
            source,
        })?;
        Self::parse(&text).map_err(|message| QuarantineError::Wrong {
            path: shown,
            message,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let list: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for test in &list.tests {
            if test.reason.trim().is_empty() {
                return Err(format!("`{}` has no reason", test.name));
            }
            if !is_date(&test.expires) {
                let (name, expires) = (&test.name, &test.expires);
                return Err(format!(
                    "`{name}` expires on `{expires}`, which is no date such as 2026-12-31"
                ));
            }
        }
        Ok(list)
    }

    /// The entry of a test, if there is one, whether or not its time is over.
    pub fn entry(&self, key: &TestKey) -> Option<&Quarantined> {
        self.tests.iter().find(|test| {
            let is_suite = test.suite.as_ref().is_none_or(|suite| *suite == key.suite);
            is_suite && test.name == key.name
        })
    }
}

impl Quarantined {
    /// Whether it no longer counts at this Unix time in milliseconds.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires < date(now_ms)
    }
}

/// Years of four digits, months and days of two: such dates sort as texts do.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let number = |text: &str, len: usize| -> Option<u32> {
        let is_plain = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse().ok()).flatten()
    };
    number(year, 4).is_some()
        && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
}

/// The day of a Unix time, in UTC.
fn date(unix_ms: u64) -> String {
    let (year, month, day) = civil_date(unix_ms / 86_400_000);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds * 1000), day);
        }
    }

    #[test]
    fn entries_hold_until_their_day_is_over() {
        let list = "[[test]]\nname = 'a'\nreason = 'issue 41'\nexpires = '2024-12-31'\n";
        let list = Quarantine::parse(list).expect("a list");
        let entry = list.entry(&TestKey::new("any", "a")).expect("an entry");
        assert!(!entry.is_expired(1_735_689_599_000));
        assert!(entry.is_expired(1_735_689_600_000));
        assert_eq!(list.entry(&TestKey::new("any", "b")), None);
    }

    #[test]
    fn a_list_without_reason_end_or_sense_is_refused() {
        for (text, says) in [
            ("[[test]]\nname = 'a'\nexpires = '2024-12-31'\n", "reason"),
            (
                "[[test]]\nname = 'a'\nreason = ' '\nexpires = '2024-12-31'\n",
                "no reason",
            ),
            (
                "[[test]]\nname = 'a'\nreason = 'x'\nexpires = 'soon'\n",
                "no date",
            ),
            (
                "[[test]]\nname = 'a'\nreason = 'x'\nexpires = '2024-12-31'\nuntil = 1\n",
                "until",
            ),
            ("[[test]\n", "line 1"),
        ] {
            let error = Quarantine::parse(text).expect_err(text);
            assert!(error.contains(says), "{error}");
        }
    }
}
