//! Real commands in real sandboxes, started the way a worker starts them.

mod accounting;
mod basics;
mod causes;
mod death;
mod fixture;
mod flood;
mod host;
mod hostile;
mod lifecycle;
mod log;
mod refusals;
mod reuse;
mod sessions;
mod spares;
