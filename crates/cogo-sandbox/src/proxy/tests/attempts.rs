//! Attempts to reach a server that is not allowed. Each ends with the server untouched.

use std::io::{Read, Write};
use std::net::Shutdown;

use proptest::prelude::*;

use super::fixture::{Names, Proxy, Server, entries, read_all, read_head, status};
use crate::proxy::client_hello::tests::client_hello;
use crate::proxy::{InternalKind, ProxyEvent, Refusal};

/// A proxy with an allowed and a forbidden server. The address of the forbidden one is allowed,
/// and every unknown name leads there, so that only the check of the name protects it.
struct NameFixture {
    proxy: Proxy,
    forbidden: Server,
    allowed: Server,
}

impl NameFixture {
    fn new() -> Self {
        let (allowed, forbidden) = (Server::http("good"), Server::http("secret"));
        let mut list = entries(&["good.test", "*.wild.test"]);
        list.extend([allowed.entry(), forbidden.entry()]);
        let names = Names::default()
            .lead("good.test", &[allowed.address])
            .lead("a.wild.test", &[allowed.address])
            .others_lead(forbidden.address);
        Self {
            proxy: Proxy::start(&list, names),
            forbidden,
            allowed,
        }
    }

    fn expect_refused(&self, code: u16, request: &[u8]) {
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        let answer = self.proxy.exchange(request);
        assert_eq!(
            status(&answer),
            code,
            "{shown:?} was answered by {answer:?}"
        );
        self.forbidden.expect_untouched(&shown);
        self.allowed.expect_untouched(&shown);
        assert_eq!(self.proxy.lookups(), [""; 0], "{shown:?} was looked up");
        match self.proxy.event() {
            ProxyEvent::Refused {
                reason: Refusal::NotListed,
                ..
            } => assert_eq!(code, 403),
            ProxyEvent::Malformed { .. } => assert_ne!(code, 403),
            event => panic!("{shown:?} was reported as {event:?}"),
        }
    }
}

#[test]
fn the_fixture_would_let_a_forbidden_name_through() {
    let forbidden = Server::http("secret");
    let names = Names::default().others_lead(forbidden.address);
    let proxy = Proxy::start(&[forbidden.entry(), "evil.test".to_owned()], names);
    let answer = proxy.exchange(b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert!(answer.ends_with("secret"), "{answer}");
    assert_eq!(forbidden.connections(), 1);
}

#[test]
fn names_that_are_not_listed_are_refused() {
    let fixture = NameFixture::new();
    for target in [
        "evil.test:443",
        "good.test:22",
        "good.test:8443",
        "wild.test:443",
        "badwild.test:443",
        "sub.good.test:443",
        "good.test.evil.test:443",
        "a.wild.test.evil.test:443",
        "xgood.test:443",
        "good.tes:443",
        "xn--god-sna.test:443",
        "localhost:443",
    ] {
        fixture.expect_refused(403, format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
        let get = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
        fixture.expect_refused(403, get.as_bytes());
    }
}

#[test]
fn targets_that_could_be_misread_are_refused() {
    let fixture = NameFixture::new();
    for target in [
        "good.test@evil.test:443",
        "good.test:80@evil.test:443",
        "good.test\0.evil.test:443",
        "good.test%00.evil.test:443",
        "good.test%2eevil.test:443",
        "good.test:443:22",
        "good.test",
        "good.test:",
        "good.test:0443x",
        "good.test:65979",
        "[good.test]:443",
        "g\u{43e}\u{43e}d.test:443",
        "good.test\\.evil.test:443",
        "good.test/evil.test:443",
        "*.wild.test:443",
        ":443",
    ] {
        fixture.expect_refused(400, format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
    }
    let long = format!("CONNECT {}good.test:443 HTTP/1.1\r\n\r\n", "a.".repeat(200));
    fixture.expect_refused(400, long.as_bytes());
}

#[test]
fn requests_that_could_be_misread_are_refused() {
    let fixture = NameFixture::new();
    for request in [
        "GET http://good.test@evil.test/ HTTP/1.1\r\n\r\n",
        "GET http://good.test\\@evil.test/ HTTP/1.1\r\n\r\n",
        "GET http://good.test#@evil.test/ HTTP/1.1\r\n\r\n",
        "GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
        "GET http://good.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n\r\n",
        "GET http://good.test/ HTTP/1.1\r\nA: b\r\n Host: evil.test\r\n\r\n",
        "GET http://good.test/ HTTP/1.1\r\nHost : evil.test\r\n\r\n",
        "GET http://good.test/ HTTP/1.1\r\nHost: good.test\0evil.test\r\n\r\n",
        "CONNECT good.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
        "GET https://evil.test/ HTTP/1.1\r\n\r\n",
        "GET ftp://evil.test/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n",
        "GET //evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
        "GET evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
        "GET http:/evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
        "GET http://good.test/ HTTP/1.1 http://evil.test/ HTTP/1.1\r\n\r\n",
        "POST http://good.test/ HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST http://good.test/ HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        "POST http://good.test/ HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        "POST http://good.test/ HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET http://evil.test/\r\n\r\n",
        "\r\n\r\nGET http://evil.test/ HTTP/1.1\r\n\r\n",
    ] {
        fixture.expect_refused(400, request.as_bytes());
    }
    fixture.expect_refused(400, &client_hello(Some("good.test")));
    fixture.expect_refused(400, &[5, 1, 0]); // SOCKS 5
    fixture.expect_refused(400, &[4, 1, 0, 80, 127, 0, 0, 1, 0]); // SOCKS 4
}

#[test]
fn a_head_without_end_is_refused() {
    let fixture = NameFixture::new();
    let head = format!(
        "GET http://good.test/ HTTP/1.1\r\nA: {}",
        "a".repeat(70_000)
    );
    fixture.expect_refused(431, head.as_bytes());
    let head = format!(
        "GET http://good.test/ HTTP/1.1\r\n{}\r\n",
        "A: b\r\n".repeat(1000)
    );
    fixture.expect_refused(431, head.as_bytes());
}

#[test]
fn a_second_request_on_the_connection_is_not_served() {
    let fixture = NameFixture::new();
    let good =
        "GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\nConnection: keep-alive\r\n\r\n";
    let evil = "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    let answer = fixture.proxy.exchange(format!("{good}{evil}").as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(
        answer.contains("Connection: close\r\n") && answer.ends_with("good"),
        "{answer}"
    );
    fixture
        .forbidden
        .expect_untouched("a second request in one write");

    let mut client = fixture.proxy.connect();
    client.write_all(good.as_bytes()).unwrap();
    read_head(&mut client);
    let _ = client.write_all(evil.as_bytes());
    assert_eq!(read_all(&mut client), "good");
    fixture
        .forbidden
        .expect_untouched("a second request after the first answer");
}

#[test]
fn a_second_request_behind_a_body_does_not_reach_the_server() {
    let (server, received) = Server::recorder("HTTP/1.1 200 OK\r\n\r\n");
    let list = [server.entry(), "good.test".to_owned()];
    let proxy = Proxy::start(&list, Names::default().lead("good.test", &[server.address]));
    let smuggled = "GET /admin HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    for (lines, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Accept: */*", ""),
    ] {
        let head = format!("POST http://good.test/ HTTP/1.1\r\nHost: good.test\r\n{lines}\r\n\r\n");
        proxy.exchange(format!("{head}{body}{smuggled}").as_bytes());
        let seen = String::from_utf8(received.recv().unwrap()).unwrap();
        let expected = format!(
            "POST / HTTP/1.1\r\nHost: good.test\r\n{lines}\r\nConnection: close\r\n\r\n{body}"
        );
        assert_eq!(seen, expected);
    }
}

#[test]
fn addresses_that_are_not_listed_are_refused() {
    let forbidden = Server::http("secret");
    let other = Server::http("other");
    let list = [
        other.entry(),
        format!("localhost:{}", other.port()),
        "*.test".to_owned(),
    ];
    let proxy = Proxy::start(&list, Names::default().others_lead(forbidden.address));
    let port = forbidden.port();
    for (host, code) in [
        ("127.0.0.1", 403),
        ("127.0.0.1.", 403),
        ("localhost", 403),
        ("LOCALHOST.", 403),
        ("a.localhost", 403),
        ("[::ffff:127.0.0.1]", 403),
        ("[::ffff:7f00:1]", 403),
        ("0.0.0.0", 403),
        ("[::]", 403),
        ("[::1]", 403),
        ("2130706433", 400),
        ("0x7f000001", 400),
        ("0x7f.1", 400),
        ("0X7F.0.0.1", 400),
        ("0177.0.0.1", 400),
        ("127.1", 400),
        ("127.0.0.01", 400),
        ("127.0.0.0x1", 400),
        ("[::1%lo]", 400),
        ("[127.0.0.1]", 400),
        ("\u{ff11}27.0.0.1", 400),
    ] {
        for request in [
            format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"),
            format!("GET http://{host}:{port}/ HTTP/1.1\r\n\r\n"),
        ] {
            let answer = proxy.exchange(request.as_bytes());
            assert_eq!(
                status(&answer),
                code,
                "{request:?} was answered by {answer:?}"
            );
            forbidden.expect_untouched(&request);
            other.expect_untouched(&request);
        }
    }
    assert_eq!(proxy.lookups(), [""; 0]);
}

#[test]
fn allowed_names_that_lead_into_the_host_are_refused() {
    let forbidden = Server::http("secret");
    let other = Server::http("other");
    let port = forbidden.port();
    let at = |ip: &str| format!("{ip}:{port}").parse().unwrap();
    let names = Names::default()
        .lead("plain.test", &[at("127.0.0.1")])
        .lead("mapped.test", &[at("[::ffff:127.0.0.1]")])
        .lead("unspecified.test", &[at("0.0.0.0")])
        .lead(
            "several.test",
            &[at("169.254.169.254"), at("10.0.0.1"), at("127.0.0.1")],
        )
        .lead("nat64.test", &[at("[64:ff9b::7f00:1]")])
        .lead("none.test", &[]);
    let list = [
        "*.test".to_owned(),
        other.entry(),
        format!("localhost:{}", other.port()),
    ];
    let proxy = Proxy::start(&list, names);
    for (name, kind) in [
        ("plain.test", InternalKind::Loopback),
        ("mapped.test", InternalKind::Loopback),
        ("unspecified.test", InternalKind::Unspecified),
        ("several.test", InternalKind::Loopback),
        ("nat64.test", InternalKind::Loopback),
    ] {
        for request in [
            format!("CONNECT {name}:443 HTTP/1.1\r\n\r\n"),
            format!("GET http://{name}/ HTTP/1.1\r\n\r\n"),
        ] {
            let answer = proxy.exchange(request.as_bytes());
            assert_eq!(
                status(&answer),
                403,
                "{request:?} was answered by {answer:?}"
            );
            assert!(answer.contains("the name leads to "), "{answer}");
            forbidden.expect_untouched(&request);
            let ProxyEvent::Refused { reason, .. } = proxy.event() else {
                panic!("{request}")
            };
            assert!(
                matches!(reason, Refusal::InternalAddress { kind: found, .. } if found == kind),
                "{name}: {reason:?}"
            );
        }
    }
    let answer = proxy.exchange(b"CONNECT none.test:443 HTTP/1.1\r\n\r\n");
    assert_eq!(status(&answer), 502, "{answer}");
}

#[test]
fn a_name_is_resolved_once_and_the_checked_address_is_dialled() {
    let (good, forbidden) = (Server::http("good"), Server::http("secret"));
    let names = Names::default()
        .lead("rebind.test", &[forbidden.address, good.address])
        .lead("rebind.test", &[forbidden.address]);
    let proxy = Proxy::start(&["rebind.test".to_owned(), good.entry()], names);
    let request = b"GET http://rebind.test/ HTTP/1.1\r\n\r\n";
    assert!(proxy.exchange(request).ends_with("good"));
    assert_eq!(proxy.lookups().len(), 1);
    forbidden.expect_untouched("first answer");
    assert_eq!(status(&proxy.exchange(request)), 403);
    forbidden.expect_untouched("second answer");
}

#[test]
fn a_tunnel_has_to_begin_with_a_handshake_for_its_host() {
    let (server, received) = Server::recorder("");
    let list = [server.entry(), "good.test".to_owned()];
    let proxy = Proxy::start(&list, Names::default().lead("good.test", &[server.address]));
    let good = client_hello(Some("good.test"));
    let mut truncated = good.clone();
    truncated.pop();
    for (attempt, bytes) in [
        ("another name", client_hello(Some("evil.test"))),
        ("a name below", client_hello(Some("a.good.test"))),
        ("an empty name", client_hello(Some(""))),
        (
            "a name with a zero byte",
            client_hello(Some("good.test\0.evil.test")),
        ),
        ("no name", client_hello(None)),
        (
            "plain http",
            b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_vec(),
        ),
        ("ssh", b"SSH-2.0-x\r\n".to_vec()),
        ("two hellos", [&[22, 3, 1, 0, 2, 1, 0], &good[..]].concat()),
        ("half a hello", truncated),
        ("nothing", Vec::new()),
        (
            "an endless hello",
            [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc][..], &vec![0; 20_000]].concat(),
        ),
    ] {
        let mut client = proxy.tunnel("good.test:443");
        let _ = client.write_all(&bytes);
        let _ = client.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert_eq!(
            answer,
            [21, 3, 3, 0, 2, 2, 49],
            "{attempt}: a fatal alert comes back"
        );
        assert_eq!(
            received.recv().unwrap(),
            [0; 0],
            "{attempt}: the server got bytes"
        );
        let event = proxy.event();
        assert!(
            matches!(event, ProxyEvent::Refused { .. }),
            "{attempt}: {event:?}"
        );
    }
}

#[test]
fn a_handshake_for_its_host_passes_a_tunnel_unchanged() {
    let (server, received) = Server::recorder("");
    let list = [server.entry(), "good.test".to_owned()];
    let proxy = Proxy::start(&list, Names::default().lead("good.test", &[server.address]));
    let hello = [
        client_hello(Some("Good.TEST")),
        b"\x14\x03\x03 and more".to_vec(),
    ]
    .concat();

    let mut client = proxy.tunnel("good.test:443");
    for byte in &hello {
        client.write_all(&[*byte]).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(received.recv().unwrap(), hello);

    // Some clients do not wait for the answer to CONNECT.
    let mut client = proxy.connect();
    let early = [b"CONNECT good.test:443 HTTP/1.1\r\n\r\n", &hello[..]].concat();
    client.write_all(&early).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(received.recv().unwrap(), hello);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_end_in_a_close_and_no_connection(
        inputs in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..400),
                "(GET|CONNECT) (http://)?[a-z0-9.:@\\[\\]%#\\\\/-]{0,40} HTTP/1.[01]\r\n(Host: [!-~]{0,20}\r\n)?\r\n[ -~]{0,20}"
                    .prop_map(String::into_bytes),
                "[ -~\r\n]{0,200}\r\n\r\n".prop_map(String::into_bytes),
            ],
            1..6,
        ),
    ) {
        let forbidden = Server::http("secret");
        let names = Names::default().others_lead(forbidden.address);
        let proxy = Proxy::start(&[forbidden.entry(), "good.test".to_owned()], names);
        for input in &inputs {
            let mut client = proxy.connect();
            let _ = client.write_all(input);
            let _ = client.shutdown(Shutdown::Write);
            let answer = read_all(&mut client);
            prop_assert!(answer.is_empty() || status(&answer) >= 400, "{}", answer);
        }
        forbidden.expect_untouched("random bytes");
    }
}
