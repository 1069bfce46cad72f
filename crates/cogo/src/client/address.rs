//! Where a server is.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::state;

/// Where `cogo serve` listens unless it is told otherwise.
pub(crate) const DEFAULT_PORT: u16 = 7171;

/// The address of a server: `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    secure: bool,
    host: String,
    port: u16,
}

/// A text that is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a server such as `http://127.0.0.1:7171`")]
pub(crate) struct InvalidAddress(String);

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(invalid()),
        };
        let authority: hyper::http::uri::Authority =
            rest.trim_end_matches('/').parse().map_err(|_| invalid())?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(invalid());
        }
        let standard = match (secure, scheme == "http" && text.contains("://")) {
            (true, _) => 443,
            (false, true) => 80,
            (false, false) => DEFAULT_PORT,
        };
        Ok(Self {
            secure,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(standard),
        })
    }
}

impl Address {
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port, as in a URL.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether it is on this host.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost")
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// The host without the brackets of IPv6.
    pub(crate) fn host(&self) -> &str {
        self.host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Tells commands of this state directory where its server is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerFile {
    url: String,
    /// The server's process.
    pid: u32,
}

impl ServerFile {
    const NAME: &str = "server.json";

    /// Writes the file for the server that this process is.
    pub(crate) fn write(state_dir: &Path, url: &str) -> io::Result<()> {
        let file = Self {
            url: url.to_owned(),
            pid: std::process::id(),
        };
        let path = state_dir.join(Self::NAME);
        let new = path.with_extension("json.new");
        std::fs::write(&new, serde_json::to_vec(&file)?)?;
        std::fs::rename(new, path)
    }

    /// Takes the file away.
    pub(crate) fn remove(state_dir: &Path) {
        // Nobody minds one that is left: its address does not answer.
        let _ = std::fs::remove_file(state_dir.join(Self::NAME));
    }

    /// Reads the file, if there is one.
    pub(crate) fn read(option: Option<&Path>) -> Result<Option<Self>, Failure> {
        let state = state::open(option)?;
        let path = state.path().join(Self::NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::caused(
                    format!("failed to read `{}`", path.display()),
                    &error,
                ));
            }
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Failure::caused(format!("`{}` cannot be read", path.display()), &error)
        })
    }

    /// Where its server is.
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        self.url
            .parse()
            .map_err(|error| Failure::caused("server.json names no server", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, told) in [
            ("http://127.0.0.1:7171", "http://127.0.0.1:7171"),
            ("https://build.test/", "https://build.test:443"),
            ("http://build.test", "http://build.test:80"),
            ("build.test", "http://build.test:7171"),
            ("[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), told);
        }
        for bad in [
            "",
            "ftp://x",
            "http://",
            "http://a b",
            "http://u:p@h",
            "http://h/path",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
