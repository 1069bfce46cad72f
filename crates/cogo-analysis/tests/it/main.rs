//! The crate from outside: real repositories, real servers.

mod clone;
mod history;
