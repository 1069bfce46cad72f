//! Files of results: the XML of `JUnit` and jest's JSON in, the former out.

use std::collections::BTreeMap;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::collection::Collection;
use super::{TestResult, TestStatus, javascript, read_junit};

/// The results in a file that a runner wrote: the XML of `JUnit`, or the JSON of jest and vitest. None if it is
/// neither.
pub fn read_report(text: &str) -> Option<Vec<TestResult>> {
    let body = text.trim_start_matches('\u{feff}').trim_start();
    if body.starts_with('<') {
        return read_junit(body).ok();
    }
    let mut results = Collection::default();
    let report = serde_json::from_str(body).ok()?;
    javascript::jest_report(&report, &mut results).then(|| results.into_results())
}

/// One test of a report: its last word, and the tries before it that failed.
pub struct Reported<'a> {
    /// The last word.
    pub result: &'a TestResult,
    /// Tries that failed before it.
    pub failed_before: &'a [TestResult],
}

/// Writes a report as Maven's Surefire does: what failed and then passed has `flakyFailure`, what failed
/// again has `rerunFailure`.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_junit(into: impl io::Write, name: &str, tests: &[Reported<'_>]) -> io::Result<()> {
    let mut writer = Writer::new_with_indent(into, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut suites: BTreeMap<&str, Vec<&Reported<'_>>> = BTreeMap::new();
    for test in tests {
        suites.entry(&test.result.key.suite).or_default().push(test);
    }
    let all = writer
        .create_element("testsuites")
        .with_attribute(("name", name));
    all.write_inner_content(|writer| {
        for (suite, tests) in &suites {
            let count = |is: fn(TestStatus) -> bool| {
                tests
                    .iter()
                    .filter(|test| is(test.result.status))
                    .count()
                    .to_string()
            };
            writer
                .create_element("testsuite")
                .with_attribute(("name", if suite.is_empty() { name } else { suite }))
                .with_attribute(("tests", &*tests.len().to_string()))
                .with_attribute(("failures", &*count(|status| !status.is_good())))
                .with_attribute(("skipped", &*count(|status| status == TestStatus::Skipped)))
                .write_inner_content(|writer| {
                    tests.iter().try_for_each(|test| case(writer, test))
                })?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(writer: &mut Writer<impl io::Write>, test: &Reported<'_>) -> io::Result<()> {
    let result = test.result;
    let seconds = result.duration_ms.map(|ms| format!("{:.3}", ms / 1000.0));
    let mut element = writer
        .create_element("testcase")
        .with_attribute(("classname", &*result.key.suite))
        .with_attribute(("name", &*result.key.name));
    if let Some(seconds) = &seconds {
        element = element.with_attribute(("time", &**seconds));
    }
    element.write_inner_content(|writer| {
        match result.status {
            TestStatus::Passed => {}
            TestStatus::Skipped => {
                let message = result.message.as_deref().unwrap_or_default();
                writer
                    .create_element("skipped")
                    .with_attribute(("message", message))
                    .write_empty()?;
            }
            TestStatus::Failed | TestStatus::TimedOut | TestStatus::Unfinished => {
                failure(writer, "failure", result)?;
            }
        }
        let name = if result.status.is_good() {
            "flakyFailure"
        } else {
            "rerunFailure"
        };
        (test.failed_before.iter()).try_for_each(|before| failure(writer, name, before))
    })?;
    Ok(())
}

fn failure(writer: &mut Writer<impl io::Write>, name: &str, result: &TestResult) -> io::Result<()> {
    let message = printable(result.message.as_deref().unwrap_or(result.status.name()));
    writer
        .create_element(name)
        .with_attribute(("message", &*message))
        .with_attribute(("type", result.status.name()))
        .write_text_content(BytesText::new(&printable(
            result.output.as_deref().unwrap_or_default(),
        )))?;
    Ok(())
}

/// Without the characters that XML cannot hold.
fn printable(text: &str) -> String {
    let is_allowed = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    text.chars().filter(is_allowed).collect()
}
