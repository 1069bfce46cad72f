//! Sizes such as `512MiB`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::UnitError;
use super::decimal::{Decimal, Scaled};

/// A size in bytes. Its text form carries a unit, such as `512MiB`.
///
/// `KiB`, `Ki` and `k` are 1,024 bytes, the single letter as container tools read it; `kB` is
/// 1,000. Case and one space before the unit do not matter. A bare number is bytes. What falls
/// between two bytes (`0.3KiB`) is rounded down. Printed in the shortest exact binary form.
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
pub struct Bytes(u64);

const QUANTITY: &str = "a size";
const FORMS: &str = "`512MiB`, `1.5GiB`, `2GB`, `64k` (1,024 bytes each) or `1024` (bytes)";

/// Binary units from the largest, with the power of two they stand for.
const BINARY: [(&str, u32); 7] = [
    ("EiB", 60),
    ("PiB", 50),
    ("TiB", 40),
    ("GiB", 30),
    ("MiB", 20),
    ("KiB", 10),
    ("B", 0),
];

impl Bytes {
    /// A size of so many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.starts_with('-') {
            return Err(UnitError::Negative {
                text: text.to_owned(),
                quantity: QUANTITY,
            });
        }
        let Some((number, rest)) = Decimal::split(text) else {
            return Err(not_a_number(text));
        };
        let unit = rest.strip_prefix(' ').unwrap_or(rest);
        if unit.is_empty() && !rest.is_empty() {
            return Err(not_a_number(text));
        }
        // Half a byte is a forgotten unit.
        if number.has_point() && unit.is_empty() {
            return Err(UnitError::NoUnit {
                text: text.to_owned(),
                forms: FORMS,
            });
        }
        let Some(scale) = unit_scale(unit) else {
            return Err(unknown_unit(text, unit));
        };
        match number.times(scale) {
            Scaled::Exact(bytes) | Scaled::RoundedDown(bytes) => Ok(Self(bytes)),
            Scaled::TooLarge => Err(UnitError::TooLarge {
                text: text.to_owned(),
                quantity: QUANTITY,
            }),
        }
    }
}

fn not_a_number(text: &str) -> UnitError {
    UnitError::NotANumber {
        text: text.to_owned(),
        quantity: QUANTITY,
        forms: FORMS,
    }
}

fn unknown_unit(text: &str, unit: &str) -> UnitError {
    UnitError::UnknownUnit {
        text: text.to_owned(),
        unit: unit.to_owned(),
        quantity: QUANTITY,
        forms: FORMS,
    }
}

fn unit_scale(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if unit.is_empty() || unit == "b" {
        return Some(1);
    }
    let mut letters = unit.chars();
    let power = match letters.next()? {
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        'p' => 5,
        'e' => 6,
        _ => return None,
    };
    match letters.as_str() {
        "" | "i" | "ib" => Some(1 << (10 * power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0B");
        }
        let shortest = BINARY
            .iter()
            .map(|&(unit, shift)| format!("{}{unit}", in_unit(self.0, shift)))
            .min_by_key(String::len)
            .expect("there are units");
        f.pad(&shortest)
    }
}

/// `bytes / 2^shift` as an exact decimal number.
fn in_unit(bytes: u64, shift: u32) -> String {
    let unit = 1_u128 << shift;
    let mut text = (u128::from(bytes) / unit).to_string();
    let mut rest = u128::from(bytes) % unit;
    if rest > 0 {
        text.push('.');
    }
    // Ends, since a fraction of a power of two has that many digits.
    while rest > 0 {
        rest *= 10;
        text.push(char::from(b'0' + (rest / unit) as u8));
        rest %= unit;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> u64 {
        text.parse::<Bytes>()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .get()
    }

    fn refusal(text: &str) -> String {
        text.parse::<Bytes>().expect_err(text).to_string()
    }

    #[test]
    fn reads_what_people_write() {
        for (text, expected) in [
            ("0", 0),
            ("1024", 1024),
            ("7B", 7),
            ("64k", 64 << 10),
            ("64K", 64 << 10),
            ("64Ki", 64 << 10),
            ("64KiB", 64 << 10),
            ("64 kib", 64 << 10),
            ("64kB", 64_000),
            ("512MiB", 512 << 20),
            ("512m", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("2GB", 2_000_000_000),
            ("1T", 1 << 40),
            ("1PiB", 1 << 50),
            ("15EiB", 15 << 60),
            ("0.3KiB", 307),
            ("0.1B", 0),
            ("18446744073709551615", u64::MAX),
            (
                "0.00000000000000000000000000000000000000000000000000000001EiB",
                0,
            ),
            (
                "1.99999999999999999999999999999999999999999999999999999999KiB",
                2047,
            ),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "", " ", "MiB", "NaN", "inf", "+1", "1e3", "1.", ".5GiB", "1,5GiB", " 1", "1 ", "٣",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?} was read");
        }
        for text in [
            "1XiB", "1 MiB ", "1  MiB", "1bit", "1MBB", "1MiBs", "5µB", "1ｋ", "1_000",
        ] {
            assert!(
                matches!(text.parse::<Bytes>(), Err(UnitError::UnknownUnit { .. })),
                "{text:?}"
            );
        }
        for text in [
            "16EiB",
            "18446744073709551616",
            "99999999999999999999999k",
            "18446744073709551615.9k",
        ] {
            assert!(
                matches!(text.parse::<Bytes>(), Err(UnitError::TooLarge { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refusals_show_the_accepted_forms() {
        const FORMS: &str =
            "write it like `512MiB`, `1.5GiB`, `2GB`, `64k` (1,024 bytes each) or `1024` (bytes)";
        assert_eq!(refusal("lots"), format!("`lots` is not a size; {FORMS}"));
        assert_eq!(refusal("1.5"), format!("`1.5` has no unit; {FORMS}"));
        assert_eq!(
            refusal("3 apples"),
            format!("`apples` in `3 apples` is not a unit of a size; {FORMS}")
        );
        assert_eq!(refusal("-1MiB"), "`-1MiB` is negative; a size is not");
        assert_eq!(refusal("16EiB"), "`16EiB` is more than a size can be");
    }

    #[test]
    fn prints_the_shortest_exact_binary_form() {
        for (value, text) in [
            (0, "0B"),
            (1, "1B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (1025, "1025B"),
            (1536, "1536B"),
            (3 << 29, "1.5GiB"),
            (1500 << 20, "1500MiB"),
            (64 << 20, "64MiB"),
            (u64::MAX, "18446744073709551615B"),
            (1 << 63, "8EiB"),
        ] {
            assert_eq!(Bytes::new(value).to_string(), text);
        }
    }

    #[test]
    fn serde_form_is_the_text() {
        assert_eq!(
            serde_json::to_string(&Bytes::new(1 << 20)).unwrap(),
            "\"1MiB\""
        );
        assert_eq!(
            serde_json::from_str::<Bytes>("\"2k\"").unwrap(),
            Bytes::new(2048)
        );
        assert!(serde_json::from_str::<Bytes>("2048").is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(value: u64, shift in 0_u32..64) {
            let size = Bytes::new(value >> shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = text.parse::<Bytes>();
        }
    }
}
