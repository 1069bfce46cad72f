//! The filtering HTTP proxy that is the only way out for execs with a domain allow-list.
//!
//! The exec has a network namespace with nothing but a loopback. Its init makes a listening
//! socket there and hands it out; [`serve`] runs in a process of its own in the host's network
//! namespace, accepts on that socket and dials out. So a program that ignores the proxy reaches
//! nothing, and names are resolved here alone.
//!
//! Each connection carries one request: plain HTTP in absolute form, which is written anew, or a
//! CONNECT tunnel. A name is checked against the [`AllowList`], resolved once, and the addresses
//! that were checked are the ones dialled. A tunnel to port 443 has to begin with a TLS handshake
//! that names the tunnel's host.
//!
//! What it cannot see, since it decrypts nothing: the `Host` inside a TLS connection, the inner
//! name of an encrypted client hello, and what a tunnel to another port carries. An allowed
//! server that passes messages on is a way out, as is the name server of an allowed wildcard.
//!
//! Threads are used here, one per connection: the process is separate from the supervisor, and
//! name resolution blocks. There is no global state, so a forked child can call [`serve`].

mod address;
mod allow_list;
mod authority;
mod body;
mod client_hello;
mod connection;
mod dial;
mod event;
mod relay;
mod request;
mod response;
mod stream;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

pub use address::InternalKind;
pub use allow_list::{AllowList, AllowListError, Decision, EntryProblem, Refusal};
pub use authority::{Authority, AuthorityError, Host, HostName};
pub use dial::{Resolver, SystemResolver};
pub use event::{ProxyEvent, ProxyObserver};

use connection::Connection;

/// Stack of the thread of one connection.
const STACK_BYTES: usize = 128 * 1024;
/// Pause after the system ran out of descriptors or memory, unless a connection ends first.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How the proxy serves.
pub struct ProxyOptions<'a> {
    /// Connections served at once; more wait in the listener's backlog. Default: 256.
    pub connections_max: usize,
    /// Time for the head of a request, and for a tunnel's TLS handshake. Default: 10 s.
    pub head_timeout: Duration,
    /// Time to connect to a server, over all its addresses. Default: 10 s.
    pub connect_timeout: Duration,
    /// Time without a byte either way after which a connection is closed. Default: 10 min.
    pub idle_timeout: Duration,
    /// Finds the addresses of names.
    pub resolver: &'a dyn Resolver,
    /// Hears of each connection's end.
    pub observer: &'a dyn ProxyObserver,
}

impl<'a> ProxyOptions<'a> {
    /// The defaults, with the host's own name resolution.
    pub fn new(observer: &'a dyn ProxyObserver) -> Self {
        Self {
            connections_max: 256,
            head_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(10),
            resolver: &SystemResolver,
            observer,
        }
    }
}

/// The variables that lead a program to the proxy on `127.0.0.1:port`.
///
/// `ALL_PROXY` is among them, so that other protocols get a refusal with a reason and not a name
/// that does not resolve. The program's own loopback stays direct, except for what the allow-list
/// names: that is the loopback of the host.
pub fn proxy_env(port: u16, allow: &AllowList) -> Vec<(String, String)> {
    let url = format!("http://127.0.0.1:{port}");
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    let direct: Vec<&str> = loopback
        .into_iter()
        .filter(|host| Host::parse(host).is_ok_and(|host| !allow.names(&host)))
        .map(|host| host.trim_matches(['[', ']']))
        .collect();
    let direct = direct.join(",");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut variables = Vec::with_capacity(9);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        variables.push(pair(name, &url));
        variables.push(pair(&name.to_ascii_lowercase(), &url));
    }
    variables.push(pair("NO_PROXY", &direct));
    variables.push(pair("no_proxy", &direct));
    // Node's own client looks at the others only when told to.
    variables.push(pair("NODE_USE_ENV_PROXY", "1"));
    variables
}

/// Serves clients until the listener is shut down, then waits for those that are still served.
///
/// # Errors
///
/// Returns the error that makes further accepting impossible.
pub fn serve(
    listener: &TcpListener,
    allow: &AllowList,
    options: &ProxyOptions<'_>,
) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let slots = Slots::new(options.connections_max);
    thread::scope(|scope| {
        loop {
            let slot = slots.take();
            let client = match accept(listener)? {
                Accepted::Client(client) => client,
                Accepted::Nothing => continue,
                Accepted::Shortage => {
                    drop(slot);
                    slots.wait_for_release(SHORTAGE_PAUSE);
                    continue;
                }
                Accepted::End => return Ok(()),
            };
            let serve = move || {
                Connection {
                    client: &client,
                    allow,
                    options,
                }
                .serve();
                // The slot stands for the client's descriptor too.
                drop(client);
                drop(slot);
            };
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn_scoped(scope, serve) {
                let reason = format!("no thread could be started: {error}");
                options.observer.on_event(ProxyEvent::Dropped { reason });
            }
        }
    })
}

enum Accepted {
    Client(TcpStream),
    /// The client left before it was accepted.
    Nothing,
    /// The system is out of descriptors or memory.
    Shortage,
    /// The listener was shut down.
    End,
}

fn accept(listener: &TcpListener) -> io::Result<Accepted> {
    let error = match listener.accept() {
        Ok((client, _)) => return Ok(Accepted::Client(client)),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::EINVAL) => Ok(Accepted::End),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Ok(Accepted::Shortage),
        Some(libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT | libc::EPERM) => {
            Err(error)
        }
        // Linux passes the accepted connection's own errors on; the next one may be fine.
        Some(_) | None => Ok(Accepted::Nothing),
    }
}

/// Bounds how many connections are served at once.
struct Slots {
    free: Mutex<usize>,
    released: Condvar,
}

/// One connection's place; free again when dropped.
struct Slot<'s>(&'s Slots);

impl Slots {
    fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            released: Condvar::new(),
        }
    }

    fn take(&self) -> Slot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .released
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(self)
    }

    fn wait_for_release(&self, timeout: Duration) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_timeout(free, timeout));
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.released.notify_one();
    }
}
