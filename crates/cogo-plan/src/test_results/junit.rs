//! The XML of `JUnit`, in the output or in a file.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::collection::Collection;
use super::parser::Format;
use super::{TestKey, TestResult, TestStatus, TestTool};

/// A report in the output that is longer is not read.
const REPORT_MAX: usize = 32 * 1024 * 1024;

/// A report in the output, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Junit {
    text: Option<String>,
}

impl Format for Junit {
    fn tool(&self) -> TestTool {
        TestTool::Junit
    }

    fn line(&mut self, line: &str, into: &mut Collection) -> bool {
        let body = line.trim_start();
        let begins = body.starts_with("<testsuite") || body.starts_with("<?xml ");
        if self.text.is_none() && !begins {
            return false;
        }
        let text = self.text.get_or_insert_default();
        if text.len() + line.len() > REPORT_MAX {
            self.text = None;
            return false;
        }
        text.push_str(line);
        text.push('\n');
        let ends = line.trim_end();
        let is_list = text.contains("<testsuites");
        if ends.ends_with("</testsuites>") || (!is_list && ends.ends_with("</testsuite>")) {
            let text = self.text.take().unwrap_or_default();
            for result in read_junit(&text).unwrap_or_default() {
                into.ended(result);
            }
        }
        true
    }
}

/// The results in a report.
///
/// # Errors
///
/// When it is no XML; what stands before the mistake is lost.
pub fn read_junit(text: &str) -> Result<Vec<TestResult>, quick_xml::Error> {
    let mut reader = Reader::from_str(text);
    let mut reading = Reading::default();
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(reading.results),
            Event::Start(tag) => reading.open(&tag, true),
            Event::Empty(tag) => reading.open(&tag, false),
            Event::End(tag) => reading.close(tag.name().as_ref()),
            Event::Text(part) => reading.text.push_str(&part.xml_content()?),
            Event::CData(part) => reading.text.push_str(&String::from_utf8_lossy(&part)),
            Event::GeneralRef(name) => reading.reference(&String::from_utf8_lossy(&name)),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// A report while it is read.
#[derive(Default)]
struct Reading {
    results: Vec<TestResult>,
    suites: Vec<String>,
    test: Option<TestResult>,
    text: String,
}

impl Reading {
    fn open(&mut self, tag: &BytesStart<'_>, has_content: bool) {
        self.text.clear();
        let get = |name: &str| attribute(tag, name);
        match tag.name().as_ref() {
            b"testsuite" if has_content => self.suites.push(get("name").unwrap_or_default()),
            b"testcase" => {
                let class = get("classname").filter(|class| !class.is_empty());
                let suite = class
                    .or_else(|| get("file"))
                    .or_else(|| self.suites.last().cloned());
                let key = TestKey::new(suite.unwrap_or_default(), get("name").unwrap_or_default());
                let seconds =
                    get("time").and_then(|time| time.replace(',', "").parse::<f64>().ok());
                let result = TestResult::new(key, TestStatus::Passed);
                self.test = Some(result.took(seconds.map(|seconds| seconds * 1000.0)));
                if !has_content {
                    self.results.extend(self.test.take());
                }
            }
            name @ (b"failure" | b"error" | b"skipped") => {
                if let Some(test) = &mut self.test {
                    test.status = if name == b"skipped" {
                        TestStatus::Skipped
                    } else {
                        TestStatus::Failed
                    };
                    let message = get("message").filter(|message| !message.is_empty());
                    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
                    test.message = message.or_else(|| get("type")).map(first);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &[u8]) {
        let text = std::mem::take(&mut self.text);
        match name {
            b"testsuite" => drop(self.suites.pop()),
            b"testcase" => self.results.extend(self.test.take()),
            b"failure" | b"error" | b"system-out" | b"system-err" => {
                if let Some(test) = &mut self.test
                    && !text.trim().is_empty()
                {
                    let output = test.output.get_or_insert_default();
                    if !output.is_empty() {
                        output.push('\n');
                    }
                    output.push_str(text.trim_matches('\n'));
                }
            }
            _ => {}
        }
    }

    fn reference(&mut self, name: &str) {
        let character = match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok().and_then(char::from_u32),
                None => number.parse().ok().and_then(char::from_u32),
            },
            None => match name {
                "lt" => Some('<'),
                "gt" => Some('>'),
                "amp" => Some('&'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => None,
            },
        };
        self.text.extend(character);
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok()??;
    let value = attribute.unescape_value().ok()?;
    Some(value.into_owned())
}
