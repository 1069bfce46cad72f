//! Plain decimal numbers, such as `1.5`, times a scale: exact, in integers.

/// A decimal number as it was written: digits, and maybe a point and more digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal<'a> {
    whole: &'a str,
    fraction: &'a str,
}

/// A product that is not a whole number, or does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scaled {
    Exact(u64),
    /// The whole part of the product, which has a rest.
    RoundedDown(u64),
    TooLarge,
}

impl<'a> Decimal<'a> {
    /// Splits a text into the number it starts with and the rest. `None` if it does not start
    /// with a digit, or has a point without digits after it.
    pub(super) fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let (whole, rest) = split_digits(text);
        if whole.is_empty() {
            return None;
        }
        let Some(after_point) = rest.strip_prefix('.') else {
            return Some((
                Self {
                    whole,
                    fraction: "",
                },
                rest,
            ));
        };
        let (fraction, rest) = split_digits(after_point);
        (!fraction.is_empty()).then_some((Self { whole, fraction }, rest))
    }

    pub(super) fn has_point(self) -> bool {
        !self.fraction.is_empty()
    }

    /// The number times `scale`.
    pub(super) fn times(self, scale: u64) -> Scaled {
        let Some(whole) = digits_value(self.whole).and_then(|whole| whole.checked_mul(scale))
        else {
            return Scaled::TooLarge;
        };
        let (part, rest) = fraction_times(self.fraction, scale);
        match whole.checked_add(part) {
            Some(value) if rest => Scaled::RoundedDown(value),
            Some(value) => Scaled::Exact(value),
            None => Scaled::TooLarge,
        }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

fn digits_value(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// `0.digits × scale`: its whole part, and whether there is more. Works from the last digit to
/// the first, so that any number of digits stays within 128 bits.
fn fraction_times(digits: &str, scale: u64) -> (u64, bool) {
    let mut value = 0_u128;
    let mut rest = false;
    // After each step `value + (rest ? less than 1 : 0)` is `0.suffix × scale`.
    for digit in digits.bytes().rev() {
        let sum = value + u128::from(digit - b'0') * u128::from(scale);
        rest |= !sum.is_multiple_of(10);
        value = sum / 10;
    }
    (
        u64::try_from(value).expect("a fraction of a u64 fits in one"),
        rest,
    )
}
