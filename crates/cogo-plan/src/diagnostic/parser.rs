//! Both streams of a command, read while they are written.

use cogo_protocol::record::Stream;
use serde_json::Value;

use super::document::{Documents, Outcome};
use super::lines::Lines;
use super::patterns::Patterns;
use super::table::Table;
use super::test_events::{TestEvent, event};
use super::{Diagnostic, mapping, rustc, walk};

/// Reads the output of one command.
#[derive(Debug)]
pub struct Parser {
    stdout: Reader,
    stderr: Reader,
}

/// Reads one stream.
#[derive(Debug)]
struct Reader {
    lines: Lines,
    text: TextReader,
}

#[derive(Debug)]
struct TextReader {
    table: &'static Table,
    documents: Documents,
    patterns: Patterns,
    /// The piece of text of a test event that has no end yet.
    event_text: Lines,
}

impl Parser {
    /// A parser of the output of `command`, where it is known. Formats of the programs that it names
    /// are preferred where a line can be read in several ways.
    pub fn new(command: Option<&str>) -> Self {
        let programs = command.map(programs_in).unwrap_or_default();
        Self {
            stdout: Reader::new(programs.clone()),
            stderr: Reader::new(programs),
        }
    }

    /// Reads what was written, and returns the diagnostics that are now known. The last one of a text
    /// may be held back until its next line, [`Parser::idle`] or [`Parser::finish`].
    pub fn feed(&mut self, stream: Stream, bytes: &[u8]) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        self.reader(stream).feed(bytes, &mut out);
        out
    }

    /// Returns what is held back. To be called when no output has come for a moment.
    pub fn idle(&mut self) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        for reader in [&mut self.stdout, &mut self.stderr] {
            reader.text.patterns.idle(&mut out);
        }
        out
    }

    /// Returns what is left. To be called when both streams have ended.
    pub fn finish(&mut self) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        for reader in [&mut self.stdout, &mut self.stderr] {
            reader.finish(&mut out);
        }
        out
    }

    /// Reads output that is there as a whole.
    pub fn parse(mut self, output: &[u8]) -> Vec<Diagnostic> {
        let mut found = self.feed(Stream::Stdout, output);
        found.extend(self.finish());
        found
    }

    fn reader(&mut self, stream: Stream) -> &mut Reader {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// The words of a command that may be programs, without folders and endings.
fn programs_in(command: &str) -> Vec<String> {
    let words = command.split(|c: char| c.is_whitespace() || ";&|()\"'".contains(c));
    words
        .filter(|word| !word.starts_with('-') && !word.is_empty())
        .map(|word| {
            let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
            name.trim_end_matches(".exe").to_owned()
        })
        .collect()
}

impl Reader {
    fn new(programs: Vec<String>) -> Self {
        Self {
            lines: Lines::default(),
            text: TextReader {
                table: Table::get(),
                documents: Documents::default(),
                patterns: Patterns::new(programs),
                event_text: Lines::default(),
            },
        }
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<Diagnostic>) {
        let text = &mut self.text;
        self.lines.feed(bytes, |line| text.line(line, out));
    }

    fn finish(&mut self, out: &mut Vec<Diagnostic>) {
        let text = &mut self.text;
        self.lines.finish(|line| text.line(line, out));
        text.finish(out);
    }
}

impl TextReader {
    fn line(&mut self, line: &str, out: &mut Vec<Diagnostic>) {
        match self.documents.line(line, &self.table.xml_roots) {
            Outcome::Text => self.patterns.line(line, out),
            Outcome::Part => {}
            Outcome::Whole(document, rest) => {
                self.document(&document, out);
                if !rest.trim().is_empty() {
                    self.patterns.line(&rest, out);
                }
            }
            Outcome::Lines(lines) => self.lines(&lines, out),
        }
    }

    fn lines(&mut self, lines: &str, out: &mut Vec<Diagnostic>) {
        for line in lines.lines() {
            self.patterns.line(line, out);
        }
    }

    fn document(&mut self, document: &Value, out: &mut Vec<Diagnostic>) {
        if let Some(event) = event(document) {
            if let TestEvent::Output(text) = event {
                let patterns = &mut self.patterns;
                self.event_text
                    .feed(text.as_bytes(), |line| patterns.line(line, out));
            }
            return;
        }
        let found = rustc::extract(document).or_else(|| mapping::extract(self.table, document));
        out.extend(found.unwrap_or_else(|| walk::extract(self.table, document)));
    }

    fn finish(&mut self, out: &mut Vec<Diagnostic>) {
        if let Some(lines) = self.documents.finish() {
            self.lines(&lines, out);
        }
        let patterns = &mut self.patterns;
        self.event_text.finish(|line| patterns.line(line, out));
        self.patterns.finish(out);
    }
}
