//! JSON and XML documents among lines of text.
//!
//! A document begins at the start of a line and ends where its root closes, perhaps thousands of lines
//! later. What only looks like one is given back as lines, at the first character that cannot be right.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// Documents that are larger are given up; their lines are dropped.
const DOCUMENT_MAX: usize = 32 * 1024 * 1024;
/// The key of an element's text.
pub(super) const TEXT: &str = "#text";
/// The key of the name of the root element.
pub(super) const ROOT: &str = "#root";

/// Puts lines together to documents.
#[derive(Debug, Default)]
pub(super) struct Documents {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    text: String,
    scan: Scan,
}

#[derive(Debug)]
enum Scan {
    Json(JsonScan),
    /// The name of the root element, once it is known.
    Xml(Option<String>),
}

/// What a line was.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Text.
    Text,
    /// A part of a document that goes on.
    Part,
    /// The end of a document, with what follows on the line.
    Whole(Value, String),
    /// The end of something that was none, with all of its lines.
    Lines(String),
}

impl Documents {
    /// Reads a line.
    pub(super) fn line(&mut self, line: &str, xml_roots: &[String]) -> Outcome {
        if self.open.is_none() {
            let Some((start, scan)) = beginning(line, xml_roots) else {
                return Outcome::Text;
            };
            let text = String::new();
            self.open = Some(Open { text, scan });
            return self.add(&line[start..]);
        }
        self.add(line)
    }

    /// The lines of a document that will not end.
    pub(super) fn finish(&mut self) -> Option<String> {
        self.open.take().map(|open| open.text)
    }

    fn add(&mut self, line: &str) -> Outcome {
        let Some(open) = &mut self.open else {
            return Outcome::Text;
        };
        if open.text.len() + line.len() > DOCUMENT_MAX {
            self.open = None;
            return Outcome::Part;
        }
        let before = open.text.len();
        open.text.push_str(line);
        let state = match &mut open.scan {
            Scan::Json(scan) => scan.line(line),
            Scan::Xml(root) => xml_state(root, line),
        };
        match state {
            State::Goes => {
                open.text.push('\n');
                Outcome::Part
            }
            State::Ends(length) => self.end(before + length),
            State::Wrong => Outcome::Lines(self.finish().unwrap_or_default()),
        }
    }

    fn end(&mut self, length: usize) -> Outcome {
        let Some(open) = self.open.take() else {
            return Outcome::Text;
        };
        let (text, rest) = open.text.split_at(length);
        let value = match open.scan {
            Scan::Json(_) => serde_json::from_str(text).ok(),
            Scan::Xml(_) => xml_value(text),
        };
        match value {
            Some(value) => Outcome::Whole(value, rest.to_owned()),
            None => Outcome::Lines(open.text),
        }
    }
}

/// Where in a line a document begins, and how to find its end.
fn beginning(line: &str, xml_roots: &[String]) -> Option<(usize, Scan)> {
    // Nix marks the JSON that it writes between lines of text.
    let marked = line.strip_prefix("@nix ").unwrap_or(line).trim_start();
    let start = line.len() - marked.len();
    match marked.bytes().next()? {
        first @ (b'{' | b'[') => {
            let scan = JsonScan {
                last: first,
                ..JsonScan::default()
            };
            // Logs begin many lines with a bracket.
            let second = marked[1..].trim_start().bytes().next();
            let may_be = second.is_none_or(|byte| scan.may_follow(byte));
            may_be.then(|| (start, Scan::Json(JsonScan::default())))
        }
        b'<' => {
            let known = marked.starts_with("<?xml")
                || element_name(&marked[1..])
                    .is_some_and(|name| xml_roots.iter().any(|r| r == name));
            known.then_some((start, Scan::Xml(None)))
        }
        _ => None,
    }
}

/// What is known after a line.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Goes,
    /// The document ends behind this many bytes of the line.
    Ends(usize),
    Wrong,
}

/// Follows brackets and texts.
#[derive(Debug, Default)]
struct JsonScan {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// The last byte that is no space.
    last: u8,
}

impl JsonScan {
    fn line(&mut self, line: &str) -> State {
        for (at, byte) in line.bytes().enumerate() {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            if matches!(byte, b' ' | b'\t') {
                continue;
            }
            if !self.may_follow(byte) {
                return State::Wrong;
            }
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                b'"' => self.in_text = true,
                _ => {}
            }
            self.last = byte;
            if self.depth == 0 {
                return State::Ends(at + 1);
            }
        }
        if self.in_text {
            State::Wrong
        } else {
            State::Goes
        }
    }

    /// Whether a byte outside of texts may come now. Prose is found out within a word.
    fn may_follow(&self, byte: u8) -> bool {
        match self.last {
            0 => matches!(byte, b'{' | b'['),
            b'{' => matches!(byte, b'"' | b'}'),
            b'[' => matches!(
                byte,
                b'{' | b'[' | b']' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
            ),
            _ => matches!(
                byte,
                b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"' | b'+' | b'-' | b'.' | b'0'
                    ..=b'9' | b'E' | b'a' | b'e' | b'f' | b'l' | b'n' | b'r' | b's' | b't' | b'u'
            ),
        }
    }
}

fn xml_state(root: &mut Option<String>, line: &str) -> State {
    if root.is_none() {
        *root = root_in(line);
    }
    let Some(root) = root else {
        return State::Goes;
    };
    let end = format!("</{root}>");
    if let Some(at) = line.rfind(&end) {
        return State::Ends(at + end.len());
    }
    // A root without content closes itself.
    let own = line.find(&format!("<{root}"));
    if let Some(at) = own
        && let Some(length) = line[at..].find('>')
        && line[..=at + length].ends_with("/>")
    {
        return State::Ends(at + length + 1);
    }
    State::Goes
}

/// The name of the first element of a line that is neither declaration nor comment.
fn root_in(line: &str) -> Option<String> {
    line.match_indices('<')
        .find_map(|(at, _)| element_name(&line[at + 1..]).map(str::to_owned))
}

fn element_name(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || "_-:.".contains(c)));
    let name = &text[..end.unwrap_or(text.len())];
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        .then_some(name)
}

/// The document as JSON: attributes and lists of child elements by name.
fn xml_value(text: &str) -> Option<Value> {
    let mut reader = Reader::from_str(text);
    let mut stack: Vec<(String, Map<String, Value>)> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => stack.push(element(&start)),
            Event::Empty(start) => {
                let (name, fields) = element(&start);
                if let Some(root) = close(&mut stack, name, fields) {
                    return Some(root);
                }
            }
            Event::End(_) => {
                let (name, fields) = stack.pop()?;
                if let Some(root) = close(&mut stack, name, fields) {
                    return Some(root);
                }
            }
            Event::Text(text) => add_text(&mut stack, &text.decode().ok()?),
            Event::CData(data) => add_text(&mut stack, &data.decode().ok()?),
            Event::GeneralRef(reference) => {
                let name = reference.decode().ok()?;
                let text = reference.resolve_char_ref().ok()?.map(String::from);
                let known = text.or_else(|| {
                    quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned)
                });
                add_text(&mut stack, &known.unwrap_or_default());
            }
            Event::Eof => return None,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn element(start: &BytesStart) -> (String, Map<String, Value>) {
    let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
    let attributes = start.attributes().flatten().filter_map(|attribute| {
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = attribute.unescape_value().ok()?;
        Some((key, Value::String(value.into_owned())))
    });
    (name, attributes.collect())
}

/// Puts a closed element into the one around it. Without one it is the document.
fn close(
    stack: &mut [(String, Map<String, Value>)],
    name: String,
    mut fields: Map<String, Value>,
) -> Option<Value> {
    let Some((_, parent)) = stack.last_mut() else {
        fields.insert(ROOT.to_owned(), Value::String(name));
        return Some(Value::Object(fields));
    };
    let siblings = parent
        .entry(name)
        .or_insert_with(|| Value::Array(Vec::new()));
    match siblings {
        Value::Array(siblings) => siblings.push(Value::Object(fields)),
        // An attribute has the name of an element: the element says more.
        other => *other = Value::Array(vec![Value::Object(fields)]),
    }
    None
}

fn add_text(stack: &mut [(String, Map<String, Value>)], text: &str) {
    let Some((_, fields)) = stack.last_mut() else {
        return;
    };
    if text.trim().is_empty() && !fields.contains_key(TEXT) {
        return;
    }
    if let Value::String(known) = fields
        .entry(TEXT)
        .or_insert_with(|| Value::String(String::new()))
    {
        known.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<String> {
        let mut documents = Documents::default();
        let roots = ["checkstyle".to_owned()];
        let mut seen: Vec<String> = lines
            .iter()
            .map(|line| match documents.line(line, &roots) {
                Outcome::Text => "text".to_owned(),
                Outcome::Part => "part".to_owned(),
                Outcome::Whole(value, rest) => format!("{value} {rest}").trim().to_owned(),
                Outcome::Lines(lines) => format!("lines {lines}"),
            })
            .collect();
        seen.extend(documents.finish().map(|lines| format!("open {lines}")));
        seen
    }

    #[test]
    fn json_ends_where_its_root_closes() {
        assert_eq!(
            read(&["x", "{", r#" "a": "}\"" "#, "} y", "z"]),
            ["text", "part", "part", r#"{"a":"}\""}  y"#, "text"]
        );
    }

    #[test]
    fn what_only_looks_like_json_is_given_back() {
        assert_eq!(read(&["[INFO] Building"]), ["text"]);
        assert_eq!(
            read(&["{", "  return 1;"]),
            ["part", "lines {\n  return 1;"]
        );
        assert_eq!(read(&["[12:30:01] x"]), ["lines [12:30:01] x"]);
    }

    #[test]
    fn xml_becomes_fields_and_lists() {
        let value = r##"{"#root":"checkstyle","file":[{"error":[{"line":"1"}],"name":"a&b"}]}"##;
        assert_eq!(
            read(&[
                "<checkstyle>",
                "<file name='a&amp;b'><error line='1'/></file></checkstyle>"
            ]),
            ["part", value]
        );
    }

    #[test]
    fn a_document_without_end_is_given_back_at_the_end() {
        assert_eq!(read(&["{"]), ["part", "open {\n"]);
    }
}
