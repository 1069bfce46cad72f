//! What a worker is told at its start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cogo_protocol::exec::Isolation;
use cogo_protocol::worker::WorkerId;

use crate::block::BlockSettings;
use crate::wire::Trust;

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Where it keeps its id, its tasks and their output. One worker at a time uses it.
    pub state_dir: PathBuf,
    /// Where imported root file systems are.
    pub rootfs_dir: PathBuf,
    /// Its name. Default: made once and kept in the state directory.
    pub id: Option<WorkerId>,
    /// Its type, such as `basic`.
    pub kind: String,
    /// Labels that a task's requirements are matched with.
    pub labels: BTreeMap<String, String>,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Sandboxes of the default design kept ready.
    pub warm: usize,
    /// The tiers of isolation that the host can enforce.
    pub isolation: Vec<Isolation>,
    /// Where it listens, if it does.
    pub listen: Option<SocketAddr>,
    /// Managers to dial, tried in order until one takes it in. It has one at a time.
    pub join: Vec<ManagerUrl>,
    /// Whom it trusts of those managers that speak TLS. Without it they are not dialed.
    pub trust: Option<Trust>,
    /// What a client must bring, and what is brought to a manager.
    pub token: Option<Token>,
    /// Origins of web pages that may connect, beside those of this host.
    pub allowed_origins: Vec<String>,
    /// Time between heartbeats, until a manager says otherwise.
    pub heartbeat: Duration,
    /// Longest message that is taken, in bytes.
    pub message_max: usize,
    /// What is done about hanging tasks where a task does not say.
    pub block: BlockSettings,
    /// Which ended tasks are kept for replay.
    pub retention: Retention,
    /// What happens to running tasks when the worker is asked to end.
    pub at_end: AtEnd,
    /// What the command's environment is made of.
    pub host: HostEnvironment,
}

/// Which ended tasks are kept. What a manager acknowledged is forgotten at once.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// The newest so many.
    pub count: usize,
    /// Those that ended less than this ago.
    pub age: Duration,
}

/// What happens to running tasks when the worker is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// They may finish for this long; what is left is stopped with its grace period.
    Drain(Duration),
    /// They go on, for a worker that is started on the same state directory.
    Handover,
}

/// The parts of the worker's own environment that commands get.
#[derive(Clone, Debug)]
pub struct HostEnvironment {
    /// The home directory, which is hidden inside.
    pub home: PathBuf,
    /// All variables; only harmless ones are passed on.
    pub variables: Vec<(String, String)>,
}

/// A secret that opens a connection. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes the content of a token file: its first line.
    ///
    /// # Errors
    ///
    /// Fails on a token that is too short or cannot be sent in a header.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < TOKEN_LEN_MIN {
            return Err(InvalidToken::TooShort(token.len()));
        }
        // It has to fit a subprotocol's name too (RFC 7230, token).
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if !token.chars().all(allowed) {
            return Err(InvalidToken::Character);
        }
        Ok(Self(token.to_owned()))
    }

    /// The secret itself.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// Whether this is what was brought. The time it takes does not tell where they differ.
    pub(crate) fn matches(&self, brought: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), brought.as_bytes());
        let differing = ours
            .iter()
            .zip(theirs.iter().chain(std::iter::repeat(&0)))
            .fold(0, |differing, (a, b)| differing | (a ^ b));
        std::hint::black_box(differing) == 0 && ours.len() == theirs.len()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Shorter tokens can be guessed.
const TOKEN_LEN_MIN: usize = 16;

/// A text that cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It can be guessed.
    #[error("a token has at least {TOKEN_LEN_MIN} characters, this one has {0}")]
    TooShort(usize),
    /// It cannot be sent.
    #[error("a token consists of ASCII letters, digits and -._~!#$%&'*+^`|")]
    Character,
}

/// Where a manager takes workers in: `ws://host:port/path`, or `wss://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerUrl {
    /// Whether it speaks TLS.
    secure: bool,
    /// As in the URL: an IPv6 address is in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path, starting with a slash.
    pub(crate) path: String,
}

/// The path at which a manager takes workers in, where the URL has none.
pub const CONNECT_PATH: &str = "/api/sandbox/workers/connect";

/// A text that is not a manager's URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is neither `ws://` nor `wss://`.
    #[error("`{0}` does not start with `ws://` or `wss://`")]
    Scheme(String),
    /// It has no host.
    #[error("`{0}` names no host")]
    NoHost(String),
    /// It carries what must not be in a URL. The URL is not repeated here.
    #[error("a manager's URL carries no user, query or fragment; bring a token with --token-file")]
    Secret,
}

impl std::str::FromStr for ManagerUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.contains(['@', '?', '#']) {
            return Err(InvalidUrl::Secret);
        }
        let (secure, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (false, rest),
            Some(("wss", rest)) => (true, rest),
            Some(_) | None => return Err(InvalidUrl::Scheme(text.to_owned())),
        };
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(InvalidUrl::NoHost(text.to_owned()));
        }
        let standard = if secure { 443 } else { 80 };
        let (host, port) = host
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .unwrap_or((host, standard));
        Ok(Self {
            secure,
            host: host.to_owned(),
            port,
            path: if path.len() > 1 { path } else { CONNECT_PATH }.to_owned(),
        })
    }
}

impl ManagerUrl {
    /// Whether it speaks TLS.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }
}

impl std::fmt::Display for ManagerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_checked_and_compared_whole() {
        let token = Token::parse("0123456789abcdef\n").unwrap();
        assert!(token.matches("0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdeF",
            "0123456789abcdef0",
        ] {
            assert!(!token.matches(other), "{other}");
        }
        assert_eq!(Token::parse("short"), Err(InvalidToken::TooShort(5)));
        assert_eq!(
            Token::parse("0123456789 abcdef"),
            Err(InvalidToken::Character)
        );
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_managers_url_has_defaults_and_no_secrets() {
        let read = |text: &str| text.parse::<ManagerUrl>();
        assert_eq!(
            read("ws://h:7").unwrap().to_string(),
            "ws://h:7/api/sandbox/workers/connect"
        );
        assert_eq!(read("ws://h/x").unwrap().to_string(), "ws://h:80/x");
        assert_eq!(read("ws://[::1]/x").unwrap().to_string(), "ws://[::1]:80/x");
        assert_eq!(read("wss://h/x").unwrap().to_string(), "wss://h:443/x");
        assert!(matches!(read("http://h"), Err(InvalidUrl::Scheme(_))));
        assert!(matches!(read("h:7"), Err(InvalidUrl::Scheme(_))));
        assert!(matches!(read("ws://"), Err(InvalidUrl::NoHost(_))));
        for secret in ["ws://u:p@h", "ws://h/?token=x", "ws://h/#x"] {
            assert_eq!(read(secret), Err(InvalidUrl::Secret));
        }
    }
}
