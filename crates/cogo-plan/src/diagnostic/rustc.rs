//! What rustc, and cargo around it, says in JSON.

use serde_json::Value;

use super::mapping::number_of;
use super::{Diagnostic, Edit, Note, Severity, Suggestion};

/// The tool's name in diagnostics.
const TOOL: &str = "rustc";

/// The diagnostics of a message. None if it is not rustc's.
pub(super) fn extract(root: &Value) -> Option<Vec<Diagnostic>> {
    // Cargo wraps what rustc says. Its other messages are about artifacts.
    let message = root
        .get("message")
        .filter(|m| m.is_object())
        .unwrap_or(root);
    if message.get("spans").is_none() || message.get("level").is_none() {
        let is_cargo = root.get("reason").is_some_and(Value::is_string);
        return is_cargo.then(Vec::new);
    }
    Some(diagnostic(message).into_iter().collect())
}

fn diagnostic(message: &Value) -> Option<Diagnostic> {
    let text = string(message, "message")?;
    let spans = message.get("spans")?.as_array()?;
    let primary = spans
        .iter()
        .find(|span| span.get("is_primary") == Some(&Value::Bool(true)));
    let severity = match message.get("level")?.as_str()? {
        "error" | "error: internal compiler error" => Severity::Error,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    };
    // Summaries such as `2 warnings emitted` have no place.
    if primary.is_none() && is_summary(&text) {
        return None;
    }
    let number = |name| primary.and_then(|span| number_of(span.get(name)?));
    let children = message.get("children").and_then(Value::as_array);
    let children = children.map(Vec::as_slice).unwrap_or_default();
    Some(Diagnostic {
        tool: TOOL.to_owned(),
        file: primary.and_then(|span| string(span, "file_name")),
        line: number("line_start"),
        column: number("column_start"),
        end_line: number("line_end"),
        end_column: number("column_end"),
        severity,
        code: message.get("code").and_then(|code| string(code, "code")),
        message: text,
        notes: notes(spans, children),
        suggestions: children.iter().filter_map(suggestion).collect(),
    })
}

fn is_summary(text: &str) -> bool {
    text.starts_with("aborting due to")
        || text.ends_with("warnings emitted")
        || text.ends_with("warning emitted")
        || text.starts_with("For more information about")
        || text.starts_with("Some errors have detailed explanations")
}

/// Labels of places, and what help and notes say.
fn notes(spans: &[Value], children: &[Value]) -> Vec<Note> {
    let labels = spans.iter().filter_map(|span| {
        Some(Note {
            message: string(span, "label")?,
            ..place(Some(span))
        })
    });
    let children = children.iter().filter_map(|child| {
        let spans = child.get("spans").and_then(Value::as_array);
        Some(Note {
            message: string(child, "message")?,
            ..place(spans.and_then(|spans| spans.first()))
        })
    });
    labels.chain(children).collect()
}

fn place(span: Option<&Value>) -> Note {
    let number = |name| span.and_then(|span| number_of(span.get(name)?));
    Note {
        message: String::new(),
        file: span.and_then(|span| string(span, "file_name")),
        line: number("line_start"),
        column: number("column_start"),
    }
}

/// The repair that a child is, if it replaces something.
fn suggestion(child: &Value) -> Option<Suggestion> {
    let spans = child.get("spans")?.as_array()?;
    let edits: Vec<Edit> = spans.iter().filter_map(edit).collect();
    let applicability = spans
        .iter()
        .find_map(|span| string(span, "suggestion_applicability"));
    (!edits.is_empty()).then(|| Suggestion {
        message: string(child, "message").unwrap_or_default(),
        applicability,
        edits,
    })
}

fn edit(span: &Value) -> Option<Edit> {
    let number = |name| span.get(name).and_then(number_of);
    Some(Edit {
        file: string(span, "file_name")?,
        start: (number("line_start")?, number("column_start")?),
        end: (number("line_end")?, number("column_end")?),
        // An empty replacement removes.
        replacement: span.get("suggested_replacement")?.as_str()?.to_owned(),
    })
}

fn string(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}
