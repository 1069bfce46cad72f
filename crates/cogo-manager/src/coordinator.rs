//! The one owner of tasks, leases and workers.

mod effect;
mod input;

pub use effect::{Answer, Effect, PoolHealth, RelayOrder, RequestError, Step};
pub use input::{AttemptKey, ClientRequest, ConnectionId, Input, ReplyId};
