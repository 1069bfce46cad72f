//! Tests that fail are run again, alone or with what they lacked, until it is known what they are:
//! broken, flaky, too slow or too big.
//!
//! ```text
//! command ──TestCommand──▶ run ──TestParser──▶ results, verdict
//!                           ▲                       │ cause
//!                           └── only these, alone, ◀┘
//!                               with more memory         ──judge──▶ Report, History
//! ```
//!
//! The cause comes from the verdict of the sandbox, never from words in the output. What was known of
//! a test before comes from a [`History`]; failures that are excused, from a [`Quarantine`].

mod command;
mod engine;
mod history;
mod judge;
mod quarantine;
mod report;

pub use command::TestCommand;
pub use engine::{RecoverySettings, TestEvent, Why, recover};
pub use history::{History, HistoryError, Known};
pub use judge::{Class, Judgement};
pub use quarantine::{Quarantine, QuarantineError, Quarantined};
pub use report::{Recovered, Report, TestReport, TestsOutcome};
