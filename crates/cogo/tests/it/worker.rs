//! `cogo worker` over real WebSockets, with real sandboxes.

mod clients;
mod death;
mod doors;
mod fixture;
mod managers;
mod replay;
mod tasks;
