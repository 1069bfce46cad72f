//! Networks and sockets of the host, and the proxy that leads to some of it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use cogo_sandbox::landlock::landlock_abi;
use cogo_sandbox::spec::{ExecSpec, Network};
use cogo_sandbox::verdict::Incident;

use super::attempt::Control::{Bwrap, FreeAsRoot, FreeAsRootUnlessForbidden, FreeUnlessForbidden};
use super::attempt::{Arena, expect_refused};
use crate::fixture::Ended;

/// A server on the host that nobody inside is to reach.
fn listener(address: &str) -> Option<(TcpListener, u16)> {
    let listener = TcpListener::bind((address, 0)).ok()?;
    listener.set_nonblocking(true).expect("a flag");
    let port = listener.local_addr().expect("an address").port();
    Some((listener, port))
}

/// Whether somebody has connected.
fn was_reached(listener: &TcpListener) -> bool {
    match listener.accept() {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

/// Networks that do not lead to the host.
fn closed_networks() -> [Network; 2] {
    [
        Network::None,
        Network::Allow(vec!["example.com".to_owned()]),
    ]
}

#[test]
fn a_server_on_the_hosts_loopback() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for address in ["127.0.0.1", "::1"] {
        let Some((listener, port)) = listener(address) else {
            println!("not tested: the host has no {address}");
            continue;
        };
        for network in closed_networks() {
            let mut spec = arena.spec(&format!("tcp {address} {port}"));
            spec.network = network;
            expect_refused(&arena.place.run(&spec), &["ECONNREFUSED"]);
            assert!(!was_reached(&listener));
        }
        arena.expect_reached_outside(&format!("tcp {address} {port}"));
        assert!(was_reached(&listener));
    }
}

#[test]
fn a_service_on_the_hosts_loopback_by_udp() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let service = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    service.set_nonblocking(true).expect("a flag");
    let port = service.local_addr().expect("an address").port();
    let mut buffer = [0; 16];
    for network in closed_networks() {
        let mut spec = arena.spec(&format!("udp 127.0.0.1 {port}"));
        spec.network = network;
        // It may send what it likes to its own loopback.
        arena.place.run(&spec);
        let received = service.recv(&mut buffer);
        assert_eq!(received.expect_err("silence").kind(), ErrorKind::WouldBlock);
    }
    arena.expect_reached_outside(&format!("udp 127.0.0.1 {port}"));
    assert_eq!(service.recv(&mut buffer).expect("a packet"), 7);
}

#[test]
fn addresses_beyond_the_loopback() {
    let Some(arena) = Arena::new() else {
        return;
    };
    // A documentation address, a metadata service, a public resolver over both protocols.
    for attempt in [
        "tcp 192.0.2.1 80",
        "tcp 169.254.169.254 80",
        "tcp 8.8.8.8 53",
        "udp 8.8.8.8 53",
        "udp 2001:4860:4860::8888 53",
        "udp 255.255.255.255 67",
    ] {
        for network in closed_networks() {
            let mut spec = arena.spec(attempt);
            spec.network = network;
            let errors = ["ENETUNREACH", "EACCES", "EADDRNOTAVAIL"];
            expect_refused(&arena.place.run(&spec), &errors);
        }
    }
}

/// The host's own address in its network, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

#[test]
fn a_server_on_the_hosts_own_address() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let Some(address) = own_address() else {
        println!("not tested: the host has a loopback only");
        return;
    };
    let address = address.to_string();
    let (listener, port) = listener(&address).expect("a listener");
    arena.expect_refused(&format!("tcp {address} {port}"), &["ENETUNREACH"]);
    assert!(!was_reached(&listener));
    arena.expect_reached_outside(&format!("tcp {address} {port}"));
    assert!(was_reached(&listener));
}

#[test]
fn abstract_sockets_of_the_host() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let name = format!("cogo-attempt-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("a listener");
    listener.set_nonblocking(true).expect("a flag");
    let other = format!("{name}-packets");
    let other_address = SocketAddr::from_abstract_name(&other).expect("a name");
    let _packets = UnixDatagram::bind_addr(&other_address).expect("a socket");
    let attempts = [
        format!("abstract stream {name}"),
        format!("abstract packets {other}"),
    ];
    for attempt in &attempts {
        arena.expect_refused(attempt, &["ECONNREFUSED"]);
        // The host's network has the host's abstract sockets; there only Landlock is in the way.
        if landlock_abi().is_some_and(|abi| abi >= 6) {
            let mut spec = arena.spec(attempt);
            spec.network = Network::Host;
            expect_refused(&arena.place.run(&spec), &["EPERM"]);
        }
    }
    let reached = listener.accept();
    assert_eq!(reached.expect_err("silence").kind(), ErrorKind::WouldBlock);
    for attempt in &attempts {
        arena.expect_reached_outside(attempt);
    }
    assert!(listener.accept().is_ok());
}

#[test]
fn sockets_that_forge_or_overhear() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for (attempt, error, control) in [
        ("raw", "EPERM", FreeAsRoot),
        ("packet", "EAFNOSUPPORT", FreeAsRoot),
        ("vsock", "EAFNOSUPPORT", FreeUnlessForbidden),
        ("crypto", "EAFNOSUPPORT", FreeUnlessForbidden),
        ("audit", "EPROTONOSUPPORT", FreeAsRootUnlessForbidden),
    ] {
        for network in [Network::None, Network::Host] {
            let mut spec = arena.spec(attempt);
            spec.network = network;
            expect_refused(&arena.place.run(&spec), &[error]);
        }
        if attempt != "audit" {
            arena.check_control(attempt, control);
        }
    }
}

#[test]
fn addresses_and_routes_cannot_be_changed() {
    let Some(arena) = Arena::new() else {
        return;
    };
    for network in [Network::None, Network::Host] {
        let mut spec = arena.spec("add-address");
        spec.network = network;
        expect_refused(&arena.place.run(&spec), &["EPERM"]);
    }
    let addresses = fs::read_to_string("/proc/net/fib_trie").expect("addresses");
    assert!(!addresses.contains("192.0.2.1\n"), "{addresses}");
    arena.check_control("add-address", Bwrap);
}

/// A command that sends these, one after the other, to its proxy.
fn ask(arena: &Arena, allowed: &str, messages: &[&[u8]]) -> ExecSpec {
    let hex = |byte: &u8| {
        [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
    };
    let messages: Vec<String> = messages
        .iter()
        .map(|bytes| bytes.iter().flat_map(hex).collect())
        .collect();
    let words = std::iter::once("ask-proxy").chain(messages.iter().map(String::as_str));
    let mut spec = arena.spec_of(words);
    spec.network = Network::Allow(vec![allowed.to_owned()]);
    spec
}

/// Servers that the verdict names as refused.
fn refused_servers(ended: &Ended) -> Vec<String> {
    let servers = ended
        .verdict
        .incidents
        .iter()
        .find_map(|incident| match incident {
            Incident::NetworkRefused { servers, .. } => Some(servers.clone()),
            _ => None,
        });
    servers.unwrap_or_default()
}

#[test]
fn the_proxy_does_not_lead_to_the_host_by_any_spelling() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let (listener, port) = listener("127.0.0.1").expect("a listener");
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "localhost.",
        "a.localhost",
        "example.com@127.0.0.1",
        "127.0.0.1%00.example.com",
        "169.254.169.254",
    ] {
        for request in [
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: example.com\r\n\r\n"),
            format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        ] {
            let ended = arena
                .place
                .run(&ask(&arena, "example.com", &[request.as_bytes()]));
            let text = ended.expect_exit(0).text();
            let status = text.split(' ').nth(1);
            assert!(matches!(status, Some("403" | "400")), "{request}: {text}");
            assert!(!was_reached(&listener), "{request}");
            if status == Some("403") {
                assert_eq!(refused_servers(&ended).len(), 1, "{ended:?}");
            }
        }
    }
}

/// A name of this host, other than `localhost`, that its own files say is the loopback.
fn name_of_loopback() -> Option<String> {
    let hosts = fs::read_to_string("/etc/hosts").ok()?;
    let mut names = hosts.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let name = words.find(|name| !name.contains("localhost"))?;
        address.is_loopback().then(|| name.to_owned())
    });
    names.next()
}

#[test]
fn an_allowed_name_that_leads_to_the_host_is_refused() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let Some(name) = name_of_loopback() else {
        println!("not tested: no name but localhost leads to the loopback here");
        return;
    };
    let (listener, port) = listener("127.0.0.1").expect("a listener");
    let request = format!("CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let allowed = format!("{name}:{port}");
    let ended = arena
        .place
        .run(&ask(&arena, &allowed, &[request.as_bytes()]));
    assert!(ended.text().contains(" 403 "), "{ended:?}");
    assert!(refused_servers(&ended)[0].contains("loopback"), "{ended:?}");
    assert!(!was_reached(&listener));
}

#[test]
fn a_request_cannot_name_another_host_to_the_server() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let (listener, port) = listener("127.0.0.1").expect("a listener");
    let run = |named: &str| {
        let request = format!("GET http://localhost:{port}/ HTTP/1.1\r\nHost: {named}\r\n\r\n");
        let allowed = format!("localhost:{port}");
        ask(&arena, &allowed, &[request.as_bytes()])
    };
    for other in [
        "other.example".to_owned(),
        "127.0.0.1".to_owned(),
        format!("localhost:{}", port.wrapping_add(1)),
        format!("localhost:{port}\r\nHost: other.example"),
        format!("other.example\r\nX-Forwarded-Host: localhost:{port}"),
    ] {
        let ended = arena.place.run(&run(&other));
        assert!(
            ended.text().starts_with("HTTP/1.1 400 "),
            "{other}: {ended:?}"
        );
        assert!(!was_reached(&listener), "{other}");
    }
    // The control: with the right name the server is reached.
    listener.set_nonblocking(false).expect("a flag");
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut head = [0; 4096];
        let length = client.read(&mut head).expect("a request");
        assert!(length > 0);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        client.write_all(answer).expect("an answer");
    });
    let ended = arena.place.run(&run(&format!("localhost:{port}")));
    assert_eq!(ended.expect_exit(0).text(), "HTTP/1.1 200 OK");
    server.join().expect("a server");
}

/// Connections that say nothing take up all the proxy's places; the verdict does not wait.
#[test]
fn holding_the_proxys_places_delays_no_verdict() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let mut spec = arena.spec("hold-proxy 1000");
    spec.network = Network::Allow(vec!["example.com".to_owned()]);
    let ended = arena.place.run(&spec);
    assert_eq!(ended.expect_exit(0).text(), "holding 1000");
    assert_eq!(ended.verdict.survivors, 0);
}

/// The first message of a TLS connection to a server of that name.
fn client_hello(name: &str) -> Vec<u8> {
    let with_length = |bytes: &[u8], width: usize| {
        let length = (bytes.len() as u32).to_be_bytes();
        [&length[4 - width..], bytes].concat()
    };
    let server_name = [&[0][..], &with_length(name.as_bytes(), 2)].concat();
    let extension = [&[0, 0][..], &with_length(&with_length(&server_name, 2), 2)].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &with_length(&[0x13, 1], 2),
        &with_length(&[0], 1),
        &with_length(&extension, 2),
    ]
    .concat();
    let handshake = [&[1][..], &with_length(&body, 3)].concat();
    [&[22, 3, 1][..], &with_length(&handshake, 2)].concat()
}

#[test]
fn a_tunnel_carries_no_handshake_for_another_server() {
    let Some(arena) = Arena::new() else {
        return;
    };
    let Ok(listener) = TcpListener::bind("127.0.0.1:443") else {
        println!("not tested: port 443 is not to be had");
        return;
    };
    // What the server hears of each connection until its end.
    let server = std::thread::spawn(move || {
        let heard = |_| {
            let (mut client, _) = listener.accept().expect("a client");
            let mut all = Vec::new();
            let _ = client.read_to_end(&mut all);
            all
        };
        [0; 3].map(heard)
    });
    let connect = b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n";
    let run = |message: &[u8]| {
        let spec = ask(&arena, "localhost:443", &[connect, message]);
        arena.place.run(&spec)
    };
    let other = run(&client_hello("other.example"));
    let plain = run(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n");
    for ended in [&other, &plain] {
        assert!(ended.text().starts_with("HTTP/1.1 200"), "{ended:?}");
        assert_eq!(refused_servers(ended).len(), 1, "{ended:?}");
    }
    // The control: the right name is passed on. The server answers with nothing, so it is left.
    let hello = client_hello("localhost");
    let mut spec = ask(&arena, "localhost:443", &[connect, &hello]);
    spec.limits.timeout = Some(std::time::Duration::from_millis(500));
    spec.grace_period = std::time::Duration::ZERO;
    arena.place.run(&spec);
    let heard = server.join().expect("a server");
    assert_eq!(heard, [Vec::new(), Vec::new(), hello]);
}
