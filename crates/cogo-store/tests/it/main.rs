//! Stores on real disks, and what is left of them after a kill.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod crash;
mod fixture;
mod model;
mod sqlite;
mod task_log;
