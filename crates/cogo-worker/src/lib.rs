//! A worker: runs tasks for clients and managers over WebSocket, and finds them again after its
//! own death.
//!
//! ```text
//! client ──▶ listen ──▶ connection ──requests──▶ table ──jobs──▶ runner ──▶ supervisor
//! manager ◀── join ──▶      │ ◀────── feed ◀── progress ───────────┘            │
//!                           └────────── reads ──▶ log on disk ◀── writes ───────┘
//! ```
//!
//! The [`table`] is the one owner of what tasks there are; a [`runner`] talks with the supervisor
//! of one exec; a [`connection`] talks with one client; a [`feed`] brings the output of one task
//! to one connection, read from the log on disk, live and later alike. A worker that dies leaves
//! its execs running: the next one on the same state directory finds them by what is written
//! down, see [`task_record`].
//!
//! What `cogo run` needs too is public: which defaults a command gets ([`limits`],
//! [`environment`]), which directories it may have ([`workspace`]), how the sandbox's words become
//! those that travel ([`convert`]), and how a server is dialed ([`wire`]).
//!
//! Deliberately absent: queues and retries (a manager's), and reading arguments or environment.

pub mod block;
pub mod config;
mod connection;
pub mod convert;
pub mod environment;
mod feed;
mod handshake;
mod health;
mod instant;
mod join;
pub mod limits;
mod listen;
mod plan;
mod refusal;
mod replay;
mod runner;
mod starter;
mod table;
mod task;
mod task_record;
pub mod wire;
mod worker;
pub mod workspace;

pub use config::WorkerConfig;
pub use worker::{Wish, Worker, WorkerError};
