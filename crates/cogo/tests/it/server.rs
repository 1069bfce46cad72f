//! `cogo serve` with real workers: what clients see, and what happens when things die.

mod deaths;
mod doors;
pub(crate) mod fixture;
mod fleet;
mod http;
mod output;
mod proxy;
mod submit;
