//! Places in a text, and replacing what is there.

use std::ops::Range;

use super::change::Replacement;

/// The byte where a column of a line begins: both from 1, the column in characters. None if the text
/// has no such place.
pub(super) fn offset(text: &str, line: u32, column: u32) -> Option<usize> {
    let start = line_start(text, line)?;
    let rest = &text[start..];
    let end = rest.find('\n').map_or(rest.len(), |end| end + 1);
    let wanted = (column as usize).checked_sub(1)?;
    let mut places = rest[..end].char_indices().map(|(at, _)| at).chain([end]);
    places.nth(wanted).map(|at| start + at)
}

/// The byte where a line begins, counted from 1. The line behind the last one begins at the end.
pub(super) fn line_start(text: &str, line: u32) -> Option<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    match line.checked_sub(1)? {
        0 => Some(0),
        before => breaks
            .map(|(at, _)| at + 1)
            .nth(before as usize - 1)
            .or_else(|| (before as usize == text.lines().count()).then_some(text.len())),
    }
}

/// A line, counted from 1, without its end.
pub(super) fn line(text: &str, number: u32) -> Option<&str> {
    text.lines().nth((number as usize).checked_sub(1)?)
}

/// The white space a line begins with.
pub(super) fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The line, from 1, in which a byte lies.
pub(super) fn line_of(text: &str, at: usize) -> u32 {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() as u32 + 1
}

/// The text with replacements of one file made. None if they overlap or lie outside.
pub(super) fn replaced(text: &str, replacements: &[&Replacement]) -> Option<String> {
    let mut sorted = replacements.to_vec();
    // Stable: what is inserted at one place stays in its order.
    sorted.sort_by_key(|replacement| (replacement.range.start, replacement.range.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for replacement in sorted {
        let Range { start, end } = replacement.range;
        if start < done || end < start {
            return None;
        }
        out.push_str(text.get(done..start)?);
        out.push_str(&replacement.text);
        text.get(start..end)?;
        done = end;
    }
    out.push_str(text.get(done..)?);
    Some(out)
}

/// The lines of the second text, from 1, that the first does not have at that place: from the first
/// difference to the last.
pub(super) fn changed_lines(before: &str, after: &str) -> Range<u32> {
    let common = |a: &mut dyn Iterator<Item = (&str, &str)>| a.take_while(|(a, b)| a == b).count();
    let head = common(&mut before.lines().zip(after.lines()));
    let tail = common(&mut before.lines().rev().zip(after.lines().rev()));
    let lines = after.lines().count();
    let end = lines.saturating_sub(tail).max(head);
    head as u32 + 1..end as u32 + 1
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "aé\nb\r\n";
        assert_eq!(offset(text, 1, 1), Some(0));
        assert_eq!(offset(text, 1, 3), Some(3));
        assert_eq!(offset(text, 2, 2), Some(5));
        assert_eq!(offset(text, 3, 1), Some(text.len()));
        assert_eq!(offset(text, 4, 1), None);
        assert_eq!(offset(text, 2, 9), None);
        assert_eq!(offset(text, 0, 1), None);
        assert_eq!(offset("a", 1, 2), Some(1));
    }

    #[test]
    fn replacements_do_not_overlap() {
        let replacement = |range, text: &str| Replacement {
            file: PathBuf::from("a"),
            range,
            text: text.to_owned(),
        };
        let (a, b) = (replacement(0..1, "x"), replacement(1..1, "y"));
        assert_eq!(replaced("abc", &[&b, &a]).as_deref(), Some("xybc"));
        let c = replacement(0..2, "z");
        assert_eq!(replaced("abc", &[&a, &c]), None);
        assert_eq!(replaced("abc", &[&replacement(2..9, "")]), None);
    }

    #[test]
    fn changed_lines_are_those_of_the_new_text() {
        assert_eq!(changed_lines("a\nb\nc\n", "a\nx\ny\nc\n"), 2..4);
        assert_eq!(changed_lines("a\nb\n", "a\nb\n"), 3..3);
        assert_eq!(changed_lines("a\nb\nc\n", "a\nc\n"), 2..2);
    }
}
