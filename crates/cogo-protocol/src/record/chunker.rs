//! Cuts a stream of bytes where characters end.

use super::Chunk;

/// The most bytes that can be held back: a character of four bytes that lacks its last.
pub const HELD_MAX: usize = 3;

/// Turns the bytes of one stream into chunks that never tear a character.
///
/// Bytes that are not UTF-8 make their whole chunk base64. Nothing is lost or changed: the bytes
/// of all chunks in order, with [`Self::finish`], are the bytes that went in.
#[derive(Clone, Debug, Default)]
pub struct Utf8Chunker {
    /// The start of a character whose end has not come yet. At most [`HELD_MAX`] bytes.
    held: Vec<u8>,
}

impl Utf8Chunker {
    /// A chunker at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// A chunker in the middle of a stream, after bytes that another one has taken. It needs the
    /// last [`HELD_MAX`] of them, or all if there are fewer.
    pub fn after(previous: &[u8]) -> Self {
        Self {
            held: previous[complete_len(previous)..].to_vec(),
        }
    }

    /// Takes the stream's next bytes and gives what can be told of it now: these bytes and those
    /// held before, up to the last character's end. `None` if that is nothing.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Chunk> {
        if bytes.is_empty() {
            return None;
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        self.held = all.split_off(complete_len(&all));
        (!all.is_empty()).then(|| Chunk::from_bytes(all))
    }

    /// Ends the stream: what is still held will not become a character.
    pub fn finish(self) -> Option<Chunk> {
        (!self.held.is_empty()).then(|| Chunk::from_bytes(self.held))
    }
}

/// How many of the bytes come before an unfinished character at their end.
fn complete_len(bytes: &[u8]) -> usize {
    let looked_at = bytes.len().min(HELD_MAX);
    for back in 1..=looked_at {
        let start = bytes.len() - back;
        if bytes[start] & 0b1100_0000 == 0b1000_0000 {
            continue; // inside a character: its first byte is further back
        }
        return if is_unfinished(&bytes[start..]) {
            start
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

/// Whether more bytes could make these into a character.
fn is_unfinished(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Encoding;
    use super::*;

    fn text(output: &str) -> Chunk {
        Chunk {
            output: output.into(),
            encoding: Encoding::Utf8,
        }
    }

    fn base64(output: &str) -> Chunk {
        Chunk {
            output: output.into(),
            encoding: Encoding::Base64,
        }
    }

    #[test]
    fn a_torn_character_waits_for_its_end() {
        let mut chunker = Utf8Chunker::new();
        assert_eq!(chunker.push(b"a\xf0\x9f"), Some(text("a")));
        assert_eq!(chunker.push(b"\x98"), None);
        assert_eq!(chunker.push(b"\x80b"), Some(text("😀b")));
        assert_eq!(chunker.finish(), None);
    }

    #[test]
    fn what_cannot_become_a_character_is_not_held() {
        let mut chunker = Utf8Chunker::new();
        assert_eq!(chunker.push(b"\xff"), Some(base64("/w==")));
        assert_eq!(chunker.push(b"\xc0"), Some(base64("wA==")));
        assert_eq!(
            chunker.push(b"\xed\xa0"),
            Some(base64("7aA=")),
            "a surrogate"
        );
        assert_eq!(chunker.push(b"\x80\x80\x80\x80"), Some(base64("gICAgA==")));
        assert_eq!(chunker.push(b"ok"), Some(text("ok")));
    }

    #[test]
    fn an_unfinished_character_at_the_end_is_told_as_bytes() {
        let mut chunker = Utf8Chunker::new();
        assert_eq!(chunker.push(b"x\xe2\x82"), Some(text("x")));
        assert_eq!(chunker.finish(), Some(base64("4oI=")));
    }

    #[test]
    fn a_held_byte_that_stays_alone_comes_with_the_next() {
        let mut chunker = Utf8Chunker::new();
        assert_eq!(chunker.push(b"\xe9"), None);
        assert_eq!(chunker.push(b" latin"), Some(base64("6SBsYXRpbg==")));
    }

    /// Bytes with many characters, and broken ones among them.
    fn streams() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let piece = prop_oneof![
            "\\PC{0,4}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..4),
            Just("😀".as_bytes().to_vec()),
            Just(b"\xe2\x82".to_vec()),
        ];
        let bytes = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
        (bytes, proptest::collection::vec(0_usize..6, 0..40)).prop_map(|(mut bytes, cuts)| {
            let mut reads = Vec::new();
            for cut in cuts {
                let rest = bytes.split_off(cut.min(bytes.len()));
                reads.push(std::mem::replace(&mut bytes, rest));
            }
            reads.push(bytes);
            reads
        })
    }

    fn run(mut chunker: Utf8Chunker, reads: &[Vec<u8>]) -> (Vec<Option<Chunk>>, Option<Chunk>) {
        let chunks = reads.iter().map(|read| chunker.push(read)).collect();
        assert!(chunker.held.len() <= HELD_MAX);
        (chunks, chunker.finish())
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_changed(reads in streams()) {
            let (chunks, end) = run(Utf8Chunker::new(), &reads);
            let told: Vec<u8> = chunks
                .into_iter()
                .chain([end])
                .flatten()
                .flat_map(|chunk| chunk.into_bytes().unwrap())
                .collect();
            prop_assert_eq!(told, reads.concat());
        }

        #[test]
        fn text_in_any_pieces_stays_text(text in "\\PC{0,20}", cuts in proptest::collection::vec(1_usize..4, 0..40)) {
            let mut chunker = Utf8Chunker::new();
            let mut rest = text.as_bytes();
            let mut told = String::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (read, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                if let Some(chunk) = chunker.push(read) {
                    prop_assert_eq!(chunk.encoding, Encoding::Utf8);
                    told.push_str(&chunk.output);
                }
            }
            prop_assert_eq!(told, text);
            prop_assert_eq!(chunker.finish(), None);
        }

        #[test]
        fn a_resumed_reader_gets_the_same_chunks(reads in streams(), at in 0_usize..40) {
            let at = at.min(reads.len());
            let (all, all_end) = run(Utf8Chunker::new(), &reads);
            let before = reads[..at].concat();
            let tail = &before[before.len().saturating_sub(HELD_MAX)..];
            let (resumed, resumed_end) = run(Utf8Chunker::after(tail), &reads[at..]);
            prop_assert_eq!(&all[at..], &resumed[..]);
            prop_assert_eq!(all_end, resumed_end);
        }
    }
}
