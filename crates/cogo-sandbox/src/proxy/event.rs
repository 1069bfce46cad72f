//! What the proxy tells about each connection.

use std::fmt;

use super::allow_list::Refusal;
use super::authority::Authority;

/// Hears of each connection's end.
pub trait ProxyObserver: Sync {
    /// Called once per connection that asked for something, from the thread that served it; it
    /// should not block for long. The program inside decides how often this happens and with
    /// which hosts, so whatever is kept of it needs a bound.
    fn on_event(&self, event: ProxyEvent);
}

/// How one connection ended. Its text form is one line of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEvent {
    /// A server was reached.
    Allowed {
        /// The server.
        to: Authority,
        /// Bytes sent to it.
        bytes_sent: u64,
        /// Bytes that came back.
        bytes_received: u64,
    },
    /// A server was not to be reached.
    Refused {
        /// The server.
        to: Authority,
        /// Why not.
        reason: Refusal,
    },
    /// A server was allowed and could not be reached, or did not keep to the protocol.
    Failed {
        /// The server.
        to: Authority,
        /// What failed.
        reason: String,
    },
    /// What the client sent is not a request this proxy takes.
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// A connection was closed unserved, for lack of resources.
    Dropped {
        /// What was lacking.
        reason: String,
    },
}

impl fmt::Display for ProxyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed {
                to,
                bytes_sent,
                bytes_received,
            } => {
                write!(
                    f,
                    "allowed {to}, {bytes_sent} bytes sent, {bytes_received} received"
                )
            }
            Self::Refused { to, reason } => write!(f, "refused {to}: {reason}"),
            Self::Failed { to, reason } => write!(f, "failed {to}: {reason}"),
            Self::Malformed { reason } => write!(f, "malformed request: {reason}"),
            Self::Dropped { reason } => write!(f, "dropped: {reason}"),
        }
    }
}
