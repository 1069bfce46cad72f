//! A client of the worker's protocol, for workers and managers alike.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use cogo_protocol::frame::HEADER_LEN;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// How output is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Binary,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    Started,
    Output(Vec<u8>),
    /// With exit code 0.
    Ended(String),
    Other,
}

pub(super) struct Client(WebSocketStream<TcpStream>);

impl Client {
    pub(super) async fn connect(
        address: SocketAddr,
        path: &str,
        form: Form,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        if form == Form::Binary {
            let name = HeaderValue::from_static("cogo.v1.bin");
            request.headers_mut().insert("Sec-WebSocket-Protocol", name);
        }
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let config = Some(config);
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(request, stream, config).await?;
        Ok(Self(socket))
    }

    pub(super) async fn execute(
        &mut self,
        task_id: &str,
        command: &str,
        more: &Value,
    ) -> anyhow::Result<()> {
        let mut message = json!({
            "type": "execute_command",
            "taskId": task_id,
            "command": command,
            "timestamp": 0,
        });
        let fields = message.as_object_mut().context("it is an object")?;
        fields.extend(more.as_object().cloned().unwrap_or_default());
        self.0.send(Message::text(message.to_string())).await?;
        Ok(())
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Heard> {
        match self.0.next().await.context("the connection ended")?? {
            Message::Binary(frame) => Ok(Heard::Output(frame[HEADER_LEN..].to_vec())),
            Message::Text(text) => heard(&text),
            Message::Close(frame) => bail!("the connection was closed: {frame:?}"),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(Heard::Other),
        }
    }
}

fn heard(text: &str) -> anyhow::Result<Heard> {
    let message: Value = serde_json::from_str(text)?;
    let task_id = || message["taskId"].as_str().unwrap_or_default().to_owned();
    Ok(match message["type"].as_str() {
        Some("execution_started") => Heard::Started,
        Some("task_output") => Heard::Output(
            message["output"]
                .as_str()
                .unwrap_or_default()
                .as_bytes()
                .to_vec(),
        ),
        Some("task_complete") if message["exitCode"] == 0 => Heard::Ended(task_id()),
        Some("task_complete" | "task_error") => bail!("{text}"),
        Some(_) | None => Heard::Other,
    })
}

/// The answer to a request of the HTTP API, in JSON.
pub(super) fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &Value,
) -> anyhow::Result<Value> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let len = body.len();
    let request = format!(
        "{method} /api/sandbox{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok(serde_json::from_str(body)?)
}
