//! `cogo worker` over real `WebSocket`s, with real sandboxes.

mod blocks;
mod clients;
mod death;
mod doors;
mod fixture;
mod managers;
mod replay;
mod tasks;
