//! Runs the `cogo` program as a user does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod analysis;
mod arguments;
mod attach;
mod blocks;
mod clients;
mod exit_codes;
mod fixes;
mod fixture;
mod host;
mod interrupts;
mod json;
mod kill;
mod logs;
mod output;
mod plans;
mod search;
mod secrets;
mod server;
mod survival;
mod terminal;
mod testing;
mod watching;
mod worker;
mod workspace;
