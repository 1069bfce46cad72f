//! Which servers an exec may reach.
//!
//! Entries are `example.com` (that host), `*.example.com` (every name below it, not itself), an
//! address such as `192.0.2.1` or `[2001:db8::1]`, and `localhost:8080`. Each may end in `:port`;
//! without one, ports 80 and 443 are meant.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::{InternalKind, internal_kind, is_own_address};
use super::authority::{Authority, AuthorityError, Host, parse_parts};

/// The servers an exec may reach. An empty list allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    One(Host),
    /// Names that end in this text, which starts with a dot.
    Below(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// 80 and 443.
    Web,
    One(u16),
}

/// Why an entry of an allow-list is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allow-list entry {entry:?} {problem}")]
pub struct AllowListError {
    /// The entry as it was given.
    pub entry: String,
    /// What is wrong with it.
    pub problem: EntryProblem,
}

/// What is wrong with an entry of an allow-list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// `https://…`.
    #[error("has a scheme; write the host alone, such as `example.com`")]
    Scheme,
    /// A path or an address range.
    #[error("has a `/`; paths and address ranges cannot be allowed, only whole hosts")]
    Path,
    /// A bare `*`.
    #[error("would allow every host; ask for the network of the host instead")]
    Everything,
    /// A `*` that is not the whole first label.
    #[error("has a `*` that does not stand alone at the front, as in `*.example.com`")]
    Wildcard,
    /// `localhost` without a port, or a name below it.
    #[error("must name one port of this machine, as in `localhost:8080`")]
    Localhost,
    /// Not a host.
    #[error("{0}")]
    Host(#[from] AuthorityError),
}

/// Whether a server may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allowed,
    /// It may not.
    Refused(Refusal),
}

/// Why a server may not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No entry of the allow-list matches.
    NotListed,
    /// The name is allowed, but leads into the host or its network.
    InternalAddress {
        /// Where the name leads to.
        address: IpAddr,
        /// What is there.
        kind: InternalKind,
    },
    /// The tunnel's TLS handshake names another server.
    TlsNameDiffers {
        /// The server it names.
        found: String,
    },
    /// The tunnel's TLS handshake names no server.
    TlsNameMissing,
    /// What the tunnel's client sent to a TLS port is not a TLS handshake.
    NotTls {
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl AllowList {
    /// Reads the entries of an allow-list.
    ///
    /// # Errors
    ///
    /// Returns the first entry that is not understood and why.
    pub fn parse(entries: &[String]) -> Result<Self, AllowListError> {
        let parse = |text: &String| {
            Entry::parse(text).map_err(|problem| AllowListError {
                entry: text.clone(),
                problem,
            })
        };
        Ok(Self {
            entries: entries.iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// Whether this server is on the list. Where a name leads to is checked by
    /// [`allows_address`](Self::allows_address).
    pub fn allows(&self, authority: &Authority) -> Decision {
        if self.entries.iter().any(|entry| entry.matches(authority)) {
            Decision::Allowed
        } else {
            Decision::Refused(Refusal::NotListed)
        }
    }

    /// Whether an allowed name may lead to this address: it belongs to the internet, or the list
    /// names it (`localhost` names the loopback addresses).
    pub fn allows_address(&self, address: SocketAddr) -> Decision {
        let ip = address.ip().to_canonical();
        let kind = match internal_kind(ip) {
            Some(kind) => kind,
            None if is_own_address(ip) => InternalKind::OwnHost,
            None => return Decision::Allowed,
        };
        let literal = Authority {
            host: Host::Address(ip),
            port: address.port(),
        };
        let by_localhost = ip.is_loopback() && self.allows_localhost(address.port());
        if by_localhost || self.allows(&literal) == Decision::Allowed {
            return Decision::Allowed;
        }
        Decision::Refused(Refusal::InternalAddress { address: ip, kind })
    }

    /// Whether some entry is about this very host, on any port.
    pub(super) fn names(&self, host: &Host) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.hosts == Hosts::One(host.clone()))
    }

    fn allows_localhost(&self, port: u16) -> bool {
        let is_localhost =
            |hosts: &Hosts| matches!(hosts, Hosts::One(Host::Name(name)) if name.is_localhost());
        self.entries
            .iter()
            .any(|entry| is_localhost(&entry.hosts) && entry.ports.contain(port))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, EntryProblem> {
        if text.contains("://") {
            return Err(EntryProblem::Scheme);
        }
        if text.contains('/') {
            return Err(EntryProblem::Path);
        }
        if text == "*" || text.starts_with("*:") {
            return Err(EntryProblem::Everything);
        }
        let below = text.strip_prefix("*.");
        let rest = below.unwrap_or(text);
        if rest.contains('*') {
            return Err(EntryProblem::Wildcard);
        }
        let (host, port) = parse_parts(rest)?;
        let ports = port.map_or(Ports::Web, Ports::One);
        match (host, below) {
            (Host::Address(_), Some(_)) => Err(EntryProblem::Wildcard),
            (Host::Name(name), Some(_)) if name.is_localhost() => Err(EntryProblem::Localhost),
            (Host::Name(name), _) if name.as_str().ends_with(".localhost") => {
                Err(EntryProblem::Localhost)
            }
            (Host::Name(name), None) if name.is_localhost() && port.is_none() => {
                Err(EntryProblem::Localhost)
            }
            (Host::Name(name), Some(_)) => Ok(Self {
                hosts: Hosts::Below(format!(".{}", name.as_str())),
                ports,
            }),
            (host, None) => Ok(Self {
                hosts: Hosts::One(host),
                ports,
            }),
        }
    }

    fn matches(&self, authority: &Authority) -> bool {
        let host_matches = match (&self.hosts, &authority.host) {
            (Hosts::One(listed), host) => listed == host,
            (Hosts::Below(suffix), Host::Name(name)) => name.as_str().ends_with(suffix),
            (Hosts::Below(_), Host::Address(_)) => false,
        };
        host_matches && self.ports.contain(authority.port)
    }
}

impl Ports {
    fn contain(self, port: u16) -> bool {
        match self {
            Self::Web => matches!(port, 80 | 443),
            Self::One(listed) => listed == port,
        }
    }
}

impl Refusal {
    /// What happened and what can be done about it, on one line of printable ASCII.
    pub fn message(&self, authority: &Authority) -> String {
        match self {
            Self::NotListed => format!(
                "cogo: network access to \"{authority}\" is not allowed; add --net-allow {}",
                authority.allow_entry()
            ),
            Self::InternalAddress { address, kind } => {
                let literal = Authority {
                    host: Host::Address(*address),
                    port: authority.port,
                };
                format!(
                    "cogo: network access to \"{authority}\" is not allowed: the name leads to \
                     {address}, {kind}; if that is meant, add --net-allow {}",
                    literal.allow_entry()
                )
            }
            Self::TlsNameDiffers { .. } | Self::TlsNameMissing | Self::NotTls { .. } => {
                format!("cogo: tunnel to \"{authority}\" closed: {self}")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("not on the allow-list"),
            Self::InternalAddress { address, kind } => write!(f, "leads to {address}, {kind}"),
            Self::TlsNameDiffers { found } => {
                write!(f, "the tls handshake names the server {found:?}")
            }
            Self::TlsNameMissing => f.write_str("the tls handshake names no server"),
            Self::NotTls { detail } => write!(f, "no tls handshake was sent: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        AllowList::parse(&entries).unwrap()
    }

    fn allows(list: &AllowList, text: &str) -> bool {
        list.allows(&Authority::parse(text, None).unwrap()) == Decision::Allowed
    }

    fn problem(entry: &str) -> EntryProblem {
        AllowList::parse(&[entry.to_owned()])
            .expect_err(entry)
            .problem
    }

    #[test]
    fn a_host_is_allowed_on_the_web_ports_only() {
        let list = list(&["Example.com."]);
        for text in ["example.com:80", "EXAMPLE.com:443", "example.com.:443"] {
            assert!(allows(&list, text), "{text}");
        }
        for text in [
            "example.com:22",
            "example.com:8443",
            "www.example.com:443",
            "example.com.evil.org:443",
            "badexample.com:443",
            "com:443",
            "xample.com:443",
        ] {
            assert!(!allows(&list, text), "{text}");
        }
    }

    #[test]
    fn a_port_in_an_entry_replaces_the_web_ports() {
        let list = list(&["example.com:8443", "[::1]:8080", "192.0.2.1"]);
        assert!(allows(&list, "example.com:8443"));
        assert!(!allows(&list, "example.com:443"));
        assert!(allows(&list, "[::1]:8080"));
        assert!(!allows(&list, "[::1]:80"));
        assert!(allows(&list, "192.0.2.1:80"));
        assert!(!allows(&list, "192.0.2.2:80"));
    }

    #[test]
    fn a_wildcard_covers_subdomains_and_not_the_apex() {
        let list = list(&["*.example.com"]);
        assert!(allows(&list, "a.example.com:443"));
        assert!(allows(&list, "a.b.example.com:80"));
        for text in ["example.com:443", "badexample.com:443", "a.example.com:22"] {
            assert!(!allows(&list, text), "{text}");
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(!allows(&AllowList::default(), "example.com:443"));
        assert!(!allows(&AllowList::default(), "localhost:80"));
    }

    #[test]
    fn entries_that_mean_too_much_or_nothing_are_refused_with_a_hint() {
        assert_eq!(problem("*"), EntryProblem::Everything);
        assert_eq!(problem("*:443"), EntryProblem::Everything);
        assert_eq!(problem("https://example.com"), EntryProblem::Scheme);
        assert_eq!(problem("example.com/path"), EntryProblem::Path);
        assert_eq!(problem("10.0.0.0/8"), EntryProblem::Path);
        for entry in [
            "ex*mple.com",
            "*example.com",
            "*.*.com",
            "a.*.com",
            "*.10.0.0.1",
        ] {
            assert_eq!(problem(entry), EntryProblem::Wildcard, "{entry}");
        }
        for entry in ["localhost", "*.localhost", "a.localhost:80"] {
            assert_eq!(problem(entry), EntryProblem::Localhost, "{entry}");
        }
        assert_eq!(problem(""), EntryProblem::Host(AuthorityError::Empty));
        assert_eq!(problem("*."), EntryProblem::Host(AuthorityError::Empty));
        assert_eq!(
            problem("bücher.de"),
            EntryProblem::Host(AuthorityError::NotAscii)
        );
        assert_eq!(
            problem("a b"),
            EntryProblem::Host(AuthorityError::Character(' '))
        );
        assert_eq!(
            problem("a,b"),
            EntryProblem::Host(AuthorityError::Character(','))
        );
        assert_eq!(problem("::1"), EntryProblem::Host(AuthorityError::Ipv6));
        assert_eq!(
            problem("2130706433"),
            EntryProblem::Host(AuthorityError::NumericHost)
        );
        assert_eq!(
            problem("u@example.com"),
            EntryProblem::Host(AuthorityError::UserInfo)
        );
        let error = AllowList::parse(&["*".to_owned()]).unwrap_err().to_string();
        assert_eq!(
            error,
            "allow-list entry \"*\" would allow every host; ask for the network of the host instead"
        );
    }

    #[test]
    fn internal_addresses_have_to_be_named() {
        let list = list(&["example.com", "10.0.0.5", "localhost:8080"]);
        let allowed = |text: &str| list.allows_address(text.parse().unwrap()) == Decision::Allowed;
        for text in [
            "1.1.1.1:443",
            "10.0.0.5:443",
            "[::ffff:10.0.0.5]:80",
            "127.0.0.1:8080",
            "[::1]:8080",
        ] {
            assert!(allowed(text), "{text}");
        }
        for text in [
            "10.0.0.6:443",
            "10.0.0.5:22",
            "127.0.0.1:80",
            "[::1]:80",
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "0.0.0.0:8080",
        ] {
            assert!(!allowed(text), "{text}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let message =
            |text: &str| Refusal::NotListed.message(&Authority::parse(text, None).unwrap());
        assert_eq!(
            message("evil.com:443"),
            "cogo: network access to \"evil.com:443\" is not allowed; add --net-allow evil.com"
        );
        assert!(message("evil.com:22").ends_with("add --net-allow evil.com:22"));
        assert!(message("localhost:80").ends_with("add --net-allow localhost:80"));
    }
}
