//! Bytes of any kind to lines of text: any chunk boundary, colors, progress bars, broken UTF-8.

use std::borrow::Cow;

/// More of one line is thrown away. Reports in JSON are often a single line.
const LINE_MAX: usize = 16 * 1024 * 1024;

/// Puts chunks together to lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The line that has no end yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Hands every line that is now complete to `each`, without its end and without colors.
    ///
    /// A carriage return ends a line too: what a progress bar overwrites was there to be read.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&str)) {
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = bytes.split_at(end);
            // An empty piece behind a carriage return is the end of a `\r\n`, or nothing.
            let is_return = rest[0] == b'\r';
            bytes = &rest[1..];
            if self.partial.is_empty() {
                self.emit(line, is_return, &mut each);
            } else {
                self.keep(line);
                let whole = std::mem::take(&mut self.partial);
                self.emit(&whole, is_return, &mut each);
            }
        }
        self.keep(bytes);
    }

    /// Hands on what has no end yet, because there will be no more of it.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&str)) {
        let whole = std::mem::take(&mut self.partial);
        let whole = whole.strip_suffix(&[RETURNED]).unwrap_or(&whole);
        if !whole.is_empty() {
            each(&plain(whole));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// An empty line counts unless it is what stands between `\r` and `\n`.
    fn emit(&mut self, line: &[u8], is_return: bool, each: &mut impl FnMut(&str)) {
        let (line, behind_return) = match line {
            [RETURNED, rest @ ..] => (rest, true),
            line => (line, false),
        };
        if !(line.is_empty() && (behind_return || is_return)) {
            each(&plain(line));
        }
        if is_return {
            self.partial.push(RETURNED);
        }
    }
}

/// Stands in `partial` for a carriage return that was just read. It cannot come from output, in which
/// it is an end of line.
const RETURNED: u8 = b'\r';

/// The text without escape sequences. Bytes that are no UTF-8 become replacement characters.
fn plain(line: &[u8]) -> Cow<'_, str> {
    match memchr::memchr(0x1b, line) {
        None => String::from_utf8_lossy(line),
        Some(first) => {
            let mut kept = line[..first].to_vec();
            copy_without_escapes(&line[first..], &mut kept);
            Cow::Owned(String::from_utf8_lossy(&kept).into_owned())
        }
    }
}

fn copy_without_escapes(mut rest: &[u8], kept: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(0x1b, rest) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + escape_length(&rest[at..])..];
    }
    kept.extend_from_slice(rest);
}

/// The length of the escape sequence that `bytes` begins with.
fn escape_length(bytes: &[u8]) -> usize {
    match bytes.get(1) {
        Some(b'[') => {
            let parameters = &bytes[2..];
            let end = parameters.iter().position(|b| (0x40..=0x7e).contains(b));
            end.map_or(bytes.len(), |end| end + 3)
        }
        // A title or a link: up to BEL or `ESC \`.
        Some(b']') => {
            let end = bytes[2..].iter().position(|&b| b == 0x07 || b == 0x1b);
            end.map_or(bytes.len(), |end| {
                let at = end + 2;
                at + if bytes[at] == 0x07 {
                    1
                } else {
                    2.min(bytes.len() - at)
                }
            })
        }
        // A character set.
        Some(b'(' | b')') => 3.min(bytes.len()),
        Some(_) => 2,
        None => 1,
    }
}

/// The text without escape sequences, for texts inside of JSON.
pub(super) fn without_escapes(text: &str) -> Cow<'_, str> {
    if text.contains('\u{1b}') {
        Cow::Owned(plain(text.as_bytes()).into_owned())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, |line| seen.push(line.to_owned()));
        }
        lines.finish(|line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn ends_of_both_systems_are_ends() {
        assert_eq!(lines(&[b"a\r\nb\n\nc"]), ["a", "b", "", "c"]);
        assert_eq!(lines(&[b"a\r", b"\nb"]), ["a", "b"]);
    }

    #[test]
    fn each_piece_of_a_progress_bar_is_a_line() {
        assert_eq!(
            lines(&[b"10%\r20%\rerror: x\n"]),
            ["10%", "20%", "error: x"]
        );
    }

    #[test]
    fn colors_and_links_are_removed() {
        let red = b"\x1b[0m\x1b[1;38;5;9merror\x1b[0m: \x1b]8;;https://x.y\x1b\\E1\x1b]8;;\x07 x\n";
        assert_eq!(lines(&[red]), ["error: E1 x"]);
    }

    #[test]
    fn broken_text_stays_text() {
        assert_eq!(lines(&[b"a\xff:1: b\n"]), ["a\u{fffd}:1: b"]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::default();
        for _ in 0..40 {
            lines.feed(&vec![b'x'; 1024 * 1024], |_| panic!("no line has ended"));
        }
        assert_eq!(lines.partial.len(), LINE_MAX);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(0x1b), Just(b'['), Just(b'm'), any::<u8>()],
                0..60,
            ),
            cut in 0_usize..60,
        ) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(lines(&[&bytes]), lines(&[&bytes[..cut], &bytes[cut..]]));
        }
    }
}
