//! `go test -json` and `go build -json`: the tool's text in pieces, each in an object of its own.

use serde_json::Value;

/// What an event means to the parser.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TestEvent<'a> {
    /// Text that a test or the build wrote, to be read like any other.
    Output(&'a str),
    /// Something happened that says nothing new: results are in the text, too.
    Other,
}

/// The event that a document is. None if it is none.
pub(super) fn event(root: &Value) -> Option<TestEvent<'_>> {
    let action = root.get("Action")?.as_str()?;
    root.get("Package").or_else(|| root.get("ImportPath"))?;
    if !matches!(action, "output" | "build-output") {
        return Some(TestEvent::Other);
    }
    Some(
        root.get("Output")
            .and_then(Value::as_str)
            .map_or(TestEvent::Other, TestEvent::Output),
    )
}
