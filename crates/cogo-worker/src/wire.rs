//! The bytes of a connection, in the clear or through TLS.
//!
//! A listening worker speaks no TLS; whoever dials does, a worker as well as a command-line client.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Time for a server to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A connection.
#[derive(Debug)]
pub enum Wire {
    /// In the clear.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Whom a TLS connection trusts. Cloning one is cheap.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

/// Certificates that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read certificates in `{path}`")]
pub struct BadCertificates {
    path: PathBuf,
    source: pem::Error,
}

impl Wire {
    /// Connects, and encrypts if it is told whom to trust. The host is a name, or an address as in
    /// a URL. Gives up after ten seconds.
    ///
    /// # Errors
    ///
    /// Fails if nobody answers, or if who answers is not trusted.
    pub async fn dial(host: &str, port: u16, trust: Option<&Trust>) -> io::Result<Self> {
        let host = host.trim_matches(['[', ']']);
        let dial = async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            let Some(Trust(config)) = trust else {
                return Ok(Self::Plain(stream));
            };
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name, stream).await?;
            Ok(Self::Tls(Box::new(stream)))
        };
        tokio::time::timeout(CONNECT_MAX, dial)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Trust {
    /// Trusts what the system trusts, and what is in a PEM file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or holds no certificates.
    pub fn load(extra: Option<&Path>) -> Result<Self, BadCertificates> {
        let mut roots = RootCertStore::empty();
        // A system without certificates is fine as long as the file has the right one.
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        if let Some(path) = extra {
            let bad = |source| BadCertificates {
                path: path.to_owned(),
                source,
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(bad)? {
                // What is no certificate that can be trusted opens nothing.
                let _ = roots.add(certificate.map_err(bad)?);
            }
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
