//! What a test that failed is, by all its tries, here and in earlier runs.
//!
//! One pass among the tries of the same code proves that the outcome changes by itself. No pass proves
//! nothing, but makes it ever less likely: a flaky test of unknown rate fails `n` times in a row with the
//! chance `B(a + n, b) / B(a, b)`, where `a - 1` and `b - 1` are the failures and passes of its flaky past.

use serde::Serialize;

use super::history::Known;

/// Full runs that failed in a row while the test passed alone: from here on that is no chance.
const DEPENDENT_RUNS: usize = 3;

/// What a test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It passed, or was not to be run.
    Good,
    /// It fails whenever it is run.
    Broken,
    /// It fails and passes with nothing changed.
    Flaky,
    /// It fails beside the others, again and again, and passes alone.
    NeedsIsolation,
    /// It takes too long, also alone.
    TimedOut,
    /// It hangs; the verdict says in what.
    Blocked,
    /// It needs more memory than it may have.
    OutOfMemory,
    /// Nobody saw how it ended.
    Unknown,
}

impl Class {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Broken => "broken",
            Self::Flaky => "flaky",
            Self::NeedsIsolation => "needs isolation",
            Self::TimedOut => "timed out",
            Self::Blocked => "hangs",
            Self::OutOfMemory => "out of memory",
            Self::Unknown => "unknown",
        }
    }
}

/// A class, how sure it is, and by what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// What it is.
    pub class: Class,
    /// How likely it is that, from 0 to 1.
    pub confidence: f64,
    /// What it is concluded from, for a reader.
    pub evidence: String,
}

impl Judgement {
    /// The verdict of a sandbox, which leaves no doubt.
    pub(super) fn certain(class: Class, evidence: impl Into<String>) -> Self {
        Self {
            class,
            confidence: 1.0,
            evidence: evidence.into(),
        }
    }
}

/// Judges by tries: the first beside all other tests, the others alone or nearly so. `true` is a pass.
pub(super) fn judge(tries: &[bool], known: Option<&Known>) -> Judgement {
    let failed = tries.iter().filter(|passed| !**passed).count();
    let passed = tries.len() - failed;
    if failed == 0 {
        return Judgement::certain(Class::Good, "passed");
    }
    if passed > 0 {
        return changing(failed, tries, known);
    }
    let confidence = broken_chance(failed, known);
    let past = match known {
        Some(known) if known.flaky + known.broken > 0 => format!(
            "; of {} earlier failures {} were flaky",
            known.flaky + known.broken,
            known.flaky
        ),
        Some(_) | None => String::new(),
    };
    Judgement {
        class: Class::Broken,
        confidence,
        evidence: format!("failed {failed} of {failed} times{past}"),
    }
}

fn changing(failed: usize, tries: &[bool], known: Option<&Known>) -> Judgement {
    let all = tries.len() as u64 + known.map_or(0, |known| known.tries);
    let all_failed = failed as u64 + known.map_or(0, |known| known.failed_tries);
    let (low, high) = interval(all_failed, all);
    let rate = format!(
        "fails {:.0} to {:.0} % of the time ({all_failed} of {all} tries)",
        low * 100.0,
        high * 100.0
    );
    let alone = &tries[1..];
    let before = known.map_or("", |known| &known.recent);
    let in_a_row = before
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'F')
        .count();
    if !tries[0] && alone.iter().all(|passed| *passed) && in_a_row + 1 >= DEPENDENT_RUNS {
        return Judgement {
            class: Class::NeedsIsolation,
            confidence: 1.0 - 0.5_f64.powi(i32::try_from(in_a_row + 1).unwrap_or(i32::MAX)),
            evidence: format!(
                "failed in {} runs in a row beside other tests, passed {} times alone",
                in_a_row + 1,
                alone.len()
            ),
        };
    }
    Judgement {
        class: Class::Flaky,
        confidence: 1.0,
        evidence: format!(
            "failed {failed} of {} times with nothing changed; {rate}",
            tries.len()
        ),
    }
}

/// How likely it is that a test which failed `n` times in a row is broken and not flaky.
fn broken_chance(n: usize, known: Option<&Known>) -> f64 {
    let (broken, flaky) = known.map_or((0, 0), |known| (known.broken, known.flaky));
    // Laplace's rule: without a past both are as likely.
    let flaky_before = (flaky as f64 + 1.0) / (flaky as f64 + broken as f64 + 2.0);
    let (mut fails, mut passes) = (1.0, 1.0);
    if let Some(known) = known.filter(|known| known.flaky > 0) {
        fails += known.failed_tries as f64;
        passes += known.tries.saturating_sub(known.failed_tries) as f64;
    }
    let mut by_chance = 1.0;
    for i in 0..n {
        by_chance *= (fails + i as f64) / (fails + passes + i as f64);
    }
    let broken_before = 1.0 - flaky_before;
    broken_before / (broken_before + flaky_before * by_chance)
}

/// Wilson's interval for a rate, with a confidence of 95 %.
fn interval(failed: u64, all: u64) -> (f64, f64) {
    const Z: f64 = 1.96;
    let all = all as f64;
    let rate = failed as f64 / all;
    let middle = rate + Z * Z / (2.0 * all);
    let spread = Z * (rate * (1.0 - rate) / all + Z * Z / (4.0 * all * all)).sqrt();
    let scale = 1.0 + Z * Z / all;
    (
        ((middle - spread) / scale).max(0.0),
        ((middle + spread) / scale).min(1.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(tries: &[bool], known: Option<&Known>) -> Class {
        judge(tries, known).class
    }

    #[test]
    fn one_pass_proves_that_it_is_flaky() {
        let judgement = judge(&[false, false, true], None);
        assert_eq!(judgement.class, Class::Flaky);
        assert_eq!(
            judgement.evidence,
            "failed 2 of 3 times with nothing changed; fails 21 to 94 % of the time (2 of 3 tries)"
        );
        assert_eq!(class(&[true], None), Class::Good);
    }

    #[test]
    fn more_failures_make_it_surer() {
        let confidence = |n: usize, known| judge(&vec![false; n], known).confidence;
        assert!((confidence(1, None) - 2.0 / 3.0).abs() < 1e-9);
        assert!((confidence(4, None) - 5.0 / 6.0).abs() < 1e-9);
        // A test that was flaky three times and fails one time in ten does not fail four times by chance.
        let known = Known {
            tries: 100,
            failed_tries: 10,
            flaky: 3,
            ..Known::default()
        };
        let (one, four) = (confidence(1, Some(&known)), confidence(4, Some(&known)));
        assert!(one < 0.75 && four > 0.99, "{one} {four}");
        // One that was always broken in earlier failures is so now.
        let known = Known {
            tries: 9,
            failed_tries: 9,
            broken: 3,
            ..Known::default()
        };
        assert!(confidence(1, Some(&known)) > confidence(1, None));
    }

    #[test]
    fn failing_only_beside_others_again_and_again_is_no_chance() {
        let mut known = Known {
            recent: "PFF".to_owned(),
            ..Known::default()
        };
        assert_eq!(class(&[false, true], Some(&known)), Class::NeedsIsolation);
        known.recent = "FPF".to_owned();
        assert_eq!(class(&[false, true], Some(&known)), Class::Flaky);
    }
}
