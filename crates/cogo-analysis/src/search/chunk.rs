//! Cuts a file into chunks along its symbols; lines that belong to none are cut by number.

use sha1::{Digest as _, Sha1};

/// Longest chunk. A longer symbol is several chunks.
const LINES_MAX: usize = 60;
/// Lines outside of symbols are cut to pieces of so many.
const LOOSE_LINES: usize = 40;
/// Longest text of a chunk; a line of a minified file may be a megabyte.
const BYTES_MAX: usize = 8 * 1024;

/// What a line above a symbol begins with if it is about the symbol.
const LEADS: [&str; 6] = ["//", "#", "@", "/*", "*", "--"];

/// Where a symbol is, in lines from 1, both inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The symbol with what is around it: `Store::open`.
    pub name: String,
    /// What it is: `function`, `class`, …
    pub kind: String,
    /// Its first line. Comments and attributes right above it are taken in.
    pub line: usize,
    /// Its last line.
    pub end_line: usize,
}

/// A piece of a file that is found as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The symbol it is of; `None` for lines that belong to none.
    pub symbol: Option<String>,
    /// What the symbol is.
    pub kind: Option<String>,
    /// First line, from 1.
    pub line: usize,
    /// Last line.
    pub end_line: usize,
    /// The text.
    pub text: String,
}

impl Chunk {
    /// What is embedded: where the text is, and the text, as a language model reads it best.
    pub fn embedded_text(&self, path: &str) -> String {
        let symbol = self.symbol.as_deref().unwrap_or_default();
        super::embeddable(&format!("{symbol} {} {path}", self.text))
    }

    /// Tells two embedded texts apart.
    pub fn hash(&self, path: &str) -> [u8; 20] {
        Sha1::digest(self.embedded_text(path)).into()
    }
}

/// Cuts a text. A line belongs to the innermost symbol around it; a symbol's chunk ends where the
/// next symbol inside of it begins and goes on after it.
pub fn chunks(text: &str, spans: &[Span]) -> Vec<Chunk> {
    let lines: Vec<&str> = text.lines().collect();
    let owners = owners(&lines, spans);
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < lines.len() {
        let owner = owners[start];
        let longest = if owner.is_some() {
            LINES_MAX
        } else {
            LOOSE_LINES
        };
        let same = owners[start..].iter().take_while(|&&other| other == owner);
        let end = start + same.count().min(longest);
        let span = owner.map(|owner| &spans[owner]);
        chunks.extend(chunk(&lines[start..end], start + 1, span));
        start = end;
    }
    chunks
}

/// The innermost symbol of each line.
fn owners(lines: &[&str], spans: &[Span]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    // Outer before inner: the longer first, and those written later win.
    order.sort_by_key(|&at| std::cmp::Reverse(spans[at].end_line.saturating_sub(spans[at].line)));
    let mut owners = vec![None; lines.len()];
    for at in order {
        let first = spans[at].line.saturating_sub(1).min(lines.len());
        let last = spans[at].end_line.min(lines.len()).max(first);
        owners[first..last].fill(Some(at));
    }
    for (at, span) in spans.iter().enumerate() {
        take_in_lead(lines, span.line.saturating_sub(1), at, &mut owners);
    }
    owners
}

/// Gives a symbol the comments and attributes right above it, unless they are of a symbol beside it.
fn take_in_lead(lines: &[&str], first: usize, at: usize, owners: &mut [Option<usize>]) {
    let first = first.min(lines.len());
    let around = first.checked_sub(1).and_then(|above| owners[above]);
    for line in (0..first).rev() {
        let text = lines[line].trim_start();
        let is_lead = LEADS.iter().any(|lead| text.starts_with(lead));
        if !is_lead || owners[line] != around || around == Some(at) {
            break;
        }
        owners[line] = Some(at);
    }
}

/// `None` where there is nothing to find.
fn chunk(lines: &[&str], line: usize, span: Option<&Span>) -> Option<Chunk> {
    let mut text = lines.join("\n");
    if !text.chars().any(char::is_alphanumeric) {
        return None;
    }
    text.truncate(text.floor_char_boundary(BYTES_MAX));
    Some(Chunk {
        symbol: span.map(|span| span.name.clone()),
        kind: span.map(|span| span.kind.clone()),
        line,
        end_line: line + lines.len() - 1,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, line: usize, end_line: usize) -> Span {
        Span {
            name: name.to_owned(),
            kind: "function".to_owned(),
            line,
            end_line,
        }
    }

    fn shown(text: &str, spans: &[Span]) -> Vec<String> {
        chunks(text, spans)
            .iter()
            .map(|chunk| {
                let symbol = chunk.symbol.as_deref().unwrap_or("-");
                format!("{symbol} {}-{}", chunk.line, chunk.end_line)
            })
            .collect()
    }

    #[test]
    fn a_class_is_cut_along_its_methods() {
        let text =
            "import x\nclass A:\n  y = 1\n  def f():\n    1\n  z = 2\n  def g(): 2\nlast()\n";
        let spans = [span("A", 2, 7), span("A.f", 4, 5), span("A.g", 7, 7)];
        assert_eq!(
            shown(text, &spans),
            ["- 1-1", "A 2-3", "A.f 4-5", "A 6-6", "A.g 7-7", "- 8-8"]
        );
    }

    #[test]
    fn what_is_said_above_a_symbol_is_part_of_it() {
        let text = "use x;\n/// Opens.\n#[inline]\nfn open() {}\n\n// Alone.\n\nfn b() {}\n";
        assert_eq!(
            shown(text, &[span("open", 4, 4), span("b", 8, 8)]),
            ["- 1-1", "open 2-4", "- 5-7", "b 8-8"]
        );
    }

    #[test]
    fn long_symbols_and_loose_lines_are_cut_by_number() {
        let text = "x\n".repeat(100);
        assert_eq!(shown(&text, &[]), ["- 1-40", "- 41-80", "- 81-100"]);
        assert_eq!(shown(&text, &[span("f", 1, 100)]), ["f 1-60", "f 61-100"]);
    }

    #[test]
    fn spans_past_the_end_and_lines_of_punctuation_are_harmless() {
        assert_eq!(
            shown("x\n}\n", &[span("f", 1, 1), span("g", 9, 99)]),
            ["f 1-1"]
        );
        let long = "é".repeat(BYTES_MAX);
        assert!(chunks(&long, &[])[0].text.len() <= BYTES_MAX);
    }

    #[test]
    fn the_hash_follows_what_is_embedded() {
        let chunk = |text: &str| chunks(text, &[]).remove(0);
        assert_eq!(chunk("f(x)").hash("a.py"), chunk("f( x )").hash("a.py"));
        assert_ne!(chunk("f(x)").hash("a.py"), chunk("f(y)").hash("a.py"));
    }
}
