//! Where local workers come in when the server itself speaks TLS.

use std::net::Ipv4Addr;
use std::path::Path;

use tokio::net::TcpListener;

use crate::failure::Failure;

/// The file with the port that was used the last time.
const FILE: &str = "workers.port";

/// Listens on this host alone. The port stays the same where it can, because workers outlive the
/// server that started them and come back to it.
pub(super) async fn bind(home: &Path) -> Result<TcpListener, Failure> {
    let file = home.join(FILE);
    let before = std::fs::read_to_string(&file).ok();
    let before = before.and_then(|text| text.trim().parse::<u16>().ok());
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, before.unwrap_or(0))).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|error| Failure::caused("failed to listen for local workers", &error))?,
    };
    let port = listener.local_addr()?.port();
    std::fs::write(&file, port.to_string()).map_err(|error| {
        Failure::caused(format!("failed to write `{}`", file.display()), &error)
    })?;
    Ok(listener)
}
