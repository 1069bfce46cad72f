//! `cogo worker` over real `WebSocket`s, with real sandboxes.

mod blocks;
mod death;
mod doors;
pub(crate) mod fixture;
mod managers;
mod replay;
mod tasks;
