//! Host and port as a client or a user writes them, brought to one form.
//!
//! Everything that could be read in two ways is refused here, so that what is compared with the
//! allow-list is what is dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest host name in DNS, without the final dot.
const NAME_LEN_MAX: usize = 253;
/// Longest part of a host name between two dots.
const LABEL_LEN_MAX: usize = 63;

/// A server: where it is and on which port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Name or address.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
}

/// A host in its one normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name that has to be resolved.
    Name(HostName),
    /// An address. IPv4 addresses mapped into IPv6 are kept as IPv4.
    Address(IpAddr),
}

/// A DNS name: ASCII, lower case, no final dot, and nothing a resolver could read as an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(String);

/// Why a text is not taken as host and port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// There is no host.
    #[error("has no host")]
    Empty,
    /// User name or password before the host.
    #[error("has a user name before the host")]
    UserInfo,
    /// Letters outside ASCII.
    #[error("has letters outside ASCII; write the name in its `xn--` form")]
    NotAscii,
    /// A byte that no host name has.
    #[error("has the character {0:?}, which no host name has")]
    Character(char),
    /// Longer than DNS allows.
    #[error("is longer than a host name can be")]
    TooLong,
    /// An empty label, or one with a hyphen at its edge.
    #[error("is not a well-formed host name")]
    Label,
    /// A number that resolvers read as an address in different ways.
    #[error("is a number but not a plain address such as `192.0.2.1`")]
    NumericHost,
    /// Brackets without an IPv6 address, or such an address without brackets.
    #[error("is not an IPv6 address in brackets, such as `[2001:db8::1]`")]
    Ipv6,
    /// No number from 1 to 65535 after the colon.
    #[error("has no valid port after the colon")]
    Port,
    /// A port is needed and absent.
    #[error("has no port")]
    MissingPort,
}

impl Authority {
    /// Reads `host:port`; without a port, `default_port` is taken.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text; a missing port without a default is an error too.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, AuthorityError> {
        let (host, port) = parse_parts(text)?;
        let port = port.or(default_port).ok_or(AuthorityError::MissingPort)?;
        Ok(Self { host, port })
    }

    /// What to add to the allow-list so that this server is allowed.
    pub fn allow_entry(&self) -> String {
        let is_localhost = matches!(&self.host, Host::Name(name) if name.is_localhost());
        if matches!(self.port, 80 | 443) && !is_localhost {
            self.host.to_string()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Host {
    /// Reads a host without a port; an IPv6 address stands in brackets.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(AuthorityError::Ipv6)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| AuthorityError::Ipv6)?;
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = normalize_name(text)?;
        if ends_in_number(&name) {
            // `127.1`, `0x7f.1` and `2130706433` are addresses to some resolvers and names to
            // others; only the form that all read alike is taken.
            let address: Ipv4Addr = name.parse().map_err(|_| AuthorityError::NumericHost)?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Ok(Self::Name(HostName(name)))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.0),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl HostName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the one name that always means this machine.
    pub(super) fn is_localhost(&self) -> bool {
        self.0 == "localhost"
    }
}

/// Splits `host` or `host:port`, both checked.
pub(super) fn parse_parts(text: &str) -> Result<(Host, Option<u16>), AuthorityError> {
    if text.contains('@') {
        return Err(AuthorityError::UserInfo);
    }
    let (host, port) = split_port(text)?;
    let port = port.map(parse_port).transpose()?;
    Ok((Host::parse(host)?, port))
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(AuthorityError::Ipv6)? + 1;
        let (host, rest) = text.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AuthorityError::Ipv6),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err(AuthorityError::Ipv6),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    // `parse` alone would take `+80`.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(AuthorityError::Port),
        Ok(port) => Ok(port),
    }
}

fn normalize_name(text: &str) -> Result<String, AuthorityError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(AuthorityError::Empty);
    }
    if !name.is_ascii() {
        return Err(AuthorityError::NotAscii);
    }
    if name.len() > NAME_LEN_MAX {
        return Err(AuthorityError::TooLong);
    }
    let foreign = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.');
    if let Some(character) = name.chars().find(foreign) {
        return Err(AuthorityError::Character(character));
    }
    if !name.split('.').all(is_label) {
        return Err(AuthorityError::Label);
    }
    Ok(name.to_ascii_lowercase())
}

fn is_label(label: &str) -> bool {
    let edge = label.starts_with('-') || label.ends_with('-');
    !label.is_empty() && label.len() <= LABEL_LEN_MAX && !edge
}

/// Whether the last label is a number, which makes the whole name an address to URL parsers.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> AuthorityError {
        Authority::parse(text, Some(80)).expect_err(text)
    }

    #[test]
    fn names_come_in_one_form() {
        for text in ["Example.COM:443", "example.com.:443", "EXAMPLE.com:0443"] {
            let authority = Authority::parse(text, None).unwrap();
            assert_eq!(authority.to_string(), "example.com:443");
        }
        assert_eq!(
            Authority::parse("xn--bcher-kva.example", Some(80))
                .unwrap()
                .port,
            80
        );
        assert_eq!(
            Authority::parse("a_b.example", None),
            Err(AuthorityError::MissingPort)
        );
    }

    #[test]
    fn addresses_are_read_strictly() {
        let v4 = |text: &str| Authority::parse(text, Some(80)).unwrap().to_string();
        assert_eq!(v4("127.0.0.1"), "127.0.0.1:80");
        assert_eq!(v4("[::1]:8080"), "[::1]:8080");
        assert_eq!(v4("[::ffff:127.0.0.1]"), "127.0.0.1:80");
        for text in [
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "127.1",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "127.0.0.0x1",
            "256.1.1.1",
            "0x",
            "example.1",
        ] {
            assert_eq!(error(text), AuthorityError::NumericHost, "{text}");
        }
        for text in [
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%25lo]",
            "[127.0.0.1]",
            "[]",
            "a:b:c",
        ] {
            assert_eq!(error(text), AuthorityError::Ipv6, "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(error(""), AuthorityError::Empty);
        assert_eq!(error("."), AuthorityError::Empty);
        assert_eq!(error("good.example@evil.example"), AuthorityError::UserInfo);
        assert_eq!(error("user:word@evil.example:80"), AuthorityError::UserInfo);
        assert_eq!(error("bücher.example"), AuthorityError::NotAscii);
        assert_eq!(
            error("good.example\0.evil.example"),
            AuthorityError::Character('\0')
        );
        assert_eq!(error("good.example\r\nx"), AuthorityError::Character('\r'));
        assert_eq!(error("good.example evil"), AuthorityError::Character(' '));
        assert_eq!(error("good.example%2eevil"), AuthorityError::Character('%'));
        assert_eq!(error("good.example\\evil"), AuthorityError::Character('\\'));
        assert_eq!(error("good.example.."), AuthorityError::Label);
        assert_eq!(error("-good.example"), AuthorityError::Label);
        assert_eq!(error(&"a".repeat(64)), AuthorityError::Label);
        assert_eq!(error(&"a.".repeat(200)), AuthorityError::TooLong);
        for text in [
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a: 80",
            "a:80x",
            "a:99999999999",
        ] {
            assert_eq!(error(text), AuthorityError::Port, "{text}");
        }
    }
}
