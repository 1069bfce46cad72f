//! The HTTP request with which a client opens a WebSocket: who it is, and what it wants.
//!
//! | answer | why |
//! |---|---|
//! | 101 | welcome |
//! | 400 | it is not HTTP, or the upgrade is malformed |
//! | 401 | a token is needed, and there is none or a wrong one |
//! | 403 | it comes from a web page of another site |
//! | 426 | it is no upgrade to WebSocket |

use cogo_protocol::message::{SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON, SUBPROTOCOL_TOKEN_PREFIX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config::Token;
use crate::connection::Subprotocol;

/// Longest request that is read.
const REQUEST_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Who may connect.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) token: Option<Token>,
    pub(crate) allowed_origins: Vec<String>,
}

/// An opened connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) subprotocol: Subprotocol,
    /// What the client sent already behind its request.
    pub(crate) rest: Vec<u8>,
}

/// A request that is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    headers: &'static str,
}

/// Reads a client's request and answers it. `None`: it was turned away, or left.
pub(crate) async fn open(stream: &mut TcpStream, gate: &Gate) -> Option<Opened> {
    let (request, rest) = read_request(stream).await?;
    let (answer, opened) = match gate.judge(&request) {
        Ok(accepted) => {
            let opened = Opened {
                subprotocol: accepted.subprotocol.unwrap_or(Subprotocol::Json),
                rest,
            };
            (accepted.answer(), Some(opened))
        }
        Err(denial) => {
            tracing::info!(
                status = denial.status,
                reason = denial.reason,
                "client turned away"
            );
            (denial.answer(), None)
        }
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    if opened.is_none() {
        let _ = stream.shutdown().await;
    }
    opened
}

/// Reads up to the end of the headers.
async fn read_request(stream: &mut TcpStream) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut request = Vec::with_capacity(1024);
    loop {
        if let Some(end) = find_end(&request) {
            let rest = request.split_off(end);
            return Some((request, rest));
        }
        if request.len() > REQUEST_MAX {
            let _ = stream.write_all(MALFORMED.answer().as_bytes()).await;
            return None;
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
}

fn find_end(request: &[u8]) -> Option<usize> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n");
    end.map(|at| at + 4)
}

const MALFORMED: Denial = Denial {
    status: "400 Bad Request",
    reason: "this is not a well-formed WebSocket upgrade",
    headers: "",
};
const NO_UPGRADE: Denial = Denial {
    status: "426 Upgrade Required",
    reason: "this is a cogo worker; connect to it with a WebSocket client",
    headers: "Upgrade: websocket\r\n",
};
const NO_TOKEN: Denial = Denial {
    status: "401 Unauthorized",
    reason: "a token is needed: bring it as `Authorization: Bearer TOKEN`, or as the subprotocol \
             `cogo.token.TOKEN` beside `cogo.v1.json`",
    headers: "WWW-Authenticate: Bearer\r\n",
};
const WRONG_TOKEN: Denial = Denial {
    status: "401 Unauthorized",
    reason: "the token is not the right one",
    headers: "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n",
};
const FOREIGN_ORIGIN: Denial = Denial {
    status: "403 Forbidden",
    reason: "web pages of other sites may not connect; allow one with --allow-origin",
    headers: "",
};
const TOKEN_ALONE: Denial = Denial {
    status: "400 Bad Request",
    reason: "offer the subprotocol `cogo.v1.json` or `cogo.v1.bin` beside the token",
    headers: "",
};

impl Denial {
    fn answer(self) -> String {
        let Self {
            status,
            reason,
            headers,
        } = self;
        format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{reason}\n",
            reason.len() + 1
        )
    }
}

/// A request that is let in.
#[derive(Debug, PartialEq, Eq)]
struct Accepted {
    key: String,
    /// `None` if the client offered none that we know.
    subprotocol: Option<Subprotocol>,
}

impl Accepted {
    fn answer(&self) -> String {
        let subprotocol = match self.subprotocol {
            Some(Subprotocol::Json) => SUBPROTOCOL_JSON,
            Some(Subprotocol::Binary) => SUBPROTOCOL_BINARY,
            None => "",
        };
        let protocol = if subprotocol.is_empty() {
            String::new()
        } else {
            format!("Sec-WebSocket-Protocol: {subprotocol}\r\n")
        };
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
            derive_accept_key(self.key.as_bytes())
        )
    }
}

impl Gate {
    fn judge(&self, request: &[u8]) -> Result<Accepted, Denial> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(request) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(MALFORMED),
        }
        let headers = Headers(parsed.headers);
        let is_upgrade = parsed.method == Some("GET")
            && headers.lists("connection", "upgrade")
            && headers.lists("upgrade", "websocket");
        if !is_upgrade {
            return Err(NO_UPGRADE);
        }
        self.judge_origin(&headers)?;
        let offered: Vec<&str> = headers.items("sec-websocket-protocol").collect();
        self.judge_token(&headers, &offered)?;
        let key = headers.one("sec-websocket-key").ok_or(MALFORMED)?;
        if headers.one("sec-websocket-version") != Some("13") {
            return Err(MALFORMED);
        }
        let subprotocol = offered.iter().find_map(|offer| match *offer {
            SUBPROTOCOL_JSON => Some(Subprotocol::Json),
            SUBPROTOCOL_BINARY => Some(Subprotocol::Binary),
            _ => None,
        });
        // The answer must choose one of what was offered, and a token must not come back.
        if subprotocol.is_none() && tokens(&offered).next().is_some() {
            return Err(TOKEN_ALONE);
        }
        Ok(Accepted {
            key: key.to_owned(),
            subprotocol,
        })
    }

    /// A browser tells which page connects. Programs say nothing, and are not asked.
    fn judge_origin(&self, headers: &Headers<'_>) -> Result<(), Denial> {
        match headers.one("origin") {
            None if headers.all("origin").next().is_none() => Ok(()),
            Some(origin) if self.allows(origin) => Ok(()),
            Some(_) | None => Err(FOREIGN_ORIGIN),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.allowed_origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
            || is_this_host(origin)
    }

    fn judge_token(&self, headers: &Headers<'_>, offered: &[&str]) -> Result<(), Denial> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let bearer = headers.one("authorization").and_then(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
        });
        let mut brought = bearer.into_iter().chain(tokens(offered)).peekable();
        if brought.peek().is_none() {
            return Err(NO_TOKEN);
        }
        if brought.any(|brought| token.matches(brought)) {
            Ok(())
        } else {
            Err(WRONG_TOKEN)
        }
    }
}

fn tokens<'a>(offered: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    offered
        .iter()
        .filter_map(|offer| offer.strip_prefix(SUBPROTOCOL_TOKEN_PREFIX))
}

/// Whether a page was served by this host to itself. The names are compared, not looked up: a
/// name that someone else owns may lead to this host too.
fn is_this_host(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    host.eq_ignore_ascii_case("localhost")
        || host == "[::1]"
        || host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The headers of a request.
struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    }

    /// The value of a header that is there once.
    fn one(&self, name: &'static str) -> Option<&'a str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// The parts of a header with a list.
    fn items(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(',').map(str::trim))
            .filter(|item| !item.is_empty())
    }

    fn lists(&self, name: &'static str, item: &str) -> bool {
        self.items(name)
            .any(|found| found.eq_ignore_ascii_case(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn judge(token: Option<&str>, headers: &[&str]) -> Result<Accepted, &'static str> {
        let gate = Gate {
            token: token.map(|token| Token::parse(token).unwrap()),
            allowed_origins: vec!["https://console.example".to_owned()],
        };
        let mut request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .to_owned();
        for header in headers {
            request += header;
            request += "\r\n";
        }
        request += "\r\n";
        gate.judge(request.as_bytes())
            .map_err(|denial| denial.status)
    }

    fn subprotocol(headers: &[&str]) -> Option<Subprotocol> {
        judge(None, headers).unwrap().subprotocol
    }

    #[test]
    fn an_upgrade_is_answered_as_the_standard_says() {
        let answer = judge(None, &["Sec-WebSocket-Protocol: cogo.v1.json"])
            .unwrap()
            .answer();
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(answer.contains("Sec-WebSocket-Protocol: cogo.v1.json\r\n"));
    }

    #[test]
    fn the_first_known_subprotocol_is_chosen() {
        assert_eq!(subprotocol(&[]), None);
        assert_eq!(subprotocol(&["Sec-WebSocket-Protocol: chat"]), None);
        assert_eq!(
            subprotocol(&["Sec-WebSocket-Protocol: chat, cogo.v1.bin, cogo.v1.json"]),
            Some(Subprotocol::Binary)
        );
    }

    #[test]
    fn a_token_opens_by_either_way_and_nothing_else_does() {
        let with = |headers: &[&str]| judge(Some(TOKEN), headers).map(drop);
        assert_eq!(with(&[&format!("Authorization: bearer {TOKEN}")]), Ok(()));
        assert_eq!(
            with(&[&format!(
                "Sec-WebSocket-Protocol: cogo.v1.json, cogo.token.{TOKEN}"
            )]),
            Ok(())
        );
        for denied in [
            &[][..],
            &["Authorization: Bearer"],
            &["Authorization: Bearer 0123456789abcdeX"],
            &["Authorization: Basic 0123456789abcdef"],
            &["Sec-WebSocket-Protocol: cogo.v1.json, cogo.token.x"],
        ] {
            assert_eq!(with(denied), Err("401 Unauthorized"), "{denied:?}");
        }
        assert_eq!(
            with(&[&format!("Sec-WebSocket-Protocol: cogo.token.{TOKEN}")]),
            Err("400 Bad Request")
        );
    }

    #[test]
    fn pages_of_other_sites_are_turned_away() {
        let from = |origin: &str| judge(None, &[&format!("Origin: {origin}")]).map(drop);
        for own in [
            "http://localhost",
            "http://LOCALHOST:3000",
            "https://127.0.0.1:7070",
            "http://[::1]:7070",
            "https://console.example",
        ] {
            assert_eq!(from(own), Ok(()), "{own}");
        }
        for foreign in [
            "null",
            "",
            "http://evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "https://console.example.evil",
            "http://10.0.0.1",
        ] {
            assert_eq!(from(foreign), Err("403 Forbidden"), "{foreign}");
        }
        let twice = ["Origin: http://localhost", "Origin: http://evil.example"];
        assert_eq!(judge(None, &twice).map(drop), Err("403 Forbidden"));
    }

    #[test]
    fn what_is_no_upgrade_is_told_so() {
        let gate = Gate {
            token: None,
            allowed_origins: Vec::new(),
        };
        let judge = |request: &str| gate.judge(request.as_bytes()).unwrap_err().status;
        assert_eq!(judge("GET / HTTP/1.1\r\n\r\n"), "426 Upgrade Required");
        assert_eq!(judge("\0\0\r\n\r\n"), "400 Bad Request");
        let without_key = "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(judge(without_key), "400 Bad Request");
    }
}
