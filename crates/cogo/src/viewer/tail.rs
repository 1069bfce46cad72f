//! The last bytes of the output, kept for hints.

/// Enough for the error message that a tool prints last.
const KEPT: usize = 16 * 1024;

/// The last bytes of the output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Takes note of more output.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        // Twice the room, so that bytes are moved seldom.
        if self.bytes.len() + bytes.len() > 2 * KEPT {
            let old = self.bytes.len().min(KEPT);
            self.bytes.drain(..self.bytes.len() - old);
            self.bytes.truncate(KEPT);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// As text, for looking for known messages.
    pub(crate) fn text(&self) -> String {
        let start = self.bytes.len().saturating_sub(KEPT);
        String::from_utf8_lossy(&self.bytes[start..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_are_kept() {
        let mut tail = Tail::default();
        let mut all = Vec::new();
        for i in 0..20_000_u32 {
            let line = format!("line {i}\n");
            tail.push(line.as_bytes());
            all.extend_from_slice(line.as_bytes());
            assert!(tail.bytes.len() <= 2 * KEPT);
        }
        tail.push(&vec![b'x'; 3 * KEPT]);
        assert_eq!(tail.text().len(), KEPT);
        tail.push(b"end");
        assert!(tail.text().ends_with("xend"));
        assert!(all.len() > 2 * KEPT);
    }

    #[test]
    fn short_output_is_whole() {
        let mut tail = Tail::default();
        tail.push(b"one ");
        tail.push(b"two");
        assert_eq!(tail.text(), "one two");
    }
}
