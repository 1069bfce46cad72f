//! The store from asynchronous code: waiting for it without holding up a thread of the runtime.

use std::sync::Arc;

use cogo_store::{Change, Store, StoreError};
use tokio::sync::oneshot;

/// Hands a change in, before this returns, and waits until it is durable.
pub(crate) fn commit(
    store: &dyn Store,
    change: Change,
) -> impl Future<Output = Result<(), StoreError>> + use<> {
    let (sender, durable) = oneshot::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    store.commit(vec![change], done);
    async move { durable.await.unwrap_or(Err(StoreError::Poisoned)) }
}

/// Reads on a thread that may block.
pub(crate) async fn read<T: Send + 'static>(
    store: &Arc<dyn Store>,
    read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = Arc::clone(store);
    let reading = tokio::task::spawn_blocking(move || read(store.as_ref()));
    match reading.await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is being shut down.
        Err(_) => Err(StoreError::Poisoned),
    }
}
