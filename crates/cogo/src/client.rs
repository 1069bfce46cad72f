//! Talks to a server: finds it, asks it over HTTP, and opens web sockets.
//!
//! One connection for each request: commands ask little and end soon.

mod address;

use std::path::PathBuf;

use clap::Args;
use cogo_worker::wire::Trust;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::failure::Failure;
use crate::state;

pub(crate) use address::{Address, ServerFile};
pub(crate) use cogo_worker::wire::Wire;

/// Before every path of the API.
const PREFIX: &str = "/api/sandbox";

/// Which server to use, and as whom.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct ServerOptions {
    /// The server, such as <https://build.example.org:7171> [default: `COGO_SERVER`, else the one
    /// that runs on this state directory]
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) server: Option<Address>,
    /// File with the token to bring [default: `COGO_TOKEN`]
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,
    /// Trust the certificates in this file besides those that the system trusts
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    ca_cert: Option<PathBuf>,
}

impl ServerOptions {
    /// Whether a server was named, here or in the environment.
    pub(crate) fn is_given(&self) -> bool {
        self.server.is_some() || state::variable("COGO_SERVER").is_some()
    }
}

/// A server, and the way to it.
#[derive(Clone)]
pub(crate) struct Client {
    address: Address,
    token: Option<String>,
    /// For a server that speaks TLS.
    trust: Option<Trust>,
}

impl Client {
    /// Finds the server that is meant.
    pub(crate) fn find(
        options: &ServerOptions,
        state_dir: Option<&std::path::Path>,
    ) -> Result<Self, Failure> {
        let address = match (&options.server, state::variable("COGO_SERVER")) {
            (Some(address), _) => address.clone(),
            (None, Some(text)) => text
                .to_string_lossy()
                .parse()
                .map_err(|error| Failure::caused("COGO_SERVER names no server", &error))?,
            (None, None) => ServerFile::read(state_dir)?
                .ok_or_else(|| {
                    Failure::new("there is no server on this state directory")
                        .hint("start one with `cogo serve`, or name one with --server")
                })?
                .address()?,
        };
        let trust = address
            .is_secure()
            .then(|| Trust::load(options.ca_cert.as_deref()))
            .transpose()?;
        Ok(Self {
            address,
            token: token(options)?,
            trust,
        })
    }

    /// A server that is known, without TLS, and the token for it.
    pub(crate) fn with_token(address: Address, token: &str) -> Self {
        Self {
            address,
            token: Some(token.to_owned()),
            trust: None,
        }
    }

    /// Where the server is.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let answer = self.send(method, path, body).await?;
        let bytes = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| Failure::caused("failed to read the server's answer", &error))?
            .to_bytes();
        // What answers without a body says nothing.
        let bytes = if bytes.is_empty() {
            Bytes::from_static(b"null")
        } else {
            bytes
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::caused("the server's answer cannot be read", &error)
                .hint("is it a cogo server of this version?")
        })
    }

    /// Sends a request; its answer is read by the caller.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, Failure> {
        let wire = self.dial().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
            .await
            .map_err(|error| self.unreachable(&error))?;
        tokio::spawn(connection);
        let body = body.map_or_else(Vec::new, |body| {
            serde_json::to_vec(body).expect("requests have string keys only")
        });
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{path}"))
            .header(HOST, self.address.authority())
            .header(ACCEPT, "application/json, application/octet-stream");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::caused(format!("`{path}` is no path"), &error))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refused(answer).await)
    }

    /// Opens a WebSocket with one of these subprotocols.
    pub(crate) async fn web_socket(
        &self,
        path: &str,
        subprotocol: &'static str,
    ) -> Result<WebSocketStream<Wire>, Failure> {
        let scheme = if self.address.is_secure() {
            "wss"
        } else {
            "ws"
        };
        let url = format!("{scheme}://{}{PREFIX}{path}", self.address.authority());
        let mut request = url
            .into_client_request()
            .map_err(|error| Failure::caused(format!("`{path}` is no path"), &error))?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static(subprotocol),
        );
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        }
        let wire = self.dial().await?;
        match client_async(request, wire).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err(problem(answer.status(), body))
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    async fn dial(&self) -> Result<Wire, Failure> {
        Wire::dial(
            self.address.host(),
            self.address.port(),
            self.trust.as_ref(),
        )
        .await
        .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, cause: &dyn std::error::Error) -> Failure {
        Failure::caused(
            format!("failed to reach the server at {}", self.address),
            cause,
        )
        .hint("is `cogo serve` running there?")
    }
}

fn token(options: &ServerOptions) -> Result<Option<String>, Failure> {
    let Some(path) = &options.token_file else {
        let variable = state::variable("COGO_TOKEN");
        return Ok(variable.map(|token| token.to_string_lossy().trim().to_owned()));
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::caused(
            format!("failed to read the token in `{}`", path.display()),
            &error,
        )
    })?;
    Ok(Some(text.trim().to_owned()))
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|error| Failure::caused("the token cannot be sent", &error))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn refused(answer: Response<Incoming>) -> Failure {
    let status = answer.status();
    match answer.into_body().collect().await {
        Ok(body) => problem(status, &body.to_bytes()),
        Err(error) => Failure::caused("failed to read the server's refusal", &error),
    }
}

/// What the server says about its refusal.
fn problem(status: StatusCode, body: &[u8]) -> Failure {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(detail) = problem["detail"].as_str() else {
        return Failure::new(format!("the server answered {status}"));
    };
    let failure = Failure::new(detail);
    match problem["hint"].as_str() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A name as one part of a path.
pub(crate) fn encoded(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Runs a conversation with a server to its end.
pub(crate) fn block_on<T>(
    conversation: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("failed to start a runtime", &error))?
        .block_on(conversation)
}
