//! What a plan knows of its steps while they run.
//!
//! [`diagnostic`] reads the output of any tool while it streams and says what the tool found.

pub mod diagnostic;
