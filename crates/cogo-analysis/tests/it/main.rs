//! The crate from outside: real repositories, real servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clone;
mod history;
#[cfg(feature = "embedding")]
mod model;
