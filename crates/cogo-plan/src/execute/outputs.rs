//! Finds what a step tells: lines `::output NAME=VALUE` on its standard output.

use std::collections::{BTreeMap, BTreeSet};

/// Longest line that is looked at. A value is a word, not a file.
const LINE_MAX: usize = 64 * 1024;

const MARK: &[u8] = b"::output ";

/// Looks through a stream that comes in pieces.
pub(super) struct OutputScanner {
    names: BTreeSet<String>,
    /// The line so far.
    line: Vec<u8>,
    /// The line is too long, and its end has not come.
    is_too_long: bool,
    found: BTreeMap<String, String>,
}

impl OutputScanner {
    /// Looks for these names; others are left alone.
    pub(super) fn new(names: &[String]) -> Self {
        Self {
            names: names.iter().cloned().collect(),
            line: Vec::new(),
            is_too_long: false,
            found: BTreeMap::new(),
        }
    }

    /// The next piece.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.names.is_empty() {
            return;
        }
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.extend(piece);
            self.end_line();
        }
        self.extend(last);
    }

    /// The stream is over; what was told. The last line of a name counts.
    pub(super) fn finish(&mut self) -> BTreeMap<String, String> {
        self.end_line();
        std::mem::take(&mut self.found)
    }

    fn extend(&mut self, piece: &[u8]) {
        self.is_too_long |= self.line.len() + piece.len() > LINE_MAX;
        if !self.is_too_long {
            self.line.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) {
            return;
        }
        let told = line
            .strip_prefix(MARK)
            .and_then(|told| std::str::from_utf8(told).ok());
        if let Some((name, value)) = told.and_then(|told| told.split_once('='))
            && self.names.contains(name)
        {
            let value = value.trim_end_matches('\r').to_owned();
            self.found.insert(name.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> BTreeMap<String, String> {
        let mut scanner = OutputScanner::new(&["a".to_owned(), "b".to_owned()]);
        for piece in pieces {
            scanner.push(piece);
        }
        scanner.finish()
    }

    #[test]
    fn values_are_found_wherever_the_pieces_end() {
        let text =
            b"x\n::output a=1 2\n::output b=x=y\r\n::output c=3\n ::output a=no\n::output a=4";
        let expected = BTreeMap::from([("a".into(), "4".into()), ("b".into(), "x=y".into())]);
        for at in 0..text.len() {
            let (one, two) = text.split_at(at);
            assert_eq!(scan(&[one, two]), expected, "{at}");
        }
    }

    #[test]
    fn a_long_line_is_passed_over() {
        let long = [b"::output a=".as_slice(), &vec![b'x'; LINE_MAX]].concat();
        assert_eq!(scan(&[&long, b"\n::output b=1\n"]).len(), 1);
    }
}
