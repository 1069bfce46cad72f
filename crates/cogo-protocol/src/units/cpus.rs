//! Shares of processors such as `1.5` or `500m`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::UnitError;
use super::decimal::{Decimal, Scaled};

/// CPU time per wall time, in steps of a thousandth of a core. Never zero.
///
/// Read from cores (`2`, `1.5`) or thousandths (`500m`); printed as cores.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Cpus(u32);

const QUANTITY: &str = "a number of cpus";
const FORMS: &str = "`2`, `1.5` or `500m` (thousandths)";

impl Cpus {
    /// So many thousandths of a core. `None` for zero.
    pub const fn from_millis(millis: u32) -> Option<Self> {
        if millis == 0 {
            None
        } else {
            Some(Self(millis))
        }
    }

    /// Thousandths of a core.
    pub const fn millis(self) -> u32 {
        self.0
    }

    /// Cores, as wire messages carry them.
    pub fn cores(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// From the cores of a wire message, rounded to the nearest thousandth.
    ///
    /// # Errors
    ///
    /// Refuses what is not a number, negative, too large, or rounds to zero.
    pub fn from_cores(cores: f64) -> Result<Self, UnitError> {
        let text = || cores.to_string();
        let millis = (cores * 1000.0).round();
        if cores.is_nan() {
            Err(UnitError::NotANumber {
                text: text(),
                quantity: QUANTITY,
                forms: FORMS,
            })
        } else if cores < 0.0 {
            Err(UnitError::Negative {
                text: text(),
                quantity: QUANTITY,
            })
        } else if millis > f64::from(u32::MAX) {
            Err(UnitError::TooLarge {
                text: text(),
                quantity: QUANTITY,
            })
        } else {
            Self::from_millis(millis as u32).ok_or_else(|| UnitError::Zero {
                text: text(),
                quantity: QUANTITY,
            })
        }
    }
}

impl FromStr for Cpus {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let owned = || text.to_owned();
        if text.starts_with('-') {
            return Err(UnitError::Negative {
                text: owned(),
                quantity: QUANTITY,
            });
        }
        let Some((number, unit)) = Decimal::split(text) else {
            return Err(UnitError::NotANumber {
                text: owned(),
                quantity: QUANTITY,
                forms: FORMS,
            });
        };
        let scale = match unit {
            "" => 1000,
            "m" => 1,
            _ => {
                return Err(UnitError::UnknownUnit {
                    text: owned(),
                    unit: unit.to_owned(),
                    quantity: QUANTITY,
                    forms: FORMS,
                });
            }
        };
        let millis = match number.times(scale) {
            Scaled::Exact(millis) => u32::try_from(millis).ok(),
            Scaled::RoundedDown(_) => {
                return Err(UnitError::TooFine {
                    text: owned(),
                    finest: "`1m`",
                });
            }
            Scaled::TooLarge => None,
        };
        let Some(millis) = millis else {
            return Err(UnitError::TooLarge {
                text: owned(),
                quantity: QUANTITY,
            });
        };
        Self::from_millis(millis).ok_or_else(|| UnitError::Zero {
            text: owned(),
            quantity: QUANTITY,
        })
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("2", 2000),
            ("1.5", 1500),
            ("0.25", 250),
            ("0.001", 1),
            ("500m", 500),
            ("1500m", 1500),
            ("2.000000", 2000),
            ("4294967295m", u32::MAX),
        ] {
            assert_eq!(text.parse::<Cpus>().map(Cpus::millis), Ok(millis), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for (text, message) in [
            (
                "",
                "`` is not a number of cpus; write it like `2`, `1.5` or `500m` (thousandths)",
            ),
            (
                "NaN",
                "`NaN` is not a number of cpus; write it like `2`, `1.5` or `500m` (thousandths)",
            ),
            ("-1", "`-1` is negative; a number of cpus is not"),
            ("0", "`0` is zero; a number of cpus must be more"),
            ("0m", "`0m` is zero; a number of cpus must be more"),
            ("1.0005", "`1.0005` is finer than `1m`, the smallest step"),
            ("4294968", "`4294968` is more than a number of cpus can be"),
            (
                "2 cores",
                "` cores` in `2 cores` is not a unit of a number of cpus; \
                 write it like `2`, `1.5` or `500m` (thousandths)",
            ),
        ] {
            assert_eq!(text.parse::<Cpus>().expect_err(text).to_string(), message);
        }
        for text in ["inf", "1e2", "½", "١", ".5", "1.", "5M"] {
            assert!(text.parse::<Cpus>().is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn prints_cores() {
        for (millis, text) in [
            (2000, "2"),
            (1500, "1.5"),
            (250, "0.25"),
            (1, "0.001"),
            (10_000, "10"),
        ] {
            assert_eq!(Cpus(millis).to_string(), text);
        }
    }

    #[test]
    fn wire_numbers_are_checked() {
        assert_eq!(Cpus::from_cores(1.5), Ok(Cpus(1500)));
        assert_eq!(Cpus::from_cores(0.1 + 0.2), Ok(Cpus(300)));
        for cores in [
            0.0,
            -0.0,
            0.0004,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
        ] {
            assert!(Cpus::from_cores(cores).is_err(), "{cores}");
        }
    }

    proptest! {
        #[test]
        fn text_and_cores_round_trip(millis in 1_u32..) {
            let cpus = Cpus(millis);
            prop_assert_eq!(cpus.to_string().parse(), Ok(cpus));
            prop_assert_eq!(Cpus::from_cores(cpus.cores()), Ok(cpus));
        }
    }
}
