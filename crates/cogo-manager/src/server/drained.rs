//! Bodies that are read to their end even when nobody wants them.
//!
//! A request that is refused early leaves its body behind. If the connection were closed then, the
//! kernel would reset it because of what was not read, and the client would lose the answer that
//! says why it was refused.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Bytes that are read for the sake of the answer, and time for them.
const DRAINED_MAX: usize = 8 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A request's body. What is left of it when it is dropped is read and thrown away.
pub(super) struct Drained {
    /// Always there, until it is dropped.
    body: Option<Incoming>,
}

impl Drained {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body: Some(body) }
    }
}

impl Body for Drained {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            // It ends by itself after its time.
            drop(runtime.spawn(timeout(DRAIN_TIME, drain(body))));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut left = DRAINED_MAX;
    while let Some(Ok(frame)) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        let len = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(len) else {
            return;
        };
        left = rest;
    }
}
