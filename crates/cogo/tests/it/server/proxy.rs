//! A wire between a worker and its manager that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes connections on, until it is cut.
pub(crate) struct Proxy {
    address: SocketAddr,
    wire: Arc<Mutex<Wire>>,
}

#[derive(Default)]
struct Wire {
    cut: bool,
    open: Vec<TcpStream>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            wire: Arc::default(),
        };
        let wire = Arc::clone(&proxy.wire);
        thread::spawn(move || {
            for client in listener.incoming() {
                pass_on(&wire, &client.unwrap(), server);
            }
        });
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections, and every new one.
    pub(crate) fn cut(&self) {
        let mut wire = self.wire.lock().unwrap();
        wire.cut = true;
        for stream in wire.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets new connections through.
    pub(crate) fn mend(&self) {
        self.wire.lock().unwrap().cut = false;
    }
}

fn pass_on(wire: &Mutex<Wire>, client: &TcpStream, server: SocketAddr) {
    let mut wire = wire.lock().unwrap();
    if wire.cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server) else {
        return;
    };
    for (from, to) in [(client, &server), (&server, client)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        wire.open.push(from.try_clone().unwrap());
        thread::spawn(move || copy(from, to));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len) = from.read(&mut buffer) {
        if len == 0 || to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
