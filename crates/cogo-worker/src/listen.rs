//! The listening side: takes clients in, each on a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::{Instrument, debug, info_span, warn};

use crate::connection::{self, Direction, Shared};
use crate::handshake::{self, Gate};
use crate::wire::Wire;

/// Connections at once. More wait until one is over.
const CONNECTIONS_MAX: usize = 4096;
/// How long a client may take to say what it wants.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long to wait when the system has no room for one more connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Opens the port.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Takes clients in until the worker ends, then waits for their connections.
pub(crate) async fn run(listener: TcpListener, gate: Gate, mut shared: Shared) {
    let gate = Arc::new(gate);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let connected = shared.clone();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            Some(_) = connections.join_next() => continue,
            _ = shared.closing.wait_for(|closing| *closing) => break,
        };
        let (stream, peer, seat) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "failed to accept a connection");
                sleep(NO_ROOM).await;
                continue;
            }
        };
        let (gate, shared) = (Arc::clone(&gate), connected.clone());
        let serve = async move {
            serve(stream, &gate, shared).await;
            drop(seat);
        };
        connections.spawn(serve.instrument(info_span!("connection", %peer)));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let seat = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, seat))
}

async fn serve(mut stream: TcpStream, gate: &Gate, shared: Shared) {
    // Messages are small and someone waits for each.
    let _ = stream.set_nodelay(true);
    let opened = timeout(HANDSHAKE_MAX, handshake::open(&mut stream, gate)).await;
    let Ok(Some(opened)) = opened else {
        debug!("no handshake");
        return;
    };
    debug!(subprotocol = ?opened.subprotocol, "client connected");
    let config = connection::websocket_config(shared.message_max);
    let socket = WebSocketStream::from_partially_read(
        Wire::Plain(stream),
        opened.rest,
        Role::Server,
        Some(config),
    )
    .await;
    connection::serve(socket, opened.subprotocol, Direction::Accepted, shared).await;
}
