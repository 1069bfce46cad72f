//! What is in a repository, and how its parts hang together.
//!
//! ```text
//!  repository ──▶ scan ──▶ parse ──▶ resolve ──▶ store ◀── query, map, impact
//!   (clone)      files     facts     edges      SQLite
//!                            ▲                    ▲
//!                      queries/*.scm        history, manifest, search
//! ```
//!
//! - [`language`]: which language a file is in, by its name and first line.
//! - [`repository`]: clones by URL, the files of a commit without links, hooks and filters.
//! - [`history`], [`manifest`]: what commits and manifests say.
//! - [`search`]: places by words and by meaning.
//! - [`store`]: one SQLite file per repository. Everything in it can be built anew.
//!
//! Files are known by the id git gives their content, so what is unchanged is never parsed again.
//! A repository is untrusted input: nothing of it is executed, sizes and depths are bounded, and
//! what cannot be read is recorded and passed over.
//!
//! Absent on purpose: task state and a network server, which are the manager's.

pub mod analyse;
pub mod facts;
pub mod history;
mod http;
pub mod language;
pub mod manifest;
pub mod map;
pub mod parse;
pub mod query;
pub mod repository;
pub mod resolve;
pub mod scan;
pub mod search;
pub mod store;
pub mod watch;
