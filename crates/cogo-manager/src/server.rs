//! Listens: accepts connections up to a bound, with TLS if there is a certificate, and hands
//! each to the router.

mod drained;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use drained::Drained;

/// Time for a client to send the head of a request, and for a TLS handshake.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts to accept when the process has no descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Time for open requests to end when the server stops.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
///
/// Fails when a file cannot be read or does not hold what it should.
pub fn tls_config(certificate: &Path, key: &Path) -> io::Result<Arc<ServerConfig>> {
    let invalid = |what: &Path, error: &dyn std::fmt::Display| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("failed to read `{}`: {error}", what.display()),
        )
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| invalid(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| invalid(key, &error))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| invalid(certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A listener with its bounds.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) router: Router,
    /// Connections open at once. More wait to be accepted.
    pub(crate) connections_max: usize,
}

impl Server {
    /// Serves until it is told to stop, then lets open requests end for a while.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.connections_max));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                place = Arc::clone(&places).acquire_owned() => {
                    let place = place.expect("the semaphore is never closed");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => break,
                        accepted = self.listener.accept() => accepted.map(|accepted| (accepted, place)),
                    }
                }
            };
            match accepted {
                Ok(((stream, peer), place)) => {
                    let serve = serve(
                        stream,
                        peer,
                        self.tls.clone(),
                        self.router.clone(),
                        stop.clone(),
                    );
                    connections.spawn(async move {
                        serve.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
        connections.close();
        if tokio::time::timeout(STOP_MAX, connections.wait())
            .await
            .is_err()
        {
            debug!("connections are still open at the end");
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: CancellationToken,
) {
    // Small messages must not wait for more.
    let _ = stream.set_nodelay(true);
    match tls {
        None => speak(stream, peer, router, stop).await,
        Some(config) => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(HEADER_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => speak(stream, peer, router, stop).await,
                Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => debug!(%peer, "TLS handshake took too long"),
            }
        }
    }
}

async fn speak<S>(stream: S, peer: SocketAddr, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = tower_service(router, peer);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%peer, %error, "connection ended early");
    }
}

/// The router, told who the peer is.
fn tower_service(
    router: Router,
    peer: SocketAddr,
) -> impl tower::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future = impl Send,
> + Clone {
    tower::ServiceExt::map_request(router, move |request: Request<Incoming>| {
        let mut request = request.map(|body| axum::body::Body::new(Drained::new(body)));
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    })
}
