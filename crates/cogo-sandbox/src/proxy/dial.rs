//! From a server's name to a connection: resolve once, check every address, dial what was checked.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::allow_list::{AllowList, Decision, Refusal};
use super::authority::{Authority, Host};

/// Finds the addresses of a name.
pub trait Resolver: Sync {
    /// Resolves a name. May block; what it returns is checked before it is dialled.
    ///
    /// # Errors
    ///
    /// Says why there is no address.
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Resolves as every other program on the host does (`getaddrinfo`).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((name, port).to_socket_addrs()?.collect())
    }
}

/// Why there is no connection to a server.
#[derive(Debug)]
pub(super) enum DialError {
    /// There must not be one.
    Refused(Refusal),
    /// Its name could not be resolved.
    Resolve(io::Error),
    /// It could not be reached.
    Connect(io::Error),
}

/// Connects to a server if the list allows it.
pub(super) fn dial(
    authority: &Authority,
    allow: &AllowList,
    resolver: &dyn Resolver,
    timeout: Duration,
) -> Result<TcpStream, DialError> {
    // Checked before the name is resolved: a query for a name is a way out too.
    if let Decision::Refused(refusal) = allow.allows(authority) {
        return Err(DialError::Refused(refusal));
    }
    let addresses = addresses(authority, allow, resolver)?;
    connect(&addresses, timeout).map_err(DialError::Connect)
}

fn addresses(
    authority: &Authority,
    allow: &AllowList,
    resolver: &dyn Resolver,
) -> Result<Vec<SocketAddr>, DialError> {
    let name = match &authority.host {
        // The list names this very address.
        Host::Address(address) => return Ok(vec![(*address, authority.port).into()]),
        Host::Name(name) if name.is_localhost() => {
            return Ok(vec![
                ([127, 0, 0, 1], authority.port).into(),
                ([0, 0, 0, 0, 0, 0, 0, 1], authority.port).into(),
            ]);
        }
        Host::Name(name) => name.as_str(),
    };
    let found = resolver
        .resolve(name, authority.port)
        .map_err(DialError::Resolve)?;
    let mut allowed = Vec::with_capacity(found.len());
    let mut refusal = None;
    for address in found {
        match allow.allows_address(address) {
            Decision::Allowed => allowed.push(address),
            Decision::Refused(reason) => refusal = Some(reason),
        }
    }
    match refusal {
        Some(refusal) if allowed.is_empty() => Err(DialError::Refused(refusal)),
        Some(_) | None => Ok(allowed),
    }
}

/// Tries the addresses in order within the timeout.
fn connect(addresses: &[SocketAddr], timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        // An address that never answers leaves its share of the time to the others.
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}
