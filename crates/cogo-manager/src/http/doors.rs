//! Who gets in: the host a request is meant for, the page it comes from, its token, its rate.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use cogo_protocol::message::SUBPROTOCOL_TOKEN_PREFIX;

use super::Api;
use super::problem::Problem;
use crate::tokens::{Caller, NoCaller};

/// Lets a request in as its caller, or refuses it.
pub(super) async fn admit(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = identify(&api, peer.ip(), request.headers())?;
    let payer = if api.tokens.is_empty() {
        peer.ip().to_string()
    } else {
        caller.name.clone()
    };
    if !api.rates.take(&payer) {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "more requests came than this server takes from one client",
        )
        .hint("wait a moment; submit many tasks over one WebSocket"));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn identify(api: &Api, peer: IpAddr, headers: &HeaderMap) -> Result<Caller, Problem> {
    let token = token(headers);
    if api.tokens.is_empty() && token.is_none() {
        check_local(peer, headers)?;
    }
    check_origin(headers, &api.config.origins)?;
    api.tokens.caller(token).map_err(|why| {
        let detail = match why {
            NoCaller::Missing => "this server wants a token",
            NoCaller::Unknown => "the token is not known, not any more, or was cut short",
        };
        Problem::new(StatusCode::UNAUTHORIZED, "token_required", detail).hint(
            "send `Authorization: Bearer <token>`; `cogo token create` on the server makes one",
        )
    })
}

/// The token that a request brings: in its header, or as a subprotocol where a browser cannot
/// set headers. Never in the address, which ends up in logs.
fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
    bearer.or_else(|| {
        subprotocols(headers).find_map(|name| name.strip_prefix(SUBPROTOCOL_TOKEN_PREFIX))
    })
}

/// The subprotocols that a client offers.
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Without tokens only this host is let in, under a name that no foreign page can have.
fn check_local(peer: IpAddr, headers: &HeaderMap) -> Result<(), Problem> {
    if !peer.to_canonical().is_loopback() {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "token_required",
            "without tokens this server answers its own host alone",
        )
        .hint("make a token with `cogo token create` on the server"));
    }
    // A page whose name was made to point here (DNS rebinding) still tells its own name.
    let host = headers.get(header::HOST).map(|host| host.to_str());
    match host {
        None => Ok(()),
        Some(Ok(host)) if is_local_name(host) => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "the request is meant for another host",
        )
        .hint("use `localhost` or `127.0.0.1`, or make a token with `cogo token create`")),
    }
}

fn is_local_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A browser tells which page a request comes from. Only the server's own pages and those that
/// were allowed may.
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let own = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .is_some_and(|host| {
            origin
                .split_once("://")
                .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
        });
    if own || allowed.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "foreign_origin",
        "pages from elsewhere may not use this server",
    )
    .hint("start the server with `--allow-origin` for pages that may"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_names_of_this_host_are_local() {
        for local in [
            "localhost",
            "LOCALHOST:7171",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:7171",
        ] {
            assert!(is_local_name(local), "{local}");
        }
        for foreign in [
            "",
            "evil.test",
            "localhost.evil.test",
            "10.0.0.1:80",
            "[::2]",
            "127.0.0.1.evil.test",
        ] {
            assert!(!is_local_name(foreign), "{foreign}");
        }
    }

    #[test]
    fn pages_need_to_be_own_or_allowed() {
        let check = |origin, allowed: &[String]| {
            let headers = headers(&[(header::HOST, "localhost:7171"), (header::ORIGIN, origin)]);
            check_origin(&headers, allowed).is_ok()
        };
        assert!(check("http://localhost:7171", &[]));
        assert!(!check("http://localhost:9999", &[]));
        assert!(!check("null", &[]));
        assert!(!check("https://evil.test", &[]));
        assert!(check(
            "https://console.test",
            &["https://console.test".to_owned()]
        ));
    }

    #[test]
    fn tokens_come_in_a_header_or_as_subprotocol() {
        let of = |name, value| token(&headers(&[(name, value)])).map(str::to_owned);
        assert_eq!(of(header::AUTHORIZATION, "Bearer a"), Some("a".to_owned()));
        assert_eq!(
            of(header::AUTHORIZATION, "bearer  a "),
            Some("a".to_owned())
        );
        assert_eq!(of(header::AUTHORIZATION, "Basic a"), None);
        assert_eq!(
            of(header::SEC_WEBSOCKET_PROTOCOL, "cogo.v1.json, cogo.token.b"),
            Some("b".to_owned())
        );
    }
}
