//! Takes tasks, queues them by priority and gets each of them done once by a pool of workers.
//!
//! One coordinator owns the state. It is a plain value: inputs and time go in, changes for the
//! store and effects come out. Effects happen only when the changes before them are durable.
//!
//! ```text
//! HTTP API ──┐                                ┌─▶ store ── durable ──▶ effects
//! workers  ──┼─▶ Input ─▶ coordinator ─▶ Step ┤      messages to workers, replies, events,
//! timer    ──┘                                └────── local workers to start and to stop
//! ```
//!
//! Deliberately absent: process spawning (whoever runs the manager brings a way to start local
//! workers) and anything of the sandbox.

pub mod clock;
pub mod coordinator;
mod follow;
pub mod http;
pub mod jobs;
mod manager;
pub mod rules;
mod runtime;
mod server;
mod session;
mod stored;
mod tasks;
mod tokens;

pub use http::Rate;
pub use manager::{Failed, Manager, ManagerConfig, Parts, StartError};
pub use runtime::{Handle, LocalWorkers, NoLocalWorkers, Report, Stopped};
pub use server::tls_config;
pub use tokens::{Token, hash};
