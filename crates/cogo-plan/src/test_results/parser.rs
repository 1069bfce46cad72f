//! Both streams of a runner, line by line to whichever format knows the line.

use cogo_protocol::record::Stream;

use super::collection::Collection;
use super::{TestResult, TestTool, go, javascript, junit, libtest, nextest, node, pytest, tap};
use crate::diagnostic::lines::Lines;

/// Reads the lines of one kind of runner.
pub(super) trait Format: std::fmt::Debug + Send {
    /// Whose lines these are.
    fn tool(&self) -> TestTool;
    /// Reads a line. Whether it is one of this runner's.
    fn line(&mut self, line: &str, into: &mut Collection) -> bool;
    /// There are no more lines.
    fn finish(&mut self, _into: &mut Collection) {}
}

/// Reads the results of one run of tests.
#[derive(Debug)]
pub struct TestParser {
    stdout: Lines,
    stderr: Lines,
    readers: Readers,
}

#[derive(Debug)]
struct Readers {
    formats: Vec<Box<dyn Format>>,
    /// The runner whose lines were seen.
    seen: Option<TestTool>,
    results: Collection,
}

impl TestParser {
    /// A parser for this runner, or for any.
    pub fn new(tool: Option<TestTool>) -> Self {
        let all: [Box<dyn Format>; 8] = [
            Box::<junit::Junit>::default(),
            Box::<go::Go>::default(),
            Box::<nextest::Nextest>::default(),
            Box::<libtest::Libtest>::default(),
            Box::<pytest::Pytest>::default(),
            Box::new(javascript::JavaScript::new(tool)),
            Box::<tap::Tap>::default(),
            Box::<node::Spec>::default(),
        ];
        let is_wanted = |format: &dyn Format| {
            let its = format.tool();
            tool.is_none_or(|tool| match tool {
                TestTool::Jest | TestTool::Vitest => {
                    matches!(its, TestTool::Jest | TestTool::Vitest)
                }
                // It writes TAP, too.
                TestTool::NodeTest => matches!(its, TestTool::NodeTest | TestTool::Tap),
                tool => its == tool,
            } || its == TestTool::Junit)
        };
        Self {
            stdout: Lines::default(),
            stderr: Lines::default(),
            readers: Readers {
                formats: all
                    .into_iter()
                    .filter(|format| is_wanted(&**format))
                    .collect(),
                seen: None,
                results: Collection::default(),
            },
        }
    }

    /// Reads what was written, and returns the results that are now known. A failure is told when its
    /// line is there, perhaps without its message.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8]) -> Vec<TestResult> {
        let readers = &mut self.readers;
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        lines.feed(bytes, |line| readers.line(line));
        self.readers.results.take_fresh()
    }

    /// The runner whose lines were seen.
    pub fn seen(&self) -> Option<TestTool> {
        self.readers.seen
    }

    /// All results, with all that was said of them.
    pub fn finish(mut self) -> Vec<TestResult> {
        let readers = &mut self.readers;
        self.stdout.finish(|line| readers.line(line));
        self.stderr.finish(|line| readers.line(line));
        for format in &mut readers.formats {
            format.finish(&mut readers.results);
        }
        self.readers.results.into_results()
    }
}

impl Readers {
    fn line(&mut self, line: &str) {
        for (at, format) in self.formats.iter_mut().enumerate() {
            if format.line(line, &mut self.results) {
                self.seen.get_or_insert(format.tool());
                // The runner that is at it is asked first from now on.
                self.formats[..=at].rotate_right(1);
                return;
            }
        }
    }
}

/// Reads a time such as `0.005s`, `12 ms`, `1.5s` or `2 m`.
pub(super) fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..unit_at].trim().parse().ok()?;
    let factor = match text[unit_at..].trim() {
        "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        _ => return None,
    };
    Some(number * factor)
}
