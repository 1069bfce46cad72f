//! Why a request was not done, as the client is told.

use std::error::Error;
use std::fmt::Write as _;

use cogo_protocol::message::error_code;
use cogo_sandbox::start::{RefusalKind, StartError};
use serde::{Deserialize, Serialize};

/// The fact, a code for programs, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: &str, error: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            error: error.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A refusal whose fact is an error with all its causes.
    pub(crate) fn caused(code: &str, error: &dyn Error) -> Self {
        Self::new(code, chain(error))
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Refused(refused) => {
                let code = match refused.kind {
                    RefusalKind::Unsupported => error_code::UNSUPPORTED,
                    RefusalKind::Invalid | RefusalKind::NotFound => error_code::INVALID_REQUEST,
                    RefusalKind::Failed => error_code::SANDBOX_FAILED,
                };
                Self {
                    code: code.to_owned(),
                    error: refused.message,
                    hint: refused.hint,
                }
            }
            StartError::State(_) | StartError::Spawn(_) | StartError::SupervisorDied => {
                Self::caused(error_code::SANDBOX_FAILED, &error)
            }
        }
    }
}

/// An error with all its causes, each told once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent wrapper repeats its cause.
        if !text.ends_with(&next) {
            let _ = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}
