//! A running proxy, real servers behind it, and raw clients in front of it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::proxy::{AllowList, ProxyEvent, ProxyObserver, ProxyOptions, Resolver, serve};

/// Far longer than anything here takes; only a broken proxy meets it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A proxy in threads of its own, ended on drop.
pub(super) struct Proxy {
    pub(super) port: u16,
    pub(super) allow: AllowList,
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<io::Result<()>>>,
    names: Arc<Names>,
    events: Receiver<ProxyEvent>,
}

impl Proxy {
    pub(super) fn start(entries: &[String], names: Names) -> Self {
        Self::start_with(entries, names, |_| {})
    }

    pub(super) fn start_with(
        entries: &[String],
        names: Names,
        adjust: impl FnOnce(&mut ProxyOptions<'_>) + Send + 'static,
    ) -> Self {
        let allow = AllowList::parse(entries).unwrap();
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let names = Arc::new(names);
        let (sender, events) = channel();
        let thread = {
            let (listener, names, allow) = (listener.clone(), names.clone(), allow.clone());
            thread::spawn(move || {
                let observer = Recorder(Mutex::new(sender));
                let mut options = ProxyOptions::new(&observer);
                options.resolver = &*names;
                adjust(&mut options);
                serve(&listener, &allow, &options)
            })
        };
        let port = listener.local_addr().unwrap().port();
        Self {
            port,
            allow,
            listener,
            thread: Some(thread),
            names,
            events,
        }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Sends these bytes and returns all that comes back, up to the proxy's close.
    pub(super) fn exchange(&self, request: &[u8]) -> String {
        let mut client = self.connect();
        // The proxy may answer and close before it has read everything.
        let _ = client.write_all(request);
        read_all(&mut client)
    }

    /// A client whose tunnel stands.
    pub(super) fn tunnel(&self, to: &str) -> TcpStream {
        let mut client = self.connect();
        write!(client, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").unwrap();
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        client
    }

    /// The event of the next connection that ends.
    pub(super) fn event(&self) -> ProxyEvent {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    /// The names that were looked up so far.
    pub(super) fn lookups(&self) -> Vec<String> {
        self.names.lookups.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).unwrap();
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended
                .expect("the proxy does not panic")
                .expect("the proxy ends without an error");
        }
    }
}

struct Recorder(Mutex<Sender<ProxyEvent>>);

impl ProxyObserver for Recorder {
    fn on_event(&self, event: ProxyEvent) {
        let _ = self.0.lock().unwrap().send(event);
    }
}

/// Stands for DNS. A name that is not known leads to `otherwise`: an attacker's name would.
#[derive(Default)]
pub(super) struct Names {
    /// Answers in turn; the last one stays.
    known: HashMap<String, Mutex<Vec<Vec<SocketAddr>>>>,
    otherwise: Option<SocketAddr>,
    lookups: Mutex<Vec<String>>,
}

impl Names {
    pub(super) fn lead(mut self, name: &str, to: &[SocketAddr]) -> Self {
        self.known
            .entry(name.to_owned())
            .or_default()
            .get_mut()
            .unwrap()
            .push(to.to_vec());
        self
    }

    pub(super) fn others_lead(mut self, to: SocketAddr) -> Self {
        self.otherwise = Some(to);
        self
    }
}

impl Resolver for Names {
    fn resolve(&self, name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        self.lookups.lock().unwrap().push(name.to_owned());
        if let Some(answers) = self.known.get(name) {
            let mut answers = answers.lock().unwrap();
            return Ok(if answers.len() > 1 {
                answers.remove(0)
            } else {
                answers[0].clone()
            });
        }
        let unknown = || io::Error::other("name or service not known");
        self.otherwise
            .map(|address| vec![address])
            .ok_or_else(unknown)
    }
}

/// A server on a loopback address that notes who connects.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
    peers: Receiver<SocketAddr>,
}

impl Server {
    /// Runs `handler` in a thread for each connection.
    pub(super) fn start(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let (sender, peers) = channel();
        let accepting = listener.clone();
        let handler = Arc::new(handler);
        let thread = thread::spawn(move || {
            while let Ok((stream, peer)) = accepting.accept() {
                let _ = sender.send(peer);
                let handler = handler.clone();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                thread::Builder::new()
                    .stack_size(128 * 1024)
                    .spawn(move || handler(stream))
                    .unwrap();
            }
        });
        Self {
            address,
            listener,
            thread: Some(thread),
            peers,
        }
    }

    /// A server that answers each request with this body.
    pub(super) fn http(body: &'static str) -> Self {
        Self::start(move |mut stream| {
            read_head(&mut stream);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        })
    }

    /// A server that hands what it received, up to the end, to the test.
    pub(super) fn recorder(answer: &'static str) -> (Self, Receiver<Vec<u8>>) {
        let (sender, received) = channel();
        let sender = Mutex::new(sender);
        let server = Self::start(move |mut stream| {
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            let _ = sender.lock().unwrap().send(bytes);
        });
        (server, received)
    }

    /// A server that sends back what it gets.
    pub(super) fn echo() -> Self {
        Self::start(|mut stream| {
            let mut sink = stream.try_clone().unwrap();
            let _ = io::copy(&mut stream, &mut sink);
            let _ = sink.shutdown(Shutdown::Write);
        })
    }

    /// Entry that lets a name lead here, and the address itself be asked for.
    pub(super) fn entry(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Asserts that nobody but this function has connected. Connections are accepted in order,
    /// so whoever came before is seen before.
    pub(super) fn expect_untouched(&self, attempt: &str) {
        let own = TcpStream::connect(self.address).unwrap();
        let first = self.peers.recv_timeout(PATIENCE).unwrap();
        assert_eq!(
            first,
            own.local_addr().unwrap(),
            "a connection came through: {attempt}"
        );
    }

    /// Connections made so far.
    pub(super) fn connections(&self) -> usize {
        self.peers.try_iter().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).unwrap();
        let _ = self.thread.take().unwrap().join();
    }
}

/// Reads up to the empty line, byte by byte, so that nothing behind it is taken.
pub(super) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads to the end; a reset counts as one.
pub(super) fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        Ok(_) | Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// The status code of an answer.
pub(super) fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

/// Owned entries for [`Proxy::start`].
pub(super) fn entries(entries: &[&str]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}
