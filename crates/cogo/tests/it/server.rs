//! `cogo serve` with real workers: what clients see, and what happens when things die.

mod blocks;
mod deaths;
mod doors;
mod fixture;
mod fleet;
mod http;
mod output;
mod proxy;
mod recovery;
mod submit;
