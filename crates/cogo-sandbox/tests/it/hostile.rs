//! Programs that try to get out, and what they failed to reach.
//!
//! The attempts are C programs in `attempts/`, compiled when the tests run. Each tells whether it
//! was refused; where it would have left a trace on the host, the tests look for that too. An
//! attempt that fails for want of skill would prove nothing, so wherever it does no harm the same
//! attempt is made without a sandbox, or in one of `bwrap`'s, where it has to succeed.

mod attempt;
mod descriptors;
mod files;
mod kernel;
mod network;
mod output;
mod processes;
mod resources;
