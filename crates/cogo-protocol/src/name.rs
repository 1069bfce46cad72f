//! Names that clients choose: short, printable texts.

/// Most bytes of a name.
pub const NAME_MAX: usize = 256;

/// The same as a regular expression: no control characters.
pub(crate) const NAME_PATTERN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// A text that cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It is empty.
    #[error("a {0} cannot be empty")]
    Empty(&'static str),
    /// It is too long.
    #[error("a {what} has at most {NAME_MAX} bytes, this one has {len}")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// It holds a control character.
    #[error("a {0} cannot contain control characters")]
    ControlCharacter(&'static str),
}

/// Checks a name.
pub(crate) fn check(what: &'static str, text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty(what));
    }
    if text.len() > NAME_MAX {
        return Err(InvalidName::TooLong {
            what,
            len: text.len(),
        });
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidName::ControlCharacter(what));
    }
    Ok(())
}

/// Declares the type of one sort of name. Cloning one is cheap.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend(
            "minLength" = 1,
            "maxLength" = 256,
            "pattern" = $crate::name::NAME_PATTERN,
        ))]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::name::InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::name::InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::name::check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use name_type;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskId;

    #[test]
    fn names_are_short_and_printable() {
        assert!("build 7/é".parse::<TaskId>().is_ok());
        assert_eq!("".parse::<TaskId>(), Err(InvalidName::Empty("task id")));
        assert_eq!(
            "a\nb".parse::<TaskId>(),
            Err(InvalidName::ControlCharacter("task id"))
        );
        assert!("x".repeat(256).parse::<TaskId>().is_ok());
        assert!("x".repeat(257).parse::<TaskId>().is_err());
    }

    #[test]
    fn a_bad_name_is_refused_in_json_too() {
        assert!(serde_json::from_str::<TaskId>(r#""""#).is_err());
        let id: TaskId = serde_json::from_str(r#""t1""#).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""t1""#);
    }
}
