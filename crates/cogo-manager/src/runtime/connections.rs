//! The open connections of workers, and the way to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cogo_protocol::message::ToWorker;
use tokio::sync::mpsc;
use tracing::warn;

use crate::coordinator::{ConnectionId, RelayOrder};

/// Orders that may wait for one connection. A worker that lets more pile up is cut off: what it
/// has comes back by its lease.
const ORDERS_MAX: usize = 1024;

/// Something to be done by the owner of a connection.
#[derive(Debug)]
pub(crate) enum Order {
    Send(Box<ToWorker>),
    Relay(RelayOrder),
    Close(String),
}

/// Messages of clients that may wait for one connection. Clients wait while there are more.
const FORWARDED_MAX: usize = 16;

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<ConnectionId, Senders>>,
    last: AtomicU64,
}

#[derive(Debug)]
struct Senders {
    orders: mpsc::Sender<Order>,
    forwards: mpsc::Sender<ToWorker>,
}

/// What the owner of a connection gets to do.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) id: ConnectionId,
    /// The coordinator's orders. They end when the connection does not keep up.
    pub(crate) orders: mpsc::Receiver<Order>,
    /// What clients have for the worker's tasks.
    pub(crate) forwards: mpsc::Receiver<ToWorker>,
}

impl Connections {
    /// Registers a new connection. Its owner gets orders until it is removed or falls behind.
    pub(crate) fn open(&self) -> Mailbox {
        let id = ConnectionId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let (forwarder, forwards) = mpsc::channel(FORWARDED_MAX);
        let senders = Senders {
            orders: sender,
            forwards: forwarder,
        };
        self.lock().insert(id, senders);
        Mailbox {
            id,
            orders,
            forwards,
        }
    }

    /// Passes an order on, without waiting. A connection that is gone is no error.
    pub(crate) fn order(&self, id: ConnectionId, order: Order) {
        let mut open = self.lock();
        let Some(senders) = open.get(&id) else { return };
        if senders.orders.try_send(order).is_err() {
            warn!(connection = id.0, "connection does not keep up; closing it");
            open.remove(&id);
        }
    }

    /// Passes a client's message on; waits while others wait. Tells whether it was taken.
    pub(crate) async fn forward(&self, id: ConnectionId, message: ToWorker) -> bool {
        let sender = self.lock().get(&id).map(|senders| senders.forwards.clone());
        match sender {
            Some(sender) => sender.send(message).await.is_ok(),
            None => false,
        }
    }

    /// Forgets a connection.
    pub(crate) fn remove(&self, id: ConnectionId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, Senders>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
