//! The output of a task: as bytes, as server-sent events, or as a WebSocket.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cogo_protocol::record::{OutputRecord, Stream, Utf8Chunker};
use cogo_protocol::task::TaskId;
use futures_util::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::events::last_event_id;
use super::extract::{Path, Query};
use super::problem::Problem;
use super::routes::{Operation, READ_OR_OWN, Routes};
use super::{bridge, tasks};
use crate::follow::{Follow, Record, Start, Told};
use crate::tokens::Caller;

/// What to show of a task's output.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LogsQuery {
    /// Begin at this record. Default: `Last-Event-ID`, else 0.
    from_seq: Option<u64>,
    /// The attempt to begin with. Default: the latest.
    attempt: Option<u32>,
    /// Go on until the task is over, through further attempts. Default: false for bytes, true
    /// for events.
    follow: Option<bool>,
    /// One stream alone: `stdout` or `stderr`. Default: both.
    stream: Option<Stream>,
}

pub(super) fn add(routes: Routes) -> Routes {
    let routes = routes.add(
        Operation::new(
            Method::GET,
            "/tasks/{id}/logs",
            READ_OR_OWN,
            "The output of a task",
        )
        .query::<LogsQuery>()
        .answer_as(
            &["application/octet-stream", "text/event-stream"],
            "the output as it was written; as events, records with their numbers and the end",
        ),
        logs,
    );
    bridge::add(routes)
}

async fn logs(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<TaskId>,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    tasks::visible(&api, &caller, &id).await?;
    let events = wants_events(&headers);
    let from_seq = query
        .from_seq
        .or_else(|| last_event_id(&headers).map(|last| last + 1))
        .unwrap_or(0);
    let start = Start {
        attempt: query.attempt,
        from_seq,
        lead_in: events,
    };
    let log = Log {
        follow: api.follows.follow(&id, start).await?,
        until_end: query.follow.unwrap_or(events),
        only: query.stream,
        stop: api.stop.clone(),
    };
    if events {
        return Ok(as_events(log, from_seq));
    }
    let mut response = Body::from_stream(as_bytes(log)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(response)
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"))
}

/// Output on its way to a client.
struct Log {
    follow: Follow,
    until_end: bool,
    only: Option<Stream>,
    stop: CancellationToken,
}

impl Log {
    /// What comes next; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Told>> {
        let told = if self.until_end {
            tokio::select! {
                biased;
                // An end without a verdict would be taken for the end.
                () = self.stop.cancelled() => return Err(io::Error::other("the manager is stopping")),
                told = self.follow.next() => told,
            }
        } else {
            self.follow.now().await
        };
        told.map_err(io::Error::other)
    }

    fn shows(&self, record: &Record) -> bool {
        self.only.is_none_or(|only| only == record.header.stream)
    }
}

fn as_bytes(log: Log) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(log), |log| async move {
        let mut log = log?;
        loop {
            match log.next().await {
                Ok(Some(Told::Output(records))) => {
                    let shown = records.iter().filter(|record| log.shows(record));
                    let bytes: Vec<u8> = shown.flat_map(Record::bytes).copied().collect();
                    if !bytes.is_empty() {
                        return Some((Ok(bytes.into()), Some(log)));
                    }
                }
                Ok(Some(Told::Started(_) | Told::AttemptOver { .. })) => {}
                Ok(Some(Told::Ended(_)) | None) => return None,
                // The client sees the connection break, not a proper end.
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
}

/// Records as events, with no character torn between two of them.
struct Events {
    log: Log,
    /// Earlier records of the first attempt are a lead-in.
    skip_before: u64,
    attempts: u32,
    stdout: Utf8Chunker,
    stderr: Utf8Chunker,
    last_ms: u64,
}

fn as_events(log: Log, from_seq: u64) -> Response {
    let events = Events {
        skip_before: from_seq,
        attempts: 0,
        log,
        stdout: Utf8Chunker::new(),
        stderr: Utf8Chunker::new(),
        last_ms: 0,
    };
    let events = stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        match events.log.next().await {
            Ok(Some(told)) => {
                let told = events.tell(told);
                Some((stream::iter(told), Some(events)))
            }
            Ok(None) | Err(_) => None,
        }
    });
    let events = events.flatten().map(Ok::<_, Infallible>);
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl Events {
    fn tell(&mut self, told: Told) -> Vec<Event> {
        match told {
            Told::Started(attempt) => {
                self.attempts += 1;
                if self.attempts > 1 {
                    self.skip_before = 0;
                }
                vec![json_event("started", None, &attempt)]
            }
            Told::Output(records) => records
                .iter()
                .filter_map(|record| self.record(record))
                .collect(),
            Told::AttemptOver { log_end } => self.held_back(log_end),
            Told::Ended(status) => vec![json_event("ended", None, &status)],
        }
    }

    fn record(&mut self, record: &Record) -> Option<Event> {
        if !self.log.shows(record) {
            return None;
        }
        self.last_ms = record.header.timestamp_ms;
        let chunker = match record.header.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let output = OutputRecord {
            seq: record.header.seq,
            stream: record.header.stream,
            timestamp_ms: self.last_ms,
            chunk: chunker.push(record.bytes())?,
        };
        if output.seq < self.skip_before {
            return None;
        }
        Some(json_event("output", Some(output.seq), &output))
    }

    fn held_back(&mut self, log_end: u64) -> Vec<Event> {
        let held = [
            (Stream::Stdout, std::mem::take(&mut self.stdout).finish()),
            (Stream::Stderr, std::mem::take(&mut self.stderr).finish()),
        ];
        held.into_iter()
            .filter_map(|(stream, chunk)| {
                let output = OutputRecord {
                    seq: log_end,
                    stream,
                    timestamp_ms: self.last_ms,
                    chunk: chunk?,
                };
                Some(json_event("output", Some(log_end), &output))
            })
            .collect()
    }
}

fn json_event<T: serde::Serialize>(name: &str, seq: Option<u64>, data: &T) -> Event {
    let json = serde_json::to_string(data).expect("events have string keys only");
    let event = Event::default().event(name).data(json);
    match seq {
        Some(seq) => event.id(seq.to_string()),
        None => event,
    }
}
