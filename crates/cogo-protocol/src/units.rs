//! Sizes, shares of processors and durations, in the text that people write.
//!
//! Their serde form is that text, which is what configuration files hold. Wire messages do not
//! use it: they carry plain numbers whose unit is in the field's name.
//!
//! All three are read without floating point, so what is printed reads back as the same value.

mod bytes;
mod cpus;
mod decimal;
mod time_span;

pub use bytes::Bytes;
pub use cpus::Cpus;
pub use time_span::TimeSpan;

/// Why a text is not a quantity. The message shows the accepted forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It is empty, or its number is not a plain decimal number.
    #[error("`{text}` is not {quantity}; write it like {forms}")]
    NotANumber {
        /// What was read.
        text: String,
        /// What was wanted.
        quantity: &'static str,
        /// Examples of the accepted forms.
        forms: &'static str,
    },
    /// A number without a unit, where the unit cannot be guessed.
    #[error("`{text}` has no unit; write it like {forms}")]
    NoUnit {
        /// What was read.
        text: String,
        /// Examples of the accepted forms.
        forms: &'static str,
    },
    /// The unit is not known.
    #[error("`{unit}` in `{text}` is not a unit of {quantity}; write it like {forms}")]
    UnknownUnit {
        /// What was read.
        text: String,
        /// The unknown unit.
        unit: String,
        /// What was wanted.
        quantity: &'static str,
        /// Examples of the accepted forms.
        forms: &'static str,
    },
    /// It is negative.
    #[error("`{text}` is negative; {quantity} is not")]
    Negative {
        /// What was read.
        text: String,
        /// What was wanted.
        quantity: &'static str,
    },
    /// It is zero where zero means nothing.
    #[error("`{text}` is zero; {quantity} must be more")]
    Zero {
        /// What was read.
        text: String,
        /// What was wanted.
        quantity: &'static str,
    },
    /// It is finer than can be kept.
    #[error("`{text}` is finer than {finest}, the smallest step")]
    TooFine {
        /// What was read.
        text: String,
        /// The smallest step.
        finest: &'static str,
    },
    /// It does not fit.
    #[error("`{text}` is more than {quantity} can be")]
    TooLarge {
        /// What was read.
        text: String,
        /// What was wanted.
        quantity: &'static str,
    },
    /// Parts such as `1h30m` are not in falling order, each unit once.
    #[error("the parts of `{text}` do not fall from the largest unit; write it like {forms}")]
    Order {
        /// What was read.
        text: String,
        /// Examples of the accepted forms.
        forms: &'static str,
    },
}

/// Gives a unit its serde form: the text.
macro_rules! text_form {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = UnitError;

            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

text_form!(Bytes);
text_form!(Cpus);
text_form!(TimeSpan);
