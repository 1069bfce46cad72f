//! Which addresses belong to the host or its own network, and not to the internet.
//!
//! A name that leads to such an address is refused: its owner could point it at the host's own
//! services or at a cloud's metadata service. IPv6 forms that carry an IPv4 address count as
//! that address. Not seen: a NAT64 prefix of the site's own, and an address translated to the
//! host outside of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// What kind of address it is that does not belong to the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalKind {
    /// The machine itself.
    Loopback,
    /// A private network (RFC 1918, unique local).
    Private,
    /// The local link; cloud metadata services live there.
    LinkLocal,
    /// Shared space of a provider (RFC 6598).
    CarrierNat,
    /// Multicast or broadcast.
    Multicast,
    /// `0.0.0.0` and its like, which the kernel takes for the machine itself.
    Unspecified,
    /// Reserved for documentation, tests, tunnels or the future.
    Reserved,
    /// An address of this host, whatever its range.
    OwnHost,
}

impl fmt::Display for InternalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::CarrierNat => "a provider-internal address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "an unspecified address",
            Self::Reserved => "a reserved address",
            Self::OwnHost => "an address of this host",
        })
    }
}

/// The kind of an address that does not belong to the internet; `None` for all others.
pub(super) fn internal_kind(address: IpAddr) -> Option<InternalKind> {
    match address {
        IpAddr::V4(address) => internal_kind_v4(address),
        IpAddr::V6(address) => internal_kind_v6(address),
    }
}

fn internal_kind_v4(address: Ipv4Addr) -> Option<InternalKind> {
    match address.octets() {
        [0, ..] => Some(InternalKind::Unspecified),
        [127, ..] => Some(InternalKind::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(InternalKind::Private),
        [169, 254, ..] => Some(InternalKind::LinkLocal),
        [100, 64..=127, ..] => Some(InternalKind::CarrierNat),
        [224..=239, ..] | [255, 255, 255, 255] => Some(InternalKind::Multicast),
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Some(InternalKind::Reserved),
        _ => None,
    }
}

fn internal_kind_v6(address: Ipv6Addr) -> Option<InternalKind> {
    if let Some(carried) = carried_v4(address) {
        return internal_kind_v4(carried);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(InternalKind::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(InternalKind::Loopback),
        [0xfc00..=0xfdff, ..] => Some(InternalKind::Private),
        // `fec0::/10` was for sites and is treated like the link.
        [0xfe80..=0xfeff, ..] => Some(InternalKind::LinkLocal),
        [0xff00..=0xffff, ..] => Some(InternalKind::Multicast),
        // Protocol assignments (Teredo among them) and documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => {
            Some(InternalKind::Reserved)
        }
        [0x2000..=0x3fff, ..] => None,
        _ => Some(InternalKind::Reserved),
    }
}

/// The IPv4 address that a mapped, 6to4 or NAT64 address stands for.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

/// Whether the address is one of this host's own. Nothing is sent.
pub(super) fn is_own_address(address: IpAddr) -> bool {
    // The kernel lets a socket bind only to addresses of the host, unless
    // `net.ipv4.ip_nonlocal_bind` is set; an address that nobody has shows whether it is.
    let foreign: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    UdpSocket::bind((address, 0)).is_ok() && UdpSocket::bind((foreign, 0)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<InternalKind> {
        internal_kind(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_host_and_its_network_are_internal() {
        for (text, expected) in [
            ("127.0.0.1", InternalKind::Loopback),
            ("127.255.0.9", InternalKind::Loopback),
            ("::1", InternalKind::Loopback),
            ("0.0.0.0", InternalKind::Unspecified),
            ("0.1.2.3", InternalKind::Unspecified),
            ("::", InternalKind::Unspecified),
            ("10.1.2.3", InternalKind::Private),
            ("172.16.0.1", InternalKind::Private),
            ("172.31.255.255", InternalKind::Private),
            ("192.168.1.1", InternalKind::Private),
            ("fd00::1", InternalKind::Private),
            ("169.254.169.254", InternalKind::LinkLocal),
            ("fe80::1", InternalKind::LinkLocal),
            ("fd00:ec2::254", InternalKind::Private),
            ("100.64.0.1", InternalKind::CarrierNat),
            ("100.127.255.255", InternalKind::CarrierNat),
            ("224.0.0.1", InternalKind::Multicast),
            ("255.255.255.255", InternalKind::Multicast),
            ("ff02::1", InternalKind::Multicast),
            ("240.0.0.1", InternalKind::Reserved),
            ("198.18.0.1", InternalKind::Reserved),
            ("192.0.2.1", InternalKind::Reserved),
            ("::127.0.0.1", InternalKind::Reserved),
            ("2001::1", InternalKind::Reserved),
            ("2001:db8::1", InternalKind::Reserved),
            ("64:ff9b:1::1", InternalKind::Reserved),
        ] {
            assert_eq!(kind(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn ipv6_forms_of_internal_ipv4_are_internal() {
        for text in [
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::",
            "2002:0a00:0001::5",
        ] {
            assert_eq!(kind(text), Some(InternalKind::Private), "{text}");
        }
        assert_eq!(
            kind("::ffff:169.254.169.254"),
            Some(InternalKind::LinkLocal)
        );
        assert_eq!(kind("64:ff9b::127.0.0.1"), Some(InternalKind::Loopback));
    }

    #[test]
    fn the_internet_is_not_internal() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "169.253.0.1",
            "192.167.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own_address("127.0.0.1".parse().unwrap()));
        assert!(is_own_address("127.9.9.9".parse().unwrap()));
        assert!(!is_own_address("1.1.1.1".parse().unwrap()));
        assert!(!is_own_address("2606:4700::1111".parse().unwrap()));
    }
}
