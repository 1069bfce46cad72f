//! Sockets, from the tables in `/proc/<pid>/net`.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::proc_file;
use super::{Channel, Target};

const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const CLOSE_WAIT: u8 = 8;
const LISTEN: u8 = 10;

/// Sockets that are remembered; beyond them all are forgotten.
const LISTENERS_MAX: usize = 256;

/// Whether something outside of the exec can be at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The exec's network is its own: whatever is connected is connected inside.
    Own,
    /// As above, save for a proxy at this port.
    OwnWithProxy(u16),
    /// The host's network.
    Host,
}

/// The sockets of an exec's network. A table is read when it is first needed: for those of TCP the
/// kernel walks through all of its hash table, which takes over a millisecond.
pub(super) struct Sockets {
    reach: Reach,
    table: HashMap<u64, Socket>,
    loaded: Vec<Protocol>,
    /// Sockets that were seen to wait for clients. They do so for as long as they are there.
    listeners: Listeners,
}

/// Sockets that wait for clients, remembered between looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    pub(super) inodes: HashSet<u64>,
    /// Whether it is enough to know that they are, without how many clients wait.
    pub(super) suffice: bool,
}

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Tcp6,
    Datagram,
    Unix,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Socket {
    Tcp(Tcp),
    /// Whatever arrives may come from anyone who has the address.
    Datagram,
    Unix {
        listens: bool,
        connected: bool,
    },
    /// Where a JVM answers questions about itself, once somebody like us asked one.
    Tools,
}

/// How the name of such a socket begins, in a private directory of the sandbox.
const JVM_TOOLS: &str = "/tmp/.java_pid";

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tcp {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    unread: u64,
}

impl Protocol {
    /// By the name that the kernel gives the socket behind a descriptor.
    fn of(pid: i32, descriptor: i32) -> Option<Self> {
        let mut name = [0_u8; 32];
        let path = format!("/proc/{pid}/fd/{descriptor}");
        let length = rustix::fs::getxattr(path, "system.sockprotoname", &mut name[..]).ok()?;
        let name = name[..length].split(|byte| *byte == 0).next()?;
        match name {
            b"TCP" => Some(Self::Tcp),
            b"TCPv6" => Some(Self::Tcp6),
            b"UDP" | b"UDPv6" => Some(Self::Datagram),
            name if name.starts_with(b"UNIX") => Some(Self::Unix),
            _ => None,
        }
    }
}

impl Sockets {
    pub(super) fn new(reach: Reach, listeners: Listeners) -> Self {
        Self {
            reach,
            table: HashMap::new(),
            loaded: Vec::new(),
            listeners,
        }
    }

    /// What is to be remembered for the next look.
    pub(super) fn into_listeners(mut self) -> Listeners {
        if self.listeners.inodes.len() > LISTENERS_MAX {
            self.listeners.inodes.clear();
        }
        self.listeners
    }

    /// Reads a table through a process of the exec, unless that was done.
    fn load(&mut self, pid: i32, protocol: Protocol) {
        if self.loaded.contains(&protocol) {
            return;
        }
        self.loaded.push(protocol);
        let read =
            |name: &str| proc_file::read(&format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        match protocol {
            Protocol::Tcp | Protocol::Tcp6 => {
                let text = read(if protocol == Protocol::Tcp {
                    "tcp"
                } else {
                    "tcp6"
                });
                let rows = text.lines().skip(1).filter_map(parse_tcp);
                let rows = rows.map(|(inode, tcp)| (inode, Socket::Tcp(tcp)));
                self.table.extend(rows);
            }
            Protocol::Datagram => {
                for name in ["udp", "udp6"] {
                    let text = read(name);
                    let rows = text.lines().skip(1).filter_map(parse_tcp);
                    let rows = rows.map(|(inode, _)| (inode, Socket::Datagram));
                    self.table.extend(rows);
                }
            }
            Protocol::Unix => {
                let text = read("unix");
                self.table
                    .extend(text.lines().skip(1).filter_map(parse_unix));
            }
        }
    }

    /// Reads what has to be known of a socket, and no more where the kernel names its protocol.
    fn find(&mut self, pid: i32, descriptor: i32, inode: u64) -> Option<Socket> {
        let all = [
            Protocol::Unix,
            Protocol::Tcp,
            Protocol::Tcp6,
            Protocol::Datagram,
        ];
        match Protocol::of(pid, descriptor) {
            Some(Protocol::Datagram) => return Some(Socket::Datagram),
            Some(protocol) => self.load(pid, protocol),
            None => all.iter().for_each(|protocol| self.load(pid, *protocol)),
        }
        let found = self.table.get(&inode).copied();
        if let Some(Socket::Tcp(tcp)) = found
            && tcp.state != LISTEN
        {
            // One side of a connection may use the other family's name for the same address.
            self.load(pid, Protocol::Tcp);
            self.load(pid, Protocol::Tcp6);
        }
        found
    }

    /// What a socket leads to. `holders` tells who inside has a descriptor of a socket.
    pub(super) fn target(
        &mut self,
        pid: i32,
        descriptor: i32,
        inode: u64,
        holders: impl FnMut(u64) -> Channel,
    ) -> Target {
        if self.listeners.suffice && self.listeners.inodes.contains(&inode) {
            return Target::Listener { waiting: 0 };
        }
        match self.find(pid, descriptor, inode) {
            Some(Socket::Tcp(tcp)) if tcp.state == LISTEN => {
                self.listeners.inodes.insert(inode);
                Target::Listener {
                    waiting: tcp.unread,
                }
            }
            Some(Socket::Tcp(tcp)) => self.tcp(tcp, inode, holders),
            // Its clients are tools, for which the program does nothing.
            Some(Socket::Tools) => Target::Event,
            Some(Socket::Unix { listens: true, .. }) => Target::Listener { waiting: 0 },
            Some(Socket::Unix {
                connected: true, ..
            }) => self.unix(inode, holders),
            Some(Socket::Datagram | Socket::Unix { .. }) | None => unknown(inode),
        }
    }

    fn tcp(&self, tcp: Tcp, inode: u64, mut holders: impl FnMut(u64) -> Channel) -> Target {
        let remote = Target::Remote {
            peer: match tcp.state {
                SYN_SENT => format!("{}, which does not answer", tcp.remote),
                _ => tcp.remote.to_string(),
            },
        };
        let peer = self.table.iter().find_map(|(other, socket)| match socket {
            Socket::Tcp(found) if found.local == tcp.remote && found.remote == tcp.local => {
                Some((*other, *found))
            }
            Socket::Tcp(_) | Socket::Datagram | Socket::Tools | Socket::Unix { .. } => None,
        });
        let is_connected = matches!(tcp.state, ESTABLISHED | CLOSE_WAIT);
        match (self.reach, peer) {
            (Reach::OwnWithProxy(port), _) if tcp.remote.port() == port => remote,
            (Reach::Own | Reach::OwnWithProxy(_), Some((other, found))) if is_connected => {
                connection(inode, holders(other), found.unread)
            }
            (Reach::Host, Some((other, found))) if is_connected => {
                let peer = holders(other);
                if peer.readers.is_empty() {
                    remote
                } else {
                    connection(inode, peer, found.unread)
                }
            }
            _ => remote,
        }
    }

    /// The kernel does not list who is connected to whom. Abstract names belong to the network,
    /// and no socket file of the host is shown inside; on the host's network, both ends of a
    /// pair are made at once and have numbers beside each other.
    fn unix(&self, inode: u64, mut holders: impl FnMut(u64) -> Channel) -> Target {
        let mut peer = Channel::default();
        for other in [inode.wrapping_sub(1), inode + 1] {
            if matches!(
                self.table.get(&other),
                Some(Socket::Unix {
                    connected: true,
                    ..
                })
            ) {
                let found = holders(other);
                if !found.readers.is_empty() {
                    peer = found;
                    break;
                }
            }
        }
        if peer.readers.is_empty() && self.reach == Reach::Host {
            return Target::Remote {
                peer: format!("unix socket {inode}"),
            };
        }
        connection(inode, peer, 0)
    }
}

fn connection(inode: u64, peer: Channel, unread: u64) -> Target {
    Target::Connection(Channel {
        inode,
        unread,
        ..peer
    })
}

fn unknown(inode: u64) -> Target {
    Target::Other {
        name: format!("socket {inode}"),
    }
}

/// `sl local remote st tx:rx tr:when retrnsmt uid timeout inode …`
fn parse_tcp(line: &str) -> Option<(u64, Tcp)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, unread) = fields.get(4)?.split_once(':')?;
    let tcp = Tcp {
        local: parse_address(fields.get(1)?)?,
        remote: parse_address(fields.get(2)?)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        unread: u64::from_str_radix(unread, 16).ok()?,
    };
    Some((fields.get(9)?.parse().ok()?, tcp))
}

/// An address is written as numbers of 32 bits in the machine's order. One family's view of
/// another's address is the same address.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| u32::from_str_radix(address.get(index * 8..index * 8 + 8)?, 16).ok();
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut bytes = [0_u8; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// `Num RefCount Protocol Flags Type St Inode [Path]`
fn parse_unix(line: &str) -> Option<(u64, Socket)> {
    const ACCEPTS: u32 = 1 << 16;
    const CONNECTED: u8 = 3;
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
    let state = u8::from_str_radix(fields.get(5)?, 16).ok()?;
    let socket = Socket::Unix {
        listens: flags & ACCEPTS != 0,
        connected: state == CONNECTED,
    };
    let is_for_tools = |path: &&str| path.starts_with(JVM_TOOLS);
    if flags & ACCEPTS != 0 && fields.get(7).is_some_and(is_for_tools) {
        return Some((fields.get(6)?.parse().ok()?, Socket::Tools));
    }
    Some((fields.get(6)?.parse().ok()?, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_rows() {
        let row = "   0: 0100007F:1F90 0100007F:D431 01 00000000:0000000C 00:00000000 00000000 \
                   0        0 5511 1 0000000000000000 20 4 30 10 -1";
        let (inode, tcp) = parse_tcp(row).unwrap();
        assert_eq!((inode, tcp.state, tcp.unread), (5511, ESTABLISHED, 12));
        assert_eq!(tcp.local, "127.0.0.1:8080".parse().unwrap());
        let mapped = parse_address("0000000000000000FFFF00000100007F:1F90").unwrap();
        assert_eq!(mapped, tcp.local);
    }

    #[test]
    fn unix_rows() {
        let listens = "0000000000000000: 00000002 00000000 00010000 0001 01 20 /run/x.sock";
        let pair = "0000000000000000: 00000003 00000000 00000000 0001 03 21";
        let expected = |listens, connected| Socket::Unix { listens, connected };
        assert_eq!(parse_unix(listens), Some((20, expected(true, false))));
        let tools = "0000000000000000: 00000002 00000000 00010000 0001 01 22 /tmp/.java_pid7.tmp";
        assert_eq!(parse_unix(tools), Some((22, Socket::Tools)));
        assert_eq!(parse_unix(pair), Some((21, expected(false, true))));
    }
}
