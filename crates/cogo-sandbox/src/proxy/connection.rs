//! One client connection, from its request to its close.
//!
//! ```text
//! head ─▶ parse ─▶ allow-list ─▶ resolve, check, dial ─┬─▶ HTTP: head anew ─▶ relay
//!   │       │           │                  │           └─▶ CONNECT: 200 ─▶ TLS name ─▶ relay
//!   ▼       ▼           ▼                  ▼
//! close    400         403            403, 502, 504
//! ```

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::ProxyOptions;
use super::allow_list::{AllowList, Refusal};
use super::authority::{Authority, Host};
use super::body::RequestBody;
use super::client_hello::{self, HELLO_BYTES_MAX, Hello};
use super::dial::{DialError, dial};
use super::event::ProxyEvent;
use super::relay::{Everything, Relay, RelayError, Until};
use super::request::{self, Request};
use super::response::{Response, TLS_ACCESS_DENIED, TUNNEL_ESTABLISHED, reply};
use super::stream::{
    HEAD_BYTES_MAX, READ_BYTES, close_gently, head_end, read_before, reset_on_close, write_before,
};

/// Port on which a tunnel has to begin with a TLS handshake for its own host.
const TLS_PORT: u16 = 443;

/// A client's connection and what it is served by.
pub(super) struct Connection<'p> {
    pub(super) client: &'p TcpStream,
    pub(super) allow: &'p AllowList,
    pub(super) options: &'p ProxyOptions<'p>,
}

/// What is left to do with the client.
enum Close {
    /// It has all it is to get.
    Gently,
    /// It must not take what it has for the whole.
    Reset,
}

impl Connection<'_> {
    /// Serves the one request of this connection.
    pub(super) fn serve(&self) {
        let prepared = self
            .client
            .set_nonblocking(true)
            .and_then(|()| self.client.set_nodelay(true));
        if prepared.is_err() {
            return; // the client is gone already
        }
        match self.serve_request() {
            Close::Gently => close_gently(self.client),
            Close::Reset => reset_on_close(self.client),
        }
    }

    fn serve_request(&self) -> Close {
        let (head, rest) = match self.read_head() {
            Ok(parts) => parts,
            Err(HeadError::Closed) => return Close::Gently,
            Err(HeadError::Bad(status, reason)) => return self.refuse_request(status, reason),
        };
        let request = match request::parse(&head) {
            Ok(request) => request,
            Err(error) => return self.refuse_request(error.status(), &error.to_string()),
        };
        drop(head);
        match request {
            Request::Tunnel(authority) => self.tunnel(&authority, rest),
            Request::Forward {
                authority,
                head,
                body,
            } => self.forward(&authority, &head, body, &rest),
        }
    }

    /// Reads up to the empty line; returns the head and what came after it.
    fn read_head(&self) -> Result<(Vec<u8>, Vec<u8>), HeadError> {
        let deadline = Instant::now() + self.options.head_timeout;
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = match read_before(self.client, &mut buffer, deadline) {
                Ok(0) if head.is_empty() => return Err(HeadError::Closed),
                Ok(0) => return Err(HeadError::Bad(400, "the request ends within its head")),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(HeadError::Bad(408, "the request's head took too long"));
                }
                Err(_) => return Err(HeadError::Closed),
                Ok(count) => count,
            };
            let searched = head.len();
            head.extend_from_slice(&buffer[..count]);
            // TLS sent to the proxy itself has no empty line to wait for.
            if !head[0].is_ascii_graphic() {
                return Err(HeadError::Bad(400, "the request is not HTTP"));
            }
            let end = head_end(&head, searched);
            if end.unwrap_or(head.len()) > HEAD_BYTES_MAX {
                return Err(HeadError::Bad(431, "the request's head is too long"));
            }
            if let Some(end) = end {
                let rest = head.split_off(end);
                return Ok((head, rest));
            }
        }
    }

    fn forward(&self, to: &Authority, head: &[u8], body: RequestBody, rest: &[u8]) -> Close {
        let server = match self.dial(to) {
            Ok(server) => server,
            Err(close) => return close,
        };
        let mut relay = Relay::new(
            self.client,
            &server,
            body,
            Response::default(),
            Until::ServerEnds,
        );
        relay.send_first(head);
        let result = relay
            .take_client_bytes(rest)
            .and_then(|()| relay.run(self.options.idle_timeout));
        let (bytes_sent, bytes_received) = (relay.sent(), relay.received());
        let Err(error) = result else {
            self.tell(ProxyEvent::Allowed {
                to: to.clone(),
                bytes_sent,
                bytes_received,
            });
            return Close::Gently;
        };
        // The server must not take a part of the request for the whole of it.
        reset_on_close(&server);
        let (status, reason) = describe(&error);
        self.tell(ProxyEvent::Failed {
            to: to.clone(),
            reason: reason.clone(),
        });
        if bytes_received == 0 {
            return self.answer(
                status,
                &format!("cogo: request to \"{to}\" failed: {reason}"),
            );
        }
        Close::Reset
    }

    fn tunnel(&self, to: &Authority, mut early: Vec<u8>) -> Close {
        let server = match self.dial(to) {
            Ok(server) => server,
            Err(close) => return close,
        };
        let deadline = Instant::now() + self.options.head_timeout;
        if write_before(self.client, TUNNEL_ESTABLISHED, deadline).is_err() {
            let reason = "the client left before its tunnel stood".to_owned();
            self.tell(ProxyEvent::Failed {
                to: to.clone(),
                reason,
            });
            return Close::Reset;
        }
        if let Err(reason) = self.check_tls_name(to, &mut early) {
            self.tell(ProxyEvent::Refused {
                to: to.clone(),
                reason,
            });
            let deadline = Instant::now() + self.options.head_timeout;
            // The client's answer is already given; the alert is what it can still understand.
            let _ = write_before(self.client, &TLS_ACCESS_DENIED, deadline);
            return Close::Gently;
        }
        let mut relay = Relay::new(self.client, &server, Everything, Everything, Until::BothEnd);
        relay.send_first(&early);
        drop(early);
        let result = relay.run(self.options.idle_timeout);
        let (bytes_sent, bytes_received) = (relay.sent(), relay.received());
        match result {
            Ok(()) => {
                self.tell(ProxyEvent::Allowed {
                    to: to.clone(),
                    bytes_sent,
                    bytes_received,
                });
                Close::Gently
            }
            Err(error) => {
                // A tunnel breaks as the connection that it stands for would.
                reset_on_close(&server);
                let (_, reason) = describe(&error);
                self.tell(ProxyEvent::Failed {
                    to: to.clone(),
                    reason,
                });
                Close::Reset
            }
        }
    }

    /// Reads the client's TLS handshake into `early` and compares the server it names with the
    /// one that was allowed. Only tunnels to a name on the TLS port are looked into.
    fn check_tls_name(&self, to: &Authority, early: &mut Vec<u8>) -> Result<(), Refusal> {
        if to.port != TLS_PORT || matches!(to.host, Host::Address(_)) {
            return Ok(());
        }
        let deadline = Instant::now() + self.options.head_timeout;
        let found = loop {
            match client_hello::parse(early) {
                Ok(Hello::Complete(name)) => break name.ok_or(Refusal::TlsNameMissing)?,
                Ok(Hello::Incomplete) => {}
                Err(error) => return Err(Refusal::NotTls { detail: error.0 }),
            }
            let mut buffer = [0; 4096];
            let room = buffer.len().min(HELLO_BYTES_MAX - early.len());
            match read_before(self.client, &mut buffer[..room], deadline) {
                Ok(0) => {
                    return Err(Refusal::NotTls {
                        detail: "it ends too early",
                    });
                }
                Ok(count) => early.extend_from_slice(&buffer[..count]),
                Err(_) => {
                    return Err(Refusal::NotTls {
                        detail: "it took too long",
                    });
                }
            }
        };
        if Host::parse(&found).as_ref() == Ok(&to.host) {
            return Ok(());
        }
        Err(Refusal::TlsNameDiffers { found })
    }

    fn dial(&self, to: &Authority) -> Result<TcpStream, Close> {
        let timeout = self.options.connect_timeout;
        let error = match dial(to, self.allow, self.options.resolver, timeout) {
            Ok(server) => match server
                .set_nonblocking(true)
                .and_then(|()| server.set_nodelay(true))
            {
                Ok(()) => return Ok(server),
                Err(error) => DialError::Connect(error),
            },
            Err(error) => error,
        };
        Err(match error {
            DialError::Refused(reason) => {
                let message = reason.message(to);
                self.tell(ProxyEvent::Refused {
                    to: to.clone(),
                    reason,
                });
                self.answer(403, &message)
            }
            DialError::Resolve(error) => {
                self.fail_dial(to, 502, &format!("its name could not be resolved: {error}"))
            }
            DialError::Connect(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.fail_dial(to, 504, "it did not answer in time")
            }
            DialError::Connect(error) => {
                self.fail_dial(to, 502, &format!("it could not be reached: {error}"))
            }
        })
    }

    fn fail_dial(&self, to: &Authority, status: u16, reason: &str) -> Close {
        self.tell(ProxyEvent::Failed {
            to: to.clone(),
            reason: printable(reason),
        });
        self.answer(status, &format!("cogo: \"{to}\" is allowed, but {reason}"))
    }

    fn refuse_request(&self, status: u16, reason: &str) -> Close {
        let reason = printable(reason);
        let close = self.answer(status, &format!("cogo: {reason}"));
        self.tell(ProxyEvent::Malformed { reason });
        close
    }

    fn answer(&self, status: u16, message: &str) -> Close {
        let deadline = Instant::now() + self.options.head_timeout;
        match write_before(self.client, &reply(status, &printable(message)), deadline) {
            Ok(()) => Close::Gently,
            Err(_) => Close::Reset,
        }
    }

    fn tell(&self, event: ProxyEvent) {
        self.options.observer.on_event(event);
    }
}

/// Why there is no head.
enum HeadError {
    /// The client left without a word.
    Closed,
    /// It is answered with this status and reason.
    Bad(u16, &'static str),
}

/// Status code and reason of a relay's failure.
fn describe(error: &RelayError) -> (u16, String) {
    match error {
        RelayError::Client(error) => (400, printable(&format!("the client left: {error}"))),
        RelayError::ClientBytes(error) => (400, error.0.to_owned()),
        RelayError::Server(error) => (502, printable(&format!("the server left: {error}"))),
        RelayError::ServerBytes(error) => (502, error.0.to_owned()),
        RelayError::Idle => (504, "nothing was sent for too long".to_owned()),
    }
}

/// Keeps a text on one line and in ASCII, since it becomes part of a head.
fn printable(text: &str) -> String {
    let keep = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    text.chars().map(keep).collect()
}

// The buffer of a read is on the stack, which is small.
const _: () = assert!(READ_BYTES <= super::STACK_BYTES / 4);
