//! The head of a client's request: checked, and written anew for the server.
//!
//! Nothing the client wrote is passed on as it came. The request line, `Host` and the length of
//! the body are rebuilt from what was understood and checked, so that no two readers can take the
//! request differently. A `Host` that differs from the target is refused rather than replaced:
//! no honest client sends it through a proxy, and silence would hide the attempt.

use super::authority::{Authority, AuthorityError};
use super::body::RequestBody;

const HEADERS_MAX: usize = 128;

/// Headers that belong to one connection, and those that are rebuilt.
const NOT_FORWARDED: [&str; 13] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// A byte tunnel to a server.
    Tunnel(Authority),
    /// One request to an HTTP server.
    Forward {
        /// The server.
        authority: Authority,
        /// The head to send to it.
        head: Vec<u8>,
        /// What follows the head.
        body: RequestBody,
    },
}

/// Why a request is not understood or not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error("the request is not well-formed HTTP/1: {0}")]
    Syntax(String),
    #[error("the request has too many headers")]
    TooManyHeaders,
    #[error("the request's target {0}")]
    Authority(#[from] AuthorityError),
    #[error("the request names no server; it was sent to a proxy as if to a server")]
    NotForProxy,
    #[error("the request's scheme is not `http`; other schemes need a tunnel (CONNECT)")]
    Scheme,
    #[error("the request's `Host` header is not that of its target")]
    HostDiffers,
    #[error("the length of the request's body is not clear: {0}")]
    Length(&'static str),
}

impl RequestError {
    /// The status code of the answer.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::TooManyHeaders => 431,
            Self::Syntax(_)
            | Self::Authority(_)
            | Self::NotForProxy
            | Self::Scheme
            | Self::HostDiffers
            | Self::Length(_) => 400,
        }
    }
}

/// Reads a complete head, up to and with its empty line.
pub(super) fn parse(head: &[u8]) -> Result<Request, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(RequestError::Syntax("misplaced empty line".to_owned())),
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooManyHeaders),
        Err(error) => return Err(RequestError::Syntax(error.to_string())),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(RequestError::Syntax("incomplete request line".to_owned()));
    };
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RequestError::Authority(AuthorityError::NotAscii));
    }
    if method == "CONNECT" {
        return tunnel(target, request.headers);
    }
    let (authority, path) = split_target(method, target)?;
    check_host(&authority, request.headers, HostPort::Required)?;
    let body = body_framing(version, request.headers)?;
    let head = rewrite(method, &path, version, &authority, request.headers, &body);
    Ok(Request::Forward {
        authority,
        head,
        body,
    })
}

fn tunnel(target: &str, headers: &[httparse::Header<'_>]) -> Result<Request, RequestError> {
    let authority = Authority::parse(target, None)?;
    check_host(&authority, headers, HostPort::Optional)?;
    Ok(Request::Tunnel(authority))
}

/// Splits `http://host:port/path?query` into its server and its path.
fn split_target(method: &str, target: &str) -> Result<(Authority, String), RequestError> {
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err(RequestError::NotForProxy);
    };
    if scheme.contains(['/', '?', '*']) {
        return Err(RequestError::NotForProxy);
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(RequestError::Scheme);
    }
    if rest.contains('#') {
        return Err(RequestError::Syntax("fragment in the target".to_owned()));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = match path.as_bytes().first() {
        None if method == "OPTIONS" => "*".to_owned(),
        None => "/".to_owned(),
        Some(b'?') => format!("/{path}"),
        Some(_) => path.to_owned(),
    };
    Ok((Authority::parse(authority, Some(80))?, path))
}

/// Whether a `Host` header without a port means port 80, or the port of the target.
#[derive(Clone, Copy)]
enum HostPort {
    Required,
    /// Clients write CONNECT's `Host` with and without the port.
    Optional,
}

fn check_host(
    authority: &Authority,
    headers: &[httparse::Header<'_>],
    port: HostPort,
) -> Result<(), RequestError> {
    let default_port = match port {
        HostPort::Required => 80,
        HostPort::Optional => authority.port,
    };
    for value in values(headers, "host") {
        let host = std::str::from_utf8(value).map_err(|_| RequestError::HostDiffers)?;
        let host = Authority::parse(host, Some(default_port));
        if host.as_ref() != Ok(authority) {
            return Err(RequestError::HostDiffers);
        }
    }
    if values(headers, "host").count() > 1 {
        return Err(RequestError::HostDiffers);
    }
    Ok(())
}

/// Decides where the body ends. Whatever two readers could see differently is refused.
fn body_framing(
    version: u8,
    headers: &[httparse::Header<'_>],
) -> Result<RequestBody, RequestError> {
    let mut encodings = values(headers, "transfer-encoding");
    let mut lengths = values(headers, "content-length");
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(RequestBody::of_length(0)),
        (Some(_), Some(_)) => Err(RequestError::Length("it is given twice")),
        (None, Some(length)) => {
            if lengths.next().is_some() {
                return Err(RequestError::Length("it is given twice"));
            }
            parse_length(length).map(RequestBody::of_length)
        }
        (Some(encoding), None) => {
            if version == 0 || encodings.next().is_some() {
                return Err(RequestError::Length("its transfer encoding is misplaced"));
            }
            if !encoding.eq_ignore_ascii_case(b"chunked") {
                return Err(RequestError::Length(
                    "its transfer encoding is not `chunked`",
                ));
            }
            Ok(RequestBody::chunked())
        }
    }
}

fn parse_length(value: &[u8]) -> Result<u64, RequestError> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits);
    number
        .and_then(|number| number.parse().ok())
        .ok_or(RequestError::Length("`Content-Length` is not a number"))
}

fn rewrite(
    method: &str,
    path: &str,
    version: u8,
    authority: &Authority,
    headers: &[httparse::Header<'_>],
    body: &RequestBody,
) -> Vec<u8> {
    let host = match authority.port {
        80 => authority.host.to_string(),
        _ => authority.to_string(),
    };
    // The client's version is kept: a client of 1.0 could not read a chunked answer.
    let mut head = format!("{method} {path} HTTP/1.{version}\r\nHost: {host}\r\n").into_bytes();
    push_forwarded(&mut head, headers);
    if let Some(length) = body.declared_length(values(headers, "content-length").count() > 0) {
        head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    } else if body.is_chunked() {
        head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    // One request per connection: the next one is checked like the first.
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    head
}

fn push_forwarded(head: &mut Vec<u8>, headers: &[httparse::Header<'_>]) {
    for header in headers {
        let name = header.name;
        let rebuilt = NOT_FORWARDED
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other));
        if !rebuilt && !is_named_by_connection(headers, name) {
            push_header(head, header);
        }
    }
}

/// Appends one header line.
pub(super) fn push_header(head: &mut Vec<u8>, header: &httparse::Header<'_>) {
    head.extend_from_slice(header.name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(header.value);
    head.extend_from_slice(b"\r\n");
}

/// Whether a `Connection` header says that this header is for one connection only.
pub(super) fn is_named_by_connection(headers: &[httparse::Header<'_>], name: &str) -> bool {
    values(headers, "connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

fn values<'h>(
    headers: &'h [httparse::Header<'_>],
    name: &'static str,
) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |h| h.name.eq_ignore_ascii_case(name))
        .map(|h| h.value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(head: &str) -> RequestError {
        parse(head.as_bytes()).expect_err(head)
    }

    fn forwarded(head: &str) -> (String, String) {
        match parse(head.as_bytes()).unwrap() {
            Request::Forward {
                authority, head, ..
            } => (authority.to_string(), String::from_utf8(head).unwrap()),
            Request::Tunnel(authority) => panic!("a tunnel to {authority}"),
        }
    }

    #[test]
    fn a_request_is_written_anew() {
        let (authority, head) = forwarded(
            "GET http://Example.com:8080?q=1 HTTP/1.1\r\nhost: example.COM:8080\r\n\
             Connection: keep-alive, X-Drop\r\nX-Drop: 1\r\nProxy-Connection: keep-alive\r\n\
             Upgrade: websocket\r\nTE: trailers\r\nAccept: */*\r\n\r\n",
        );
        assert_eq!(authority, "example.com:8080");
        assert_eq!(
            head,
            "GET /?q=1 HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        );
    }

    #[test]
    fn the_length_of_the_body_is_rebuilt() {
        let (_, head) = forwarded(
            "POST http://a/ HTTP/1.1\r\nContent-Length: 007\r\nConnection: content-length\r\n\r\n",
        );
        assert!(head.contains("\r\nContent-Length: 7\r\n"), "{head}");
        let (_, head) = forwarded("PUT http://a/ HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n");
        assert!(
            head.contains("\r\nTransfer-Encoding: chunked\r\n"),
            "{head}"
        );
    }

    #[test]
    fn a_second_opinion_on_the_host_is_refused() {
        for host in ["evil", "a:8080", "", "a@evil", "a\u{e9}"] {
            let head = format!("GET http://a/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(error(&head), RequestError::HostDiffers, "{host}");
        }
        let twice = "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
        assert_eq!(error(twice), RequestError::HostDiffers);
        let tunnel = "CONNECT a:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n";
        assert_eq!(error(tunnel), RequestError::HostDiffers);
        assert!(parse(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    }

    #[test]
    fn a_body_of_unclear_length_is_refused() {
        for lines in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length: ",
            "Content-Length: 99999999999999999999999",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: xchunked",
        ] {
            let head = format!("POST http://a/ HTTP/1.1\r\n{lines}\r\n\r\n");
            assert!(matches!(error(&head), RequestError::Length(_)), "{lines}");
        }
        let old = "POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(error(old), RequestError::Length(_)));
    }

    #[test]
    fn other_targets_are_refused() {
        for target in ["/", "/http://a/", "*", "a", "a:80", "/?u=http://a/"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(error(&head), RequestError::NotForProxy, "{target}");
        }
        for target in ["https://a/", "ftp://a/", "file:///etc/passwd", "httpx://a/"] {
            assert_eq!(
                error(&format!("GET {target} HTTP/1.1\r\n\r\n")),
                RequestError::Scheme
            );
        }
        for target in [
            "http://",
            "http:///path",
            "http://a@b/",
            "http://a\\@b/",
            "http://a#@b/",
        ] {
            parse(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).expect_err(target);
        }
        for line in ["GET http://a/ HTTP/2.0", "GET http://a/", "PRI * HTTP/2.0"] {
            assert!(
                matches!(error(&format!("{line}\r\n\r\n")), RequestError::Syntax(_)),
                "{line}"
            );
        }
        let folded = "GET http://a/ HTTP/1.1\r\nA: b\r\n Host: evil\r\n\r\n";
        assert!(matches!(error(folded), RequestError::Syntax(_)));
        let many = format!("GET http://a/ HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
        assert_eq!(error(&many).status(), 431);
    }

    proptest! {
        #[test]
        fn any_head_is_survived(head in "[ -~\r\n\t]{0,300}") {
            let _ = parse(format!("{head}\r\n\r\n").as_bytes());
            let _ = parse(format!("GET http://{head} HTTP/1.1\r\n\r\n").as_bytes());
        }

        #[test]
        fn a_rewritten_head_has_one_meaning(
            host in "[a-z0-9.]{1,12}",
            path in "(/[!-~]{0,20})?",
            name in "[A-Za-z-]{1,20}",
            value in "[ -~]{0,30}",
        ) {
            let head = format!("GET http://{host}{path} HTTP/1.1\r\n{name}: {value}\r\n\r\n");
            if let Ok(Request::Forward { authority, head, .. }) = parse(head.as_bytes()) {
                let mut headers = [httparse::EMPTY_HEADER; 8];
                let mut request = httparse::Request::new(&mut headers);
                prop_assert!(request.parse(&head).unwrap().is_complete());
                let host = authority.to_string();
                let host = host.strip_suffix(":80").unwrap_or(&host);
                prop_assert_eq!(values(request.headers, "host").collect::<Vec<_>>(), [host.as_bytes()]);
            }
        }
    }
}
