//! Diagnostics for others: SARIF, annotations of GitHub, lines for people.

use serde_json::{Value, json};

use super::{Diagnostic, Edit, Severity, Suggestion};

/// One line for people: `src/a.rs:1:2: error[E1]: what is wrong`.
pub fn line(diagnostic: &Diagnostic) -> String {
    let mut text = diagnostic.file.clone().unwrap_or_default();
    if !text.is_empty() {
        for number in [diagnostic.line, diagnostic.column].into_iter().flatten() {
            text.push_str(&format!(":{number}"));
        }
        text.push_str(": ");
    }
    text.push_str(diagnostic.severity.name());
    if let Some(code) = &diagnostic.code {
        text.push_str(&format!("[{code}]"));
    }
    let message = diagnostic.message.lines().next().unwrap_or_default();
    text.push_str(&format!(": {message}"));
    text
}

/// A workflow command that GitHub shows at the line:
/// `::error file=src/a.rs,line=1,col=2,title=E1::what is wrong`.
pub fn github(diagnostic: &Diagnostic) -> String {
    let command = match diagnostic.severity {
        Severity::Info => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let number = |name, value: Option<u32>| Some((name, value?.to_string()));
    let properties = [
        diagnostic.file.clone().map(|file| ("file", file)),
        number("line", diagnostic.line),
        number("endLine", diagnostic.end_line),
        number("col", diagnostic.column),
        number("endColumn", diagnostic.end_column),
        diagnostic.code.clone().map(|code| ("title", code)),
    ];
    let properties: Vec<String> = properties
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            format!(
                "{name}={}",
                escaped(&value).replace(':', "%3A").replace(',', "%2C")
            )
        })
        .collect();
    let space = if properties.is_empty() { "" } else { " " };
    let message = escaped(&diagnostic.message);
    format!("::{command}{space}{}::{message}", properties.join(","))
}

/// Text in a workflow command, which is one line.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A SARIF 2.1.0 log with one run for each tool.
pub fn sarif(diagnostics: &[Diagnostic]) -> Value {
    let mut tools: Vec<&str> = Vec::new();
    for diagnostic in diagnostics {
        if !tools.contains(&diagnostic.tool.as_str()) {
            tools.push(&diagnostic.tool);
        }
    }
    let runs: Vec<Value> = tools
        .iter()
        .map(|tool| {
            let own = diagnostics.iter().filter(|d| d.tool == *tool);
            json!({
                "tool": { "driver": { "name": tool } },
                "columnKind": "unicodeCodePoints",
                "results": own.map(result).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": runs,
    })
}

fn result(diagnostic: &Diagnostic) -> Value {
    let level = match diagnostic.severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let mut result = json!({ "level": level, "message": { "text": diagnostic.message } });
    if let Some(code) = &diagnostic.code {
        result["ruleId"] = json!(code);
    }
    if let Some(file) = &diagnostic.file {
        let place = [
            ("startLine", diagnostic.line),
            ("startColumn", diagnostic.column),
            ("endLine", diagnostic.end_line),
            ("endColumn", diagnostic.end_column),
        ];
        result["locations"] = json!([location(file, &place)]);
    }
    let related: Vec<Value> = diagnostic
        .notes
        .iter()
        .filter_map(|note| {
            let place = [("startLine", note.line), ("startColumn", note.column)];
            let mut location = location(note.file.as_ref()?, &place);
            location["message"] = json!({ "text": note.message });
            Some(location)
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    if !diagnostic.suggestions.is_empty() {
        let fixes: Vec<Value> = diagnostic.suggestions.iter().map(fix).collect();
        result["fixes"] = json!(fixes);
    }
    result
}

/// A place. SARIF counts from 1; a 0 stands for the whole file and is left out.
fn location(file: &str, place: &[(&str, Option<u32>)]) -> Value {
    let known = place
        .iter()
        .filter_map(|(name, number)| Some((*name, (*number)?)));
    let known: Vec<(&str, u32)> = known.filter(|(_, number)| *number > 0).collect();
    let mut location = json!({ "artifactLocation": { "uri": file.replace('\\', "/") } });
    // A region without its first line is not allowed.
    if known.iter().any(|(name, _)| *name == "startLine") {
        let region = known
            .into_iter()
            .map(|(name, number)| (name.to_owned(), json!(number)));
        location["region"] = Value::Object(region.collect());
    }
    json!({ "physicalLocation": location })
}

fn fix(suggestion: &Suggestion) -> Value {
    let changes: Vec<Value> = suggestion.edits.iter().map(change).collect();
    json!({ "description": { "text": suggestion.message }, "artifactChanges": changes })
}

fn change(edit: &Edit) -> Value {
    json!({
        "artifactLocation": { "uri": edit.file.replace('\\', "/") },
        "replacements": [{
            "deletedRegion": {
                "startLine": edit.start.0,
                "startColumn": edit.start.1,
                "endLine": edit.end.0,
                "endColumn": edit.end.1,
            },
            "insertedContent": { "text": edit.replacement },
        }],
    })
}
