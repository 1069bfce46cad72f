//! Durations such as `1h30m`.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::UnitError;
use super::decimal::{Decimal, Scaled};

/// A duration in whole milliseconds: a timeout, a grace period.
///
/// Written in falling parts with units `d`, `h`, `m`, `s` and `ms`, such as `90s`, `1h30m` or
/// `1.5s`. A bare number is refused: nobody agrees on what it counts.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(u64);

const QUANTITY: &str = "a duration";
const FORMS: &str = "`90s`, `5m`, `1h30m` or `250ms`";

/// Units from the largest, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl TimeSpan {
    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The number of milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

/// Rounds up to a millisecond, so that a bound never becomes tighter or zero.
impl From<Duration> for TimeSpan {
    fn from(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        Self::from_millis(span.0)
    }
}

impl FromStr for TimeSpan {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.starts_with('-') {
            return Err(UnitError::Negative {
                text: text.to_owned(),
                quantity: QUANTITY,
            });
        }
        let mut total = 0_u64;
        let mut rest = text;
        let mut smallest = u64::MAX;
        loop {
            let (millis, scale, after) = read_part(text, rest)?;
            if scale >= smallest {
                return Err(UnitError::Order {
                    text: text.to_owned(),
                    forms: FORMS,
                });
            }
            smallest = scale;
            total = total.checked_add(millis).ok_or_else(|| too_large(text))?;
            if after.is_empty() {
                return Ok(Self(total));
            }
            rest = after;
        }
    }
}

/// Reads one part, such as `1h`: its milliseconds, its unit's milliseconds, and what follows.
fn read_part<'a>(text: &str, part: &'a str) -> Result<(u64, u64, &'a str), UnitError> {
    let owned = || text.to_owned();
    let Some((number, rest)) = Decimal::split(part) else {
        return Err(UnitError::NotANumber {
            text: owned(),
            quantity: QUANTITY,
            forms: FORMS,
        });
    };
    let (unit, after) = rest.split_at(
        rest.find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len()),
    );
    if unit.is_empty() {
        return Err(UnitError::NoUnit {
            text: owned(),
            forms: FORMS,
        });
    }
    let Some(&(_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit {
            text: owned(),
            unit: unit.to_owned(),
            quantity: QUANTITY,
            forms: FORMS,
        });
    };
    match number.times(scale) {
        Scaled::Exact(millis) => Ok((millis, scale, after)),
        Scaled::RoundedDown(_) => Err(UnitError::TooFine {
            text: owned(),
            finest: "`1ms`",
        }),
        Scaled::TooLarge => Err(too_large(text)),
    }
}

fn too_large(text: &str) -> UnitError {
    UnitError::TooLarge {
        text: text.to_owned(),
        quantity: QUANTITY,
    }
}

/// Prints falling parts, with what is below a second as its fraction: `1m1.5s`, but `250ms`.
impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, scale) in &UNITS[..3] {
            if rest >= *scale {
                write!(text, "{}{unit}", rest / scale)?;
                rest %= scale;
            }
        }
        if self.0 < 1000 {
            write!(text, "{rest}ms")?;
        } else if rest > 0 {
            let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
            text.push_str(seconds.trim_end_matches('0').trim_end_matches('.'));
            text.push('s');
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(text: &str) -> u64 {
        text.parse::<TimeSpan>()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .as_millis()
    }

    #[test]
    fn reads_what_people_write() {
        for (text, expected) in [
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1.5s", 1500),
            ("0.5h", 1_800_000),
            ("1m1.5s", 61_500),
            ("2d1h", 49 * 3_600_000),
            ("1s250ms", 1250),
            ("0s", 0),
            ("18446744073709551615ms", u64::MAX),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        const FORMS: &str = "write it like `90s`, `5m`, `1h30m` or `250ms`";
        for (text, message) in [
            ("90", format!("`90` has no unit; {FORMS}")),
            ("1h30", format!("`1h30` has no unit; {FORMS}")),
            ("", format!("`` is not a duration; {FORMS}")),
            ("soon", format!("`soon` is not a duration; {FORMS}")),
            ("NaN", format!("`NaN` is not a duration; {FORMS}")),
            ("-5s", "`-5s` is negative; a duration is not".to_owned()),
            (
                "5 s",
                format!("` s` in `5 s` is not a unit of a duration; {FORMS}"),
            ),
            (
                "5µs",
                format!("`µs` in `5µs` is not a unit of a duration; {FORMS}"),
            ),
            (
                "5S",
                format!("`S` in `5S` is not a unit of a duration; {FORMS}"),
            ),
            (
                "30m1h",
                format!("the parts of `30m1h` do not fall from the largest unit; {FORMS}"),
            ),
            (
                "1m1m",
                format!("the parts of `1m1m` do not fall from the largest unit; {FORMS}"),
            ),
            (
                "0.5ms",
                "`0.5ms` is finer than `1ms`, the smallest step".to_owned(),
            ),
            (
                "999999999999d",
                "`999999999999d` is more than a duration can be".to_owned(),
            ),
            (
                "18446744073709551s616ms",
                "`18446744073709551s616ms` is more than a duration can be".to_owned(),
            ),
        ] {
            assert_eq!(
                text.parse::<TimeSpan>().expect_err(text).to_string(),
                message
            );
        }
    }

    #[test]
    fn prints_falling_parts() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (90_000, "1m30s"),
            (60_001, "1m0.001s"),
            (5_400_000, "1h30m"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(TimeSpan(millis).to_string(), text);
        }
    }

    #[test]
    fn a_tiny_bound_does_not_become_none() {
        assert_eq!(TimeSpan::from(Duration::from_nanos(1)).as_millis(), 1);
        assert_eq!(TimeSpan::from(Duration::from_millis(3)).as_millis(), 3);
        assert_eq!(TimeSpan::from(Duration::MAX).as_millis(), u64::MAX);
    }

    proptest! {
        #[test]
        fn text_round_trips(value: u64, shift in 0_u32..64) {
            let span = TimeSpan(value >> shift);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = text.parse::<TimeSpan>();
        }
    }
}
