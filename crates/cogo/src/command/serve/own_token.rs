//! What local workers join with, and jobs of the manager submit their tasks with: a token that never
//! leaves this host.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cogo_manager::{Token, hash};
use cogo_store::{Scope, TokenRecord};

use crate::client::Client;
use crate::failure::Failure;

/// The token, in a file that only this user reads. It stays across restarts, so that workers
/// that outlived a manager can come back to the next one.
pub(super) struct OwnToken {
    path: PathBuf,
    sha256: [u8; 32],
}

impl OwnToken {
    /// Reads it, or makes it.
    pub(super) fn load(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join("join-token");
        let failed = |error: &std::io::Error| {
            Failure::caused(format!("failed to make `{}`", path.display()), error)
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => text,
            Ok(_) | Err(_) => make(&path).map_err(|error| failed(&error))?,
        };
        Ok(Self {
            sha256: hash(text.trim()),
            path,
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The way to the manager, for its own jobs.
    pub(super) fn client(&self, address: SocketAddr) -> Result<Client, Failure> {
        let text = std::fs::read_to_string(&self.path)?;
        Ok(Client::with_token(
            format!("http://{address}").parse()?,
            text.trim(),
        ))
    }

    /// What the manager knows it by.
    pub(super) fn record(&self) -> TokenRecord {
        TokenRecord {
            name: "local workers".to_owned(),
            sha256: self.sha256,
            scopes: vec![Scope::WorkerJoin, Scope::Submit, Scope::Read],
            created_at_ms: 0,
            expires_at_ms: None,
        }
    }
}

fn make(path: &Path) -> std::io::Result<String> {
    let token = Token::generate()?;
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{}", token.reveal())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(token.reveal().to_owned())
}
