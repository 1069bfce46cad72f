//! Plans: typed steps that need each other, checked before anything starts, run in parallel, and
//! taken up again after any death.
//!
//! ```text
//! text ──read──▶ Plan ──check, expand──▶ Graph ──execute──▶ Dispatch (a sandbox, a manager)
//!                                          │                   │
//!                                        Progress ◀──ends──────┘
//!                                          │
//!                                        Journal: what a later run takes up
//! ```
//!
//! How a command is run is not decided here: see [`dispatch::Dispatch`]. What its output says is told
//! by [`diagnostic`], while it streams.

pub mod affected;
pub mod cache;
pub mod check;
pub mod diagnostic;
pub mod dispatch;
pub mod document;
pub mod execute;
pub mod expression;
pub mod files;
pub mod fix;
pub mod graph;
pub mod hex;
pub mod init;
pub mod journal;
pub mod progress;
pub mod read;
pub mod route;
pub mod test_recovery;
pub mod test_results;
