//! Real commands in real sandboxes, started the way a worker starts them.

mod basics;
mod fixture;
mod host;
mod hostile;
mod lifecycle;
mod sessions;
