//! A model behind an endpoint, over HTTP.
//!
//! Where the endpoint says that it has too much to do, it is asked again when it says, or later and
//! later, as long as there is time.

use std::time::Duration;

use cogo_plan::dispatch::Cancel;
use cogo_plan::fix::agent::chat::{Answer, Protocol, refusal};
use cogo_plan::fix::agent::{Agent, AgentError, Request};
use cogo_worker::wire::Trust;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::client::{Address, Wire};

/// How soon a request to cancel is noticed.
const CANCEL_PACE: Duration = Duration::from_millis(50);
/// Silence after which an endpoint is given up.
const SILENCE_MAX: Duration = Duration::from_mins(2);
/// Times a busy endpoint is asked.
const TRIES_MAX: u32 = 6;
/// What is read of a refusal.
const REFUSAL_MAX: usize = 64 * 1024;

pub(super) struct Endpoint {
    protocol: Protocol,
    address: Address,
    path: String,
    model: String,
    key: Option<String>,
}

/// Why a try gave no answer.
enum Miss {
    /// It may have one later: after this time, if it says so.
    Busy(Option<Duration>, AgentError),
    /// It will have none.
    Final(AgentError),
}

impl Endpoint {
    pub(super) fn new(
        protocol: Protocol,
        url: &str,
        model: String,
        key: Option<String>,
    ) -> Result<Self, String> {
        let invalid = || format!("`{url}` is not the address of an endpoint");
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
        let address: Address = format!("{scheme}://{authority}")
            .parse()
            .map_err(|_| invalid())?;
        let base = base.trim_end_matches('/');
        let base = if base.is_empty() {
            String::new()
        } else {
            format!("/{base}")
        };
        // Both `https://host` and `https://host/v1` are written for Anthropic's endpoint.
        let base = match protocol {
            Protocol::Anthropic => base.strip_suffix("/v1").unwrap_or(&base).to_owned(),
            Protocol::OpenAi => base,
        };
        Ok(Self {
            protocol,
            address,
            path: format!("{base}{}", protocol.path()),
            model,
            key,
        })
    }

    async fn ask_until_answered(&self, request: &Request) -> Result<String, AgentError> {
        let mut wait = Duration::from_secs(1);
        let mut tries = 1;
        loop {
            match self.ask(request).await {
                Ok(answer) => return Ok(answer),
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::Busy(_, error)) if tries == TRIES_MAX => return Err(error),
                Err(Miss::Busy(said, _)) => {
                    tokio::time::sleep(said.unwrap_or(wait)).await;
                    wait *= 2;
                    tries += 1;
                }
            }
        }
    }

    async fn ask(&self, request: &Request) -> Result<String, Miss> {
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let mut answer = Answer::new(self.protocol);
        let mut body = response.into_body();
        loop {
            let frame = tokio::time::timeout(SILENCE_MAX, body.frame()).await;
            let frame = frame.map_err(|_| Miss::Final(AgentError("it has stalled".to_owned())))?;
            let Some(frame) = frame else {
                return answer.finish().map_err(Miss::Final);
            };
            let frame = frame.map_err(|error| broken(&error))?;
            if let Some(bytes) = frame.data_ref() {
                answer.feed(bytes).map_err(Miss::Final)?;
            }
        }
    }

    async fn send(&self, request: &Request) -> Result<Response<Incoming>, Miss> {
        let trust = self.address.is_secure().then(|| Trust::load(None));
        let trust = trust
            .transpose()
            .map_err(|error| Miss::Final(AgentError(error.to_string())))?;
        let (host, port) = (self.address.host(), self.address.port());
        let wire = Wire::dial(host, port, trust.as_ref()).await;
        let wire = wire.map_err(|error| broken(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
            .await
            .map_err(|error| broken(&error))?;
        tokio::spawn(connection);
        let mut head = hyper::Request::builder()
            .method("POST")
            .uri(&self.path)
            .header(HOST, self.address.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream, application/json");
        for (name, value) in self.protocol.headers(self.key.as_deref()) {
            let unusable = |_| Miss::Final(AgentError("its key cannot be sent".to_owned()));
            let mut value = HeaderValue::from_str(&value).map_err(unusable)?;
            value.set_sensitive(true);
            head = head.header(HeaderName::from_static(name), value);
        }
        let body = self.protocol.body(&self.model, request).to_string();
        let whole = head
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Miss::Final(AgentError(error.to_string())))?;
        let response = tokio::time::timeout(SILENCE_MAX, sender.send_request(whole)).await;
        response
            .map_err(|_| Miss::Final(AgentError("it has stalled".to_owned())))?
            .map_err(|error| broken(&error))
    }

    async fn refused(&self, response: Response<Incoming>) -> Miss {
        let status = response.status();
        let said = response.headers().get(RETRY_AFTER);
        let said = said.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = http_body_util::Limited::new(response.into_body(), REFUSAL_MAX);
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let words = body.ok().and_then(|body| {
            let value = serde_json::from_slice(&body).ok()?;
            refusal(&value).err()
        });
        let words = words.map_or_else(String::new, |error| format!(": {error}"));
        let error = AgentError(format!("it answered {status}{words}"));
        // 529 is Anthropic's word for an endpoint that has too much to do.
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS)
            || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        if is_busy {
            Miss::Busy(said.map(Duration::from_secs), error)
        } else {
            Miss::Final(error)
        }
    }
}

fn broken(error: &dyn std::error::Error) -> Miss {
    Miss::Busy(None, AgentError(format!("it cannot be reached: {error}")))
}

impl Agent for Endpoint {
    fn propose(
        &self,
        request: &Request,
        time: Duration,
        cancel: &Cancel,
    ) -> Result<String, AgentError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| AgentError(format!("failed to start a runtime: {error}")))?;
        let cancelled = async {
            while !cancel.is_asked() {
                tokio::time::sleep(CANCEL_PACE).await;
            }
        };
        runtime.block_on(async {
            tokio::select! {
                answer = self.ask_until_answered(request) => answer,
                () = tokio::time::sleep(time) => Err(AgentError("it took too long".to_owned())),
                () = cancelled => Err(AgentError("it was not waited for".to_owned())),
            }
        })
    }
}
