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
use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::SUBPROTOCOL_JSON;
use cogo_protocol::task::TaskState;
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
    /// Whose names the events have. Default: the manager's.
    #[serde(default)]
    form: EventForm,
}

/// Whose names events have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EventForm {
    /// The manager's own.
    #[default]
    Manager,
    /// Those that agents know: `sandbox_output`, `sandbox_block_detected` and `task_failed`. What
    /// has no name there is left out.
    Agent,
}

impl EventForm {
    /// The event as its listener wants it; `None` if it is none for this listener.
    fn text(self, event: &EventRecord) -> Option<String> {
        match self {
            Self::Manager => Some(event.json.clone()),
            Self::Agent => agent_message(&event.json),
        }
    }
}

/// An event as a message between agents.
fn agent_message(json: &str) -> Option<String> {
    let name = match serde_json::from_str(json).ok()? {
        ManagerEvent::TaskOutput(_) => "sandbox_output",
        ManagerEvent::BlockDetected { .. } => "sandbox_block_detected",
        ManagerEvent::TaskComplete { state, .. } if state != TaskState::Succeeded => "task_failed",
        ManagerEvent::TaskComplete { .. }
        | ManagerEvent::TaskQueued { .. }
        | ManagerEvent::TaskStarted { .. }
        | ManagerEvent::TaskProgress { .. }
        | ManagerEvent::TaskRequeued { .. }
        | ManagerEvent::WorkerCreated { .. }
        | ManagerEvent::WorkerConnected { .. }
        | ManagerEvent::WorkerDisconnected { .. }
        | ManagerEvent::WorkerLost { .. }
        | ManagerEvent::WorkerFailed { .. }
        | ManagerEvent::WorkerRemoved { .. } => return None,
    };
    let mut message: serde_json::Value = serde_json::from_str(json).ok()?;
    message["type"] = name.into();
    Some(message.to_string())
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
    let form = query.form;
    if headers.contains_key(header::UPGRADE) {
        // Who offers subprotocols, as for a token, expects one of them to be chosen.
        let upgrade = bridge::upgrade(upgrade)?.protocols([SUBPROTOCOL_JSON]);
        return Ok(upgrade.on_upgrade(move |socket| over_web_socket(api, feed, form, socket)));
    }
    let stop = api.stop.clone();
    let events = stream::unfold(feed, move |mut feed| {
        let stop = stop.clone();
        async move {
            let (event, text) = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                event = feed.next_in(form) => event,
            }?;
            let told = Event::default().data(text);
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

async fn over_web_socket(api: Arc<Api>, mut feed: Feed, form: EventForm, mut socket: WebSocket) {
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
            event = feed.next_in(form) => match event {
                Some((_, text)) => socket.send(Message::Text(text.into())).await,
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

    /// The next event for a listener of that form, with its text; `None` as in [`Self::next`].
    async fn next_in(&mut self, form: EventForm) -> Option<(Arc<EventRecord>, String)> {
        loop {
            let event = self.next().await?;
            if let Some(text) = form.text(&event) {
                return Some((event, text));
            }
        }
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
