//! Real commands in real sandboxes, started the way a worker starts them.

mod basics;
mod death;
mod fixture;
mod host;
mod lifecycle;
mod sessions;
