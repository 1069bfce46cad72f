//! The crate from outside: real repositories, real servers.

mod clone;
mod history;
#[cfg(feature = "embedding")]
mod model;
