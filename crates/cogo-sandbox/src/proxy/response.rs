//! What goes back to the client: the server's answer, or one of the proxy's own.

use super::relay::{Filter, FilterError, Flow};
use super::request::{is_named_by_connection, push_header};
use super::stream::{HEAD_BYTES_MAX, head_end};

const HEADERS_MAX: usize = 128;

const NOT_FORWARDED: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "upgrade",
];

/// Tells a client that its tunnel stands.
pub(super) const TUNNEL_ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A fatal TLS alert, `access_denied`: all that can be said once a tunnel stands.
pub(super) const TLS_ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// An answer of the proxy itself. The message is one line of printable ASCII.
///
/// The message is the reason phrase too, since many clients show nothing else of an answer to
/// CONNECT.
pub(super) fn reply(status: u16, message: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} {message}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nProxy-Status: cogo\r\nConnection: close\r\n\r\n{message}\n",
        message.len() + 1
    )
    .into_bytes()
}

/// Passes a server's answer on, with a head that says that the connection ends with it.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// The head as far as it has come.
    head: Vec<u8>,
    head_is_complete: bool,
}

impl Filter for Response {
    fn pass(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Flow, FilterError> {
        if self.head_is_complete {
            output.extend_from_slice(input);
            return Ok(Flow::More);
        }
        let mut searched = self.head.len();
        self.head.extend_from_slice(input);
        while let Some(end) = head_end(&self.head, searched) {
            let interim = rewrite(&self.head[..end], output)?;
            self.head.drain(..end);
            searched = 0;
            if !interim {
                self.head_is_complete = true;
                output.append(&mut self.head);
                return Ok(Flow::More);
            }
        }
        if self.head.len() > HEAD_BYTES_MAX {
            return Err(FilterError("the server's answer has too long a head"));
        }
        Ok(Flow::More)
    }

    fn at_end(&mut self) -> Result<(), FilterError> {
        if self.head_is_complete {
            return Ok(());
        }
        Err(FilterError(
            "the server closed the connection without an answer",
        ))
    }
}

/// Appends the head as the client is to see it; tells whether another head follows.
fn rewrite(head: &[u8], output: &mut Vec<u8>) -> Result<bool, FilterError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let complete = matches!(response.parse(head), Ok(httparse::Status::Complete(_)));
    let (true, Some(code), Some(version)) = (complete, response.code, response.version) else {
        return Err(FilterError("the server's answer is not HTTP/1"));
    };
    // The request asked for no other protocol, so there is none to switch to.
    if code == 101 {
        return Err(FilterError(
            "the server switched to a protocol that was not asked for",
        ));
    }
    let reason = response.reason.unwrap_or_default();
    output.extend_from_slice(format!("HTTP/1.{version} {code} {reason}\r\n").as_bytes());
    for header in response.headers.iter() {
        let name = header.name;
        let own = NOT_FORWARDED
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other));
        let framing = ["content-length", "transfer-encoding"]
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other));
        if !own && (framing || !is_named_by_connection(response.headers, name)) {
            push_header(output, header);
        }
    }
    let interim = code < 200;
    output.extend_from_slice(if interim {
        b"\r\n"
    } else {
        b"Connection: close\r\n\r\n"
    });
    Ok(interim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(pieces: &[&[u8]]) -> Result<String, FilterError> {
        let mut response = Response::default();
        let mut output = Vec::new();
        for piece in pieces {
            response.pass(piece, &mut output)?;
        }
        response.at_end()?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn the_head_says_that_the_connection_ends() {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nKeep-Alive: 5\r\n\
            Connection: keep-alive, X-One, content-length\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody";
        let expected = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\
            Connection: close\r\n\r\nbody";
        assert_eq!(pass(&[answer]).unwrap(), expected);
        let bytes: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(pass(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(pass(&[b""]).is_err());
        assert!(pass(&[b"HTTP/1.1 200 OK\r\n"]).is_err());
        assert!(pass(&[b"SSH-2.0\r\n\r\n"]).is_err());
        assert!(pass(&[b"HTTP/1.1 101 Switching\r\n\r\n"]).is_err());
        assert!(pass(&[b"HTTP/1.1 200 OK\r\nA: ", &vec![b'a'; HEAD_BYTES_MAX]]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut output = Vec::new();
            let _ = Response::default().pass(&input, &mut output);
            let head = [b"HTTP/1.1 200 ", input.as_slice(), b"\r\n\r\n"].concat();
            let _ = Response::default().pass(&head, &mut output);
        }
    }
}
