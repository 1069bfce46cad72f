//! Reads a plan, and says where it is wrong.

use std::fmt;

use serde_saphyr::{Location, Spanned};

use crate::document::Plan;

/// Longest plan that is read.
const SIZE_MAX: usize = 4 << 20;

/// A place in a plan's text; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character in it.
    pub column: u64,
}

/// Something that is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PlanError {
    /// Where, when that is known.
    pub place: Option<Place>,
    /// What.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl PlanError {
    /// An error without a place.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            place: None,
            message: message.into(),
            hint: None,
        }
    }

    /// An error at a value of the plan.
    pub(crate) fn at<T>(value: &Spanned<T>, message: impl Into<String>) -> Self {
        Self {
            place: place(value.referenced),
            ..Self::new(message)
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Reads a plan from YAML, of which JSON is a part. Whether it makes sense is another question:
/// see [`crate::check`].
///
/// # Errors
///
/// The first thing that cannot be read: bad YAML, an unknown or missing field, a value of the
/// wrong kind, an unknown step type (with the ten known ones).
pub fn read(text: &str) -> Result<Plan, PlanError> {
    if text.len() > SIZE_MAX {
        return Err(PlanError::new(format!(
            "the plan is {} bytes long; at most {SIZE_MAX} are read",
            text.len()
        )));
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        PlanError {
            place: error.location().and_then(place),
            message: bare_message(error),
            hint: None,
        }
    })
}

/// The message without the place, which is told on its own.
fn bare_message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].trim_end().to_owned(),
        None => text,
    }
}

fn place(location: Location) -> Option<Place> {
    (location != Location::UNKNOWN).then(|| Place {
        line: location.line(),
        column: location.column(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text).expect_err("a refusal").to_string()
    }

    #[test]
    fn yaml_and_json_are_read_alike() {
        let yaml = read("steps:\n  - {id: a, type: build, run: make, network: {allow: [a.org]}}\n");
        let json = read(
            r#"{"steps":[{"id":"a","type":"build","run":"make","network":{"allow":["a.org"]}}]}"#,
        );
        for plan in [yaml.expect("a plan"), json.expect("a plan")] {
            assert_eq!(plan.steps[0].id.value, "a");
            assert_eq!(
                plan.steps[0].network,
                crate::document::StepNetwork::Allow(vec!["a.org".to_owned()])
            );
        }
    }

    #[test]
    fn errors_name_their_place() {
        let unknown_type = refused("steps:\n  - id: a\n    type: bild\n    run: make\n");
        assert!(unknown_type.starts_with("3:"), "{unknown_type}");
        assert!(unknown_type.contains("sandbox-execution"), "{unknown_type}");
        let unknown_field = refused("steps:\n  - id: a\n    type: build\n    rum: make\n");
        assert!(unknown_field.starts_with("4:5: "), "{unknown_field}");
        assert!(unknown_field.contains("rum"), "{unknown_field}");
        let bad_yaml = refused("steps:\n  - id: [a\n");
        assert!(bad_yaml.contains(':'), "{bad_yaml}");
        let missing = refused("steps:\n  - type: build\n");
        assert!(missing.contains("id"), "{missing}");
    }

    #[test]
    fn a_huge_plan_is_refused() {
        let huge = "#".repeat(SIZE_MAX + 1);
        assert!(refused(&huge).contains("at most"));
    }
}
