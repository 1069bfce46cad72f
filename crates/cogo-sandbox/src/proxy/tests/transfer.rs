//! Honest use under load, and peers that leave in the middle.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::fixture::{Names, Proxy, Server, read_all, read_head, status};
use crate::proxy::{ProxyEvent, Resolver, STACK_BYTES, SystemResolver};

const LARGE: usize = 32 * 1024 * 1024;

fn proxy_to(server: &Server) -> Proxy {
    Proxy::start(&[server.entry()], Names::default())
}

/// Bytes that do not repeat with any power of two.
fn write_pattern(mut sink: impl Write) -> u32 {
    let block: Vec<u8> = (0..65_521_u32).map(|i| (i * 31 % 251) as u8).collect();
    let mut checksum = crc32fast::Hasher::new();
    let mut left = LARGE;
    while left > 0 {
        let piece = &block[..left.min(block.len())];
        sink.write_all(piece).unwrap();
        checksum.update(piece);
        left -= piece.len();
    }
    checksum.finalize()
}

fn read_checksum(mut source: impl Read) -> (usize, u32) {
    let mut checksum = crc32fast::Hasher::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        match source.read(&mut buffer).unwrap() {
            0 => return (length, checksum.finalize()),
            count => {
                checksum.update(&buffer[..count]);
                length += count;
            }
        }
    }
}

#[test]
fn a_tunnel_carries_much_both_ways_at_once() {
    let server = Server::echo();
    let proxy = proxy_to(&server);
    let mut client = proxy.tunnel(&server.entry());
    let sink = client.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let checksum = write_pattern(&sink);
        sink.shutdown(Shutdown::Write).unwrap();
        checksum
    });
    let (length, checksum) = read_checksum(&mut client);
    assert_eq!((length, checksum), (LARGE, writer.join().unwrap()));
    let bytes = LARGE as u64;
    let to = crate::proxy::Authority::parse(&server.entry(), None).unwrap();
    let expected = ProxyEvent::Allowed {
        to,
        bytes_sent: bytes,
        bytes_received: bytes,
    };
    assert_eq!(proxy.event(), expected);
}

#[test]
fn a_large_answer_comes_whole() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").unwrap();
        write_pattern(&stream);
    });
    let proxy = proxy_to(&server);
    let mut client = proxy.connect();
    write!(client, "GET http://{}/ HTTP/1.1\r\n\r\n", server.address).unwrap();
    read_head(&mut client);
    assert_eq!(
        read_checksum(&client),
        (LARGE, write_pattern(std::io::sink()))
    );
}

#[test]
fn a_large_body_arrives_whole() {
    let (sender, received) = channel();
    let sender = std::sync::Mutex::new(sender);
    let server = Server::start(move |mut stream| {
        read_head(&mut stream);
        let seen = read_checksum((&stream).take(LARGE as u64));
        sender.lock().unwrap().send(seen).unwrap();
        write!(stream, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let proxy = proxy_to(&server);
    let mut client = proxy.connect();
    let target = server.address;
    write!(
        client,
        "PUT http://{target}/ HTTP/1.1\r\nContent-Length: {LARGE}\r\n\r\n"
    )
    .unwrap();
    let checksum = write_pattern(&client);
    assert_eq!(received.recv().unwrap(), (LARGE, checksum));
    assert_eq!(status(&read_all(&mut client)), 201);
}

#[test]
fn each_side_of_a_tunnel_may_end_first() {
    // The client has said all, and still hears the server.
    let server = Server::start(|mut stream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        write!(stream, "heard {text}").unwrap();
    });
    let proxy = proxy_to(&server);
    let mut client = proxy.tunnel(&server.entry());
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), "heard hello");

    // The server has said all, and still hears the client.
    let (server, received) = Server::recorder("hello");
    let proxy = proxy_to(&server);
    let mut client = proxy.tunnel(&server.entry());
    assert_eq!(read_all(&mut client), "hello");
    client.write_all(b"heard hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(received.recv().unwrap(), b"heard hello");
    assert!(matches!(proxy.event(), ProxyEvent::Allowed { .. }));
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let server = Server::http("good");
    let proxy = proxy_to(&server);
    let mut client = proxy.connect();
    for byte in format!("GET http://{}/ HTTP/1.1\r\n\r\n", server.address).bytes() {
        client.write_all(&[byte]).unwrap();
    }
    assert!(read_all(&mut client).ends_with("good"));
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let short = Duration::from_millis(100);
    let proxy = Proxy::start_with(&[], Names::default(), move |options| {
        options.head_timeout = short;
    });
    let mut client = proxy.connect();
    client.write_all(b"GET http://good.test/ HT").unwrap();
    assert_eq!(status(&read_all(&mut client)), 408);
    assert!(matches!(proxy.event(), ProxyEvent::Malformed { .. }));
}

#[test]
fn a_silent_tunnel_is_given_up() {
    let server = Server::echo();
    let proxy = Proxy::start_with(&[server.entry()], Names::default(), |options| {
        options.idle_timeout = Duration::from_millis(100);
    });
    let mut client = proxy.tunnel(&server.entry());
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(matches!(proxy.event(), ProxyEvent::Failed { .. }));
}

#[test]
fn clients_that_leave_free_their_place() {
    let (server, received) = Server::recorder("");
    let proxy = Proxy::start_with(&[server.entry()], Names::default(), |options| {
        options.connections_max = 1;
    });
    drop(proxy.connect());
    let mut client = proxy.connect();
    client.write_all(b"GET http://").unwrap();
    drop(client);
    let mut client = proxy.tunnel(&server.entry());
    client.write_all(b"part").unwrap();
    drop(client);
    assert_eq!(received.recv().unwrap(), b"part");

    // A client that leaves within its body must not look as if it had sent all of it.
    let mut client = proxy.connect();
    let target = server.address;
    write!(
        client,
        "PUT http://{target}/ HTTP/1.1\r\nContent-Length: 9\r\n\r\npart"
    )
    .unwrap();
    drop(client);
    received.recv().unwrap();
    proxy.tunnel(&server.entry());
}

#[test]
fn a_client_that_resets_a_tunnel_ends_it() {
    let (server, received) = Server::recorder("");
    let proxy = proxy_to(&server);
    let client = proxy.tunnel(&server.entry());
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    received.recv().unwrap();
    assert!(matches!(proxy.event(), ProxyEvent::Failed { .. }));
}

#[test]
fn a_server_that_breaks_off_does_not_look_finished() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
        let mut asked = [0];
        stream.read_exact(&mut asked).unwrap();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let proxy = proxy_to(&server);
    let mut client = proxy.connect();
    let target = server.address;
    write!(
        client,
        "PUT http://{target}/ HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
    )
    .unwrap();
    read_head(&mut client);
    let mut half = [0; 4];
    client.read_exact(&mut half).unwrap();
    client.write_all(b"!").unwrap();
    let error = client.read(&mut half).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn servers_that_do_not_answer_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (silent, _received) = Server::recorder("");
    let (strange, _received) = Server::recorder("SSH-2.0-x\r\n\r\n");
    let list = [
        closed.to_string(),
        silent.entry(),
        strange.entry(),
        "unknown.test".to_owned(),
    ];
    let proxy = Proxy::start(&list, Names::default());
    for (target, reason) in [
        (closed.to_string(), "could not be reached"),
        (silent.entry(), "closed the connection without an answer"),
        (strange.entry(), "is not HTTP/1"),
        ("unknown.test".to_owned(), "could not be resolved"),
    ] {
        let answer = proxy.exchange(format!("GET http://{target}/ HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 502, "{answer}");
        assert!(answer.contains(reason), "{answer}");
        assert!(
            matches!(proxy.event(), ProxyEvent::Failed { .. }),
            "{target}"
        );
    }
}

#[test]
fn an_answer_before_the_body_is_passed_on() {
    let server = Server::start(|mut stream| {
        read_head(&mut stream);
        write!(
            stream,
            "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
        )
        .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let proxy = proxy_to(&server);
    let mut client = proxy.connect();
    let target = server.address;
    write!(
        client,
        "PUT http://{target}/ HTTP/1.1\r\nContent-Length: 100\r\n\r\n"
    )
    .unwrap();
    assert!(read_all(&mut client).ends_with("no"));
}

#[test]
fn three_hundred_clients_are_served_256_at_a_time() {
    let server = Server::echo();
    let proxy = proxy_to(&server);
    let target = server.entry();
    let mut clients: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut client = proxy.connect();
            write!(client, "CONNECT {target} HTTP/1.1\r\n\r\n").unwrap();
            client
        })
        .collect();
    let serve = |client: &mut TcpStream, number: usize| {
        assert_eq!(status(&read_head(client)), 200);
        let text = format!("client {number}");
        client.write_all(text.as_bytes()).unwrap();
        let mut echoed = vec![0; text.len()];
        client.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, text.as_bytes());
    };
    for (number, client) in clients[..256].iter_mut().enumerate() {
        serve(client, number);
    }
    assert_eq!(server.connections(), 256, "the others wait");
    let mut waiting = clients.split_off(256);
    drop(clients);
    for (number, client) in waiting.iter_mut().enumerate() {
        serve(client, number);
    }
    assert_eq!(server.connections(), 44);
}

#[test]
fn a_client_that_does_not_read_holds_its_server_back() {
    const FAR_MORE_THAN_SOCKETS_HOLD: usize = 256 * 1024 * 1024;
    let (sender, outcome) = channel();
    let sender = std::sync::Mutex::new(sender);
    let server = Server::start(move |mut stream| {
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let block = vec![7; 64 * 1024];
        let mut written = 0;
        while written < FAR_MORE_THAN_SOCKETS_HOLD {
            match stream.write(&block) {
                Ok(count) => written += count,
                Err(_) => break,
            }
        }
        sender.lock().unwrap().send(written).unwrap();
    });
    let proxy = proxy_to(&server);
    let client = proxy.tunnel(&server.entry());
    let written = outcome.recv().unwrap();
    assert!(
        written < FAR_MORE_THAN_SOCKETS_HOLD,
        "the proxy took {written} bytes in"
    );
    drop(client);
}

#[test]
fn a_refusal_is_read_even_while_the_body_is_still_sent() {
    let proxy = Proxy::start(&[], Names::default());
    let head = "PUT http://evil.test/ HTTP/1.1\r\nContent-Length: 500000\r\n\r\n";
    let mut client = proxy.connect();
    client.write_all(head.as_bytes()).unwrap();
    // The whole body goes out before the answer is read: a reset would be an error here.
    client.write_all(&vec![7; 500_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 403, "{answer}");
}

#[test]
fn names_are_resolved_on_a_small_stack() {
    let resolve = || SystemResolver.resolve("localhost", 80).unwrap();
    let thread = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(resolve)
        .unwrap();
    assert!(
        thread
            .join()
            .unwrap()
            .iter()
            .all(|address| address.ip().is_loopback())
    );
}
