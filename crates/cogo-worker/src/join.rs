//! The dialing side: keeps one connection to a manager open, whichever takes the worker in.
//!
//! Managers are tried in order, with a pause between attempts that doubles up to a bound. Each
//! pause is drawn at random from its upper half, so that the workers of a manager that restarts
//! do not all come back at once.

use std::time::Duration;

use cogo_protocol::message::SUBPROTOCOL_BINARY;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, header};
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite};
use tracing::{Instrument, info, info_span, warn};

use crate::config::{ManagerUrl, Token};
use crate::connection::{self, Direction, Parting, Shared, Subprotocol};
use crate::refusal::chain;
use crate::wire::{Trust, Wire};

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(30);
/// How long a manager may take to answer.
const DIAL_MAX: Duration = Duration::from_secs(10);

/// Why a manager did not take the worker in.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("no answer within {} s", DIAL_MAX.as_secs())]
    TooSlow,
    #[error("nothing says whom to trust")]
    NoTrust,
    #[error("failed to connect")]
    Connect(#[source] std::io::Error),
    #[error("the manager answered {status}")]
    Denied { status: u16, said: String },
    #[error("the handshake failed")]
    Handshake(#[source] Box<tungstenite::Error>),
}

/// Keeps a connection until the worker ends.
pub(crate) async fn run(
    managers: Vec<ManagerUrl>,
    token: Option<Token>,
    trust: Option<Trust>,
    shared: Shared,
) {
    let mut closing = shared.closing.clone();
    let mut pause = PAUSE_MIN;
    for manager in managers.iter().cycle() {
        let started_at = Instant::now();
        let span = info_span!("manager", url = %manager);
        let parting = visit(manager, token.as_ref(), trust.as_ref(), shared.clone())
            .instrument(span)
            .await;
        if parting == Some(Parting::Closing) || *closing.borrow() {
            return;
        }
        if started_at.elapsed() >= GOOD {
            pause = PAUSE_MIN;
        }
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn visit(
    manager: &ManagerUrl,
    token: Option<&Token>,
    trust: Option<&Trust>,
    shared: Shared,
) -> Option<Parting> {
    let mut closing = shared.closing.clone();
    let dialed = tokio::select! {
        dialed = dial(manager, token, trust, shared.message_max) => dialed,
        _ = closing.wait_for(|closing| *closing) => return Some(Parting::Closing),
    };
    match dialed {
        Ok((socket, subprotocol)) => {
            info!("connected to the manager");
            let parting = connection::serve(socket, subprotocol, Direction::Dialed, shared).await;
            info!(?parting, "connection to the manager is over");
            Some(parting)
        }
        Err(error) => {
            tell(&error);
            None
        }
    }
}

async fn dial(
    manager: &ManagerUrl,
    token: Option<&Token>,
    trust: Option<&Trust>,
    message_max: usize,
) -> Result<(WebSocketStream<Wire>, Subprotocol), DialError> {
    let connect = async {
        let trust = match (manager.is_secure(), trust) {
            (false, _) => None,
            (true, Some(trust)) => Some(trust),
            (true, None) => return Err(DialError::NoTrust),
        };
        let stream = Wire::dial(&manager.host, manager.port, trust)
            .await
            .map_err(DialError::Connect)?;
        let request = request(manager, token).map_err(handshake_error)?;
        let config = connection::websocket_config(message_max);
        let (socket, response) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(handshake_error)?;
        let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        let binary =
            chosen.is_some_and(|chosen| chosen.as_bytes() == SUBPROTOCOL_BINARY.as_bytes());
        let subprotocol = if binary {
            Subprotocol::Binary
        } else {
            Subprotocol::Json
        };
        Ok((socket, subprotocol))
    };
    timeout(DIAL_MAX, connect)
        .await
        .unwrap_or(Err(DialError::TooSlow))
}

fn request(manager: &ManagerUrl, token: Option<&Token>) -> tungstenite::Result<Request<()>> {
    let mut request = manager.to_string().into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL_BINARY),
    );
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret()))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

fn handshake_error(error: tungstenite::Error) -> DialError {
    match error {
        tungstenite::Error::Http(response) => DialError::Denied {
            status: response.status().as_u16(),
            said: response
                .body()
                .as_deref()
                .map(|body| String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned())
                .unwrap_or_default(),
        },
        other => DialError::Handshake(Box::new(other)),
    }
}

fn tell(error: &DialError) {
    let hint = match error {
        DialError::Denied {
            status: 401 | 403, ..
        } => "bring the manager's token with --token-file",
        DialError::Denied { status: 404, .. } => "check the path of the URL given with --join",
        DialError::Denied { .. }
        | DialError::TooSlow
        | DialError::NoTrust
        | DialError::Connect(_) => {
            "check the URL given with --join, and --ca-cert for wss://; trying again"
        }
        DialError::Handshake(_) => "is it a manager that answers there?",
    };
    let said = match error {
        DialError::Denied { said, .. } => said.trim(),
        DialError::TooSlow
        | DialError::NoTrust
        | DialError::Connect(_)
        | DialError::Handshake(_) => "",
    };
    warn!(
        error = chain(error),
        said, hint, "failed to join the manager"
    );
}

/// A time between half of it and all of it.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the pause is merely regular.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let share = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_vary_within_their_upper_half() {
        let pause = Duration::from_secs(8);
        let drawn: Vec<Duration> = (0..50).map(|_| jittered(pause)).collect();
        assert!(
            drawn
                .iter()
                .all(|drawn| (pause / 2..=pause).contains(drawn))
        );
        assert!(drawn.iter().any(|other| *other != drawn[0]));
    }

    #[test]
    fn the_token_travels_in_a_header_only() {
        let token = Token::parse("0123456789abcdef").unwrap();
        let url: ManagerUrl = "ws://127.0.0.1:7/x".parse().unwrap();
        let request = request(&url, Some(&token)).unwrap();
        assert_eq!(request.uri().to_string(), "ws://127.0.0.1:7/x");
        assert_eq!(
            request.headers()[header::AUTHORIZATION],
            "Bearer 0123456789abcdef"
        );
        assert_eq!(
            request.headers()[header::SEC_WEBSOCKET_PROTOCOL],
            SUBPROTOCOL_BINARY
        );
    }
}
