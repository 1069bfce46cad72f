//! Reads the server name out of the first message of a TLS client, without answering it.
//!
//! The message may come in any number of TLS records and reads. Only what is needed to find the
//! `server_name` extension is understood; what does not fit the grammar is refused.

/// Longest message read, with its record headers.
pub(super) const HELLO_BYTES_MAX: usize = 16 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const RECORD_PAYLOAD_MAX: usize = 1 << 14;
const MESSAGE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;

/// How far the message has come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// More bytes are needed.
    Incomplete,
    /// The whole message is there; it names this server, or none.
    Complete(Option<String>),
}

/// What does not fit the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAHello(pub(super) &'static str);

/// Looks for the server name in what a TLS client has sent so far.
pub(super) fn parse(bytes: &[u8]) -> Result<Hello, NotAHello> {
    match reassemble(bytes)? {
        Some(message) => Ok(Hello::Complete(server_name(&message)?)),
        None if bytes.len() >= HELLO_BYTES_MAX => Err(NotAHello("it is too long")),
        None => Ok(Hello::Incomplete),
    }
}

/// Joins the handshake message out of its records; `None` while it is not complete. The result
/// is the message's body, without type and length.
fn reassemble(bytes: &[u8]) -> Result<Option<Vec<u8>>, NotAHello> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let Some(&kind) = rest.first() {
        if kind != RECORD_HANDSHAKE || rest.get(1).is_some_and(|&major| major != 3) {
            return Err(NotAHello("the first bytes are not those of a handshake"));
        }
        let Some((header, payload)) = rest.split_at_checked(5) else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > RECORD_PAYLOAD_MAX {
            return Err(NotAHello("a record has an impossible length"));
        }
        let (payload, next) = payload.split_at(length.min(payload.len()));
        message.extend_from_slice(payload);
        rest = next;
        if let Some(body) = complete_body(&message)? {
            return Ok(Some(body));
        }
    }
    Ok(None)
}

fn complete_body(message: &[u8]) -> Result<Option<Vec<u8>>, NotAHello> {
    if message
        .first()
        .is_some_and(|&kind| kind != MESSAGE_CLIENT_HELLO)
    {
        return Err(NotAHello("the first message is not a client hello"));
    }
    let Some((header, body)) = message.split_at_checked(4) else {
        return Ok(None);
    };
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    if length > HELLO_BYTES_MAX {
        return Err(NotAHello("it is too long"));
    }
    match body.len().cmp(&length) {
        std::cmp::Ordering::Less => Ok(None),
        std::cmp::Ordering::Equal => Ok(Some(body.to_vec())),
        // A client has nothing more to say before the server answered.
        std::cmp::Ordering::Greater => Err(NotAHello("something follows the client hello")),
    }
}

/// Finds the one host name in a client hello.
fn server_name(body: &[u8]) -> Result<Option<String>, NotAHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?; // version, random
    reader.vector_u8()?; // session id
    reader.vector_u16()?; // cipher suites
    reader.vector_u8()?; // compression methods
    if reader.0.is_empty() {
        return Ok(None); // a client without extensions
    }
    let mut extensions = Reader(reader.vector_u16()?);
    if !reader.0.is_empty() {
        return Err(NotAHello("something follows its extensions"));
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vector_u16()?;
        if kind == EXTENSION_SERVER_NAME {
            let name = single_host_name(content)?;
            // Two names, and nobody knows which one the server takes.
            if found.replace(name).is_some() {
                return Err(NotAHello("it names a server twice"));
            }
        }
    }
    Ok(found)
}

fn single_host_name(content: &[u8]) -> Result<String, NotAHello> {
    let mut content = Reader(content);
    let mut list = Reader(content.vector_u16()?);
    let kind = list.take(1)?[0];
    let name = list.vector_u16()?;
    if kind != NAME_TYPE_HOST || !list.0.is_empty() || !content.0.is_empty() {
        return Err(NotAHello("its server name is not a single host name"));
    }
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| name.is_ascii());
    name.map(str::to_owned)
        .ok_or(NotAHello("its server name is not ASCII"))
}

/// Takes pieces off the front of a byte slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], NotAHello> {
        let (piece, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(NotAHello("a length in it is wrong"))?;
        self.0 = rest;
        Ok(piece)
    }

    fn u16(&mut self) -> Result<u16, NotAHello> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector_u8(&mut self) -> Result<&'a [u8], NotAHello> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    fn vector_u16(&mut self) -> Result<&'a [u8], NotAHello> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body of a client hello with these extensions.
    fn hello_body(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        let mut list = Vec::new();
        for (kind, content) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            list.extend(content);
        }
        body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        body.extend(list);
        body
    }

    fn name_extension(names: &[&str]) -> (u16, Vec<u8>) {
        let mut list = Vec::new();
        for name in names {
            list.push(0);
            list.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            list.extend(name.as_bytes());
        }
        let mut content = u16::try_from(list.len()).unwrap().to_be_bytes().to_vec();
        content.extend(list);
        (0, content)
    }

    fn records(body: &[u8], payload_max: usize) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut message = vec![1, length[1], length[2], length[3]];
        message.extend(body);
        let mut bytes = Vec::new();
        for payload in message.chunks(payload_max) {
            bytes.extend([22, 3, 1]);
            bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            bytes.extend(payload);
        }
        bytes
    }

    /// A client hello for `name`, as a client would send it.
    pub(in crate::proxy) fn client_hello(name: Option<&str>) -> Vec<u8> {
        let mut extensions = vec![(0x002b, vec![2, 3, 4]), (0x1a1a, vec![])];
        extensions.extend(name.map(|name| name_extension(&[name])));
        records(&hello_body(&extensions), 4096)
    }

    #[test]
    fn the_name_is_found_in_one_record_and_in_many() {
        let body = hello_body(&[(0x2b, vec![2, 3, 4]), name_extension(&["example.com"])]);
        for payload_max in [1, 2, 3, 5, 50, 4096] {
            let bytes = records(&body, payload_max);
            let name = Hello::Complete(Some("example.com".to_owned()));
            assert_eq!(parse(&bytes), Ok(name), "records of {payload_max}");
            for end in 0..bytes.len() {
                assert_eq!(
                    parse(&bytes[..end]),
                    Ok(Hello::Incomplete),
                    "first {end} bytes"
                );
            }
        }
    }

    #[test]
    fn a_hello_without_a_name_is_complete() {
        assert_eq!(parse(&client_hello(None)), Ok(Hello::Complete(None)));
        let bare = records(&hello_body(&[])[..41], 4096);
        assert_eq!(parse(&bare), Ok(Hello::Complete(None)));
    }

    #[test]
    fn what_names_two_servers_is_refused() {
        let twice = hello_body(&[name_extension(&["a.com"]), name_extension(&["b.com"])]);
        assert!(parse(&records(&twice, 4096)).is_err());
        let list = hello_body(&[name_extension(&["a.com", "b.com"])]);
        assert!(parse(&records(&list, 4096)).is_err());
    }

    #[test]
    fn what_is_not_a_hello_is_refused_at_its_first_wrong_byte() {
        assert!(parse(b"G").is_err());
        assert!(parse(b"SSH-2.0").is_err());
        assert!(parse(&[22, 2]).is_err());
        assert!(parse(&[22, 3, 1, 0, 0]).is_err());
        assert!(parse(&[22, 3, 1, 0xff, 0xff]).is_err());
        assert!(parse(&[22, 3, 1, 0, 4, 2]).is_err());
        assert!(parse(&[22, 3, 1, 0, 4, 1, 0xff, 0, 0]).is_err());
    }

    #[test]
    fn an_endless_hello_is_refused() {
        let long = hello_body(&[(21, vec![0; 15 * 1024])]);
        assert_eq!(parse(&records(&long, 16000)), Ok(Hello::Complete(None)));
        let bytes = records(&hello_body(&[(21, vec![0; 15 * 1024])]), 20);
        assert!(parse(&bytes[..HELLO_BYTES_MAX]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let mut body = vec![22, 3, 1];
            body.extend(u16::try_from(bytes.len() + 4).unwrap().to_be_bytes());
            body.extend([1, 0]);
            body.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
            body.extend(&bytes);
            let _ = parse(&body);
        }

        #[test]
        fn a_changed_byte_is_survived(at in 0_usize..200, value in any::<u8>()) {
            let mut bytes = client_hello(Some("example.com"));
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = parse(&bytes);
        }
    }
}
