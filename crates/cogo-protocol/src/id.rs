//! Names of things that keep their identity across processes and restarts.
//!
//! A task's id is not here: clients choose it, as a key that makes submission idempotent, so it
//! can be any text.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant};

/// Identifies one exec. A `UUIDv7`, so ids sort by the time they were made.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("format" = "uuid"))]
pub struct ExecId(Uuid);

/// Random bytes that an id takes. Six of their bits give way to version and variant.
pub type Randomness = [u8; 10];

impl ExecId {
    /// Makes an id from a Unix time in milliseconds, of which the low 48 bits count, and fresh
    /// random bytes. The caller brings both, as this crate has neither clock nor randomness.
    pub fn from_parts(unix_ms: u64, randomness: &Randomness) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, randomness).into_uuid())
    }

    /// The Unix time in milliseconds at which the id was made.
    pub fn created_at_ms(self) -> u64 {
        let bytes = self.0.as_bytes();
        bytes[..6]
            .iter()
            .fold(0, |time, byte| time << 8 | u64::from(*byte))
    }

    /// The last twelve hex digits, for people. They are random, while ids made in the same
    /// hours share their first digits.
    pub fn short(self) -> String {
        let text = self.to_string();
        text[text.len() - 12..].to_owned()
    }
}

impl fmt::Display for ExecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It is not a UUID with hyphens.
    #[error("`{0}` is not an id such as `01890a5d-ac96-774b-bcce-b302099a8057`")]
    NotUuid(String),
    /// It is a UUID, but not one of version 7.
    #[error("`{0}` is a UUID of another version than 7")]
    NotVersion7(String),
}

impl FromStr for ExecId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // `Uuid` also reads braces, `urn:uuid:` and bare digits. One id has one spelling here,
        // since ids also name directories.
        let uuid = match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 => uuid,
            Ok(_) | Err(_) => return Err(InvalidId::NotUuid(text.to_owned())),
        };
        if uuid.get_version_num() != 7 || uuid.get_variant() != Variant::RFC4122 {
            return Err(InvalidId::NotVersion7(text.to_owned()));
        }
        Ok(Self(uuid))
    }
}

impl TryFrom<String> for ExecId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ExecId> for String {
    fn from(id: ExecId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn text_and_json_are_the_hyphenated_form() {
        let id: ExecId = TEXT.parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{TEXT}\""));
        assert_eq!(id.short(), "b302099a8057");
        assert_eq!(id.created_at_ms(), 0x0189_0a5d_ac96);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "01890a5d",
            "01890a5dac96774bbcceb302099a8057",
            "{01890a5d-ac96-774b-bcce-b302099a8057}",
            "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
            "01890a5d-ac96-774b-bcce-b302099a805é",
            "../../../../../../../../../../etc/pa",
        ] {
            assert_eq!(
                text.parse::<ExecId>(),
                Err(InvalidId::NotUuid(text.to_owned()))
            );
        }
    }

    #[test]
    fn other_versions_and_variants_are_refused() {
        for text in [
            "01890a5d-ac96-474b-bcce-b302099a8057",
            "01890a5d-ac96-774b-0cce-b302099a8057",
        ] {
            assert_eq!(
                text.parse::<ExecId>(),
                Err(InvalidId::NotVersion7(text.to_owned()))
            );
            assert!(serde_json::from_str::<ExecId>(&format!("\"{text}\"")).is_err());
        }
    }

    #[test]
    fn upper_case_reads_as_the_same_id() {
        assert_eq!(TEXT.to_uppercase().parse::<ExecId>(), TEXT.parse());
    }

    proptest! {
        #[test]
        fn ids_round_trip_and_keep_their_time(ms in 0_u64..1 << 48, random: Randomness) {
            let id = ExecId::from_parts(ms, &random);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.created_at_ms(), ms);
            let later = ExecId::from_parts(ms + 1, &[0; 10]);
            prop_assert!(ms + 1 == 1 << 48 || later > id);
        }
    }
}
