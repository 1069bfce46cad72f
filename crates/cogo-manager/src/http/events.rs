//! What happened, from any number on: as server-sent events or over a WebSocket.
//!
//! Kept events are read from the store until a listener has caught up, then passed on as they
//! are published. One that falls behind goes back to the store, so nobody holds up anybody.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Method, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cogo_protocol::message::SUBPROTOCOL_JSON;
use cogo_store::{EventRecord, Store, StoreError};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tracing::warn;

use super::extract::Query;
use super::problem::Problem;
use super::routes::{Operation, READ, Routes};
use super::{Api, bridge};

/// Events read from the store at once.
const PAGE_LEN: usize = 500;

/// From where on to tell.
#[derive(Debug, Deserialize, JsonSchema)]
struct EventsQuery {
    /// Events after this number. Default: `Last-Event-ID`, else only what happens from now on.
    after: Option<u64>,
}

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(
        Operation::new(
            Method::GET,
            "/events",
            READ,
            "What happens, from a number on",
        )
        .query::<EventsQuery>()
        .answer_as(
            &["text/event-stream"],
            "events as they happen; as a WebSocket, one JSON text each",
        ),
        events,
    )
}

async fn events(
    State(api): State<Arc<Api>>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let after = query.after.or_else(|| last_event_id(&headers));
    let feed = Feed::open(&api, after).await?;
    if headers.contains_key(header::UPGRADE) {
        // Who offers subprotocols, as for a token, expects one of them to be chosen.
        let upgrade = bridge::upgrade(upgrade)?.protocols([SUBPROTOCOL_JSON]);
        return Ok(upgrade.on_upgrade(move |socket| over_web_socket(api, feed, socket)));
    }
    let stop = api.stop.clone();
    let events = stream::unfold(feed, move |mut feed| {
        let stop = stop.clone();
        async move {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                event = feed.next() => event,
            }?;
            let told = Event::default().data(&event.json);
            let told = match event.number {
                0 => told,
                number => told.id(number.to_string()),
            };
            Some((Ok::<_, Infallible>(told), feed))
        }
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// Where a listener that reconnects left off.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

async fn over_web_socket(api: Arc<Api>, mut feed: Feed, mut socket: WebSocket) {
    let mut pings = tokio::time::interval(api.config.silence_max / 3);
    let mut heard_at = tokio::time::Instant::now();
    loop {
        let sent = tokio::select! {
            biased;
            () = api.stop.cancelled() => return,
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    heard_at = tokio::time::Instant::now();
                    continue;
                }
            },
            _ = pings.tick() => {
                if heard_at.elapsed() > api.config.silence_max {
                    return;
                }
                socket.send(Message::Ping(axum::body::Bytes::new())).await
            }
            event = feed.next() => match event {
                Some(event) => socket.send(Message::Text(event.json.as_str().into())).await,
                None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Events in order, from a number on, without end.
struct Feed {
    store: Arc<dyn Store>,
    live: broadcast::Receiver<Arc<EventRecord>>,
    /// The last number that was told.
    last: u64,
    stored: VecDeque<Arc<EventRecord>>,
    /// Whether the store may have more that was not told.
    behind: bool,
}

impl Feed {
    async fn open(api: &Api, after: Option<u64>) -> Result<Self, StoreError> {
        // First the live ones, so that none falls between.
        let live = api.events.listen();
        let store = Arc::clone(&api.store);
        let last = if let Some(after) = after {
            after
        } else {
            let store = Arc::clone(&store);
            let reading = tokio::task::spawn_blocking(move || store.event_last());
            reading.await.unwrap_or(Err(StoreError::Poisoned))?
        };
        Ok(Self {
            store,
            live,
            last,
            stored: VecDeque::new(),
            behind: after.is_some(),
        })
    }

    /// The next event; `None` when the manager stops or the store fails. Cancelling it loses
    /// nothing.
    async fn next(&mut self) -> Option<Arc<EventRecord>> {
        loop {
            if let Some(event) = self.stored.pop_front() {
                self.last = event.number;
                return Some(event);
            }
            if self.behind {
                self.read_on().await?;
                continue;
            }
            match self.live.recv().await {
                // An event that is not kept has no number.
                Ok(event) if event.number == 0 => return Some(event),
                Ok(event) if event.number > self.last => {
                    self.last = event.number;
                    return Some(event);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    async fn read_on(&mut self) -> Option<()> {
        let (store, last) = (Arc::clone(&self.store), self.last);
        let reading = tokio::task::spawn_blocking(move || store.events_after(last, PAGE_LEN));
        match reading.await.ok()? {
            Ok(events) => {
                self.behind = events.len() == PAGE_LEN;
                self.stored.extend(events.into_iter().map(Arc::new));
                Some(())
            }
            Err(error) => {
                warn!(%error, "failed to read events");
                None
            }
        }
    }
}
