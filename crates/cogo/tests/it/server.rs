//! `cogo serve` with real workers: what clients see, and what happens when things die.

mod blocks;
mod bounds;
mod deaths;
mod doors;
mod files;
pub(crate) mod fixture;
mod fleet;
mod http;
mod nonsense;
mod output;
mod plans;
mod proxy;
mod recovery;
mod submit;
mod subscribers;
mod top;
