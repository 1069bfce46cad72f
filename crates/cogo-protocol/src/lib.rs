//! The words that cogo and its clients exchange.
//!
//! Data only: these types say what travels, as JSON, between a client, a worker and a manager,
//! and what `cogo run --json` prints. Field names are camelCase, kinds are `snake_case`, instants
//! are Unix milliseconds, and a bare number carries its unit in its name (`timeoutMs`,
//! `memoryBytes`). Unknown fields are ignored, so that both sides can grow.
//!
//! Deliberately absent: I/O, clocks, randomness and a runtime. What needs them takes the result
//! as an argument. Also absent is any link to the sandbox's own types; the `cogo` crate converts.

pub mod block;
pub mod command;
pub mod date;
pub mod event;
pub mod exec;
pub mod frame;
pub mod id;
pub mod job;
pub mod manager_event;
pub mod message;
pub mod name;
pub mod record;
pub mod recovery;
pub mod task;
pub mod units;
pub mod verdict;
pub mod worker;
