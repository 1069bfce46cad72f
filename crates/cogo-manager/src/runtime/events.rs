//! Events, to everyone who listens.

use std::sync::Arc;

use cogo_store::EventRecord;
use tokio::sync::broadcast;

/// Events that a listener may be behind. One that is further behind reads on from the store.
const BEHIND_MAX: usize = 1024;

/// Where events come from.
#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Arc<EventRecord>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(BEHIND_MAX).0,
        }
    }

    /// Tells everyone who listens now.
    pub(super) fn publish(&self, event: EventRecord) {
        // Without a listener there is nobody to tell.
        let _ = self.sender.send(Arc::new(event));
    }

    /// Listens from now on. All that is published later is durable already.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.sender.subscribe()
    }
}
