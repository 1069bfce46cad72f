//! Diagnostics from documents: the table says where in a document the fields are.
//!
//! A path is a list of steps with dots between them: a key, a number of a list's element, or `*` for
//! every one. A field's path is tried at the finding first, then at what encloses it, so that a finding
//! may lie inside of the file that it is about. `@key` is the nearest key on the way to the
//! finding, `.` is the finding itself, and `@first` behind a path is the first letter. A path with braces is a
//! text with paths.

use serde_json::Value;

use super::lines::without_escapes;
use super::table::{DocumentFormat, Table};
use super::{Diagnostic, Severity};

/// The objects around a finding, outermost first, each with its key.
pub(super) type Scopes<'a> = Vec<(&'a str, &'a Value)>;

/// The diagnostics of a document in a format that the table knows.
pub(super) fn extract(table: &Table, root: &Value) -> Option<Vec<Diagnostic>> {
    let fits = |format: &&DocumentFormat| {
        let mut when = format.when.iter();
        when.all(|path| leads_somewhere(root, path))
    };
    let format = table.documents.iter().find(fits)?;
    let mut found = Vec::new();
    if format.items.is_empty() {
        found.extend(diagnostic(table, format, &vec![("", root)]));
    }
    for items in &format.items {
        let steps: Vec<&str> = items.split('.').collect();
        let mut scopes = vec![("", root)];
        visit(&steps, &mut scopes, &mut |scopes| {
            found.extend(diagnostic(table, format, scopes));
        });
    }
    Some(found)
}

fn leads_somewhere(root: &Value, path: &str) -> bool {
    // `path=text` asks for a text, too.
    let (path, wanted) = match path.split_once('=') {
        Some((path, wanted)) => (path, Some(wanted)),
        None => (path, None),
    };
    let steps: Vec<&str> = path.split('.').collect();
    let mut found = false;
    visit(&steps, &mut vec![("", root)], &mut |scopes| {
        let value = scopes.last().map(|(_, value)| *value);
        found |= wanted.is_none_or(|wanted| value.and_then(Value::as_str) == Some(wanted));
    });
    found
}

/// Calls `each` for everything that a path leads to, with what encloses it.
fn visit<'a>(steps: &[&str], scopes: &mut Scopes<'a>, each: &mut impl FnMut(&Scopes<'a>)) {
    let Some(&(_, value)) = scopes.last() else {
        return;
    };
    let Some((step, rest)) = steps.split_first() else {
        each(scopes);
        return;
    };
    let mut enter = |key: &'a str, value: &'a Value| {
        scopes.push((key, value));
        visit(rest, scopes, each);
        scopes.pop();
    };
    match (value, *step) {
        (Value::Array(list), "*") => list.iter().for_each(|value| enter("", value)),
        (Value::Object(fields), "*") => fields.iter().for_each(|(key, value)| enter(key, value)),
        (Value::Object(fields), key) => {
            if let Some((key, value)) = fields.get_key_value(key) {
                enter(key, value);
            }
        }
        (Value::Array(list), index) => {
            let value = index.parse().ok().and_then(|index: usize| list.get(index));
            if let Some(value) = value {
                enter("", value);
            }
        }
        _ => {}
    }
}

fn diagnostic(table: &Table, format: &DocumentFormat, scopes: &Scopes) -> Option<Diagnostic> {
    if format.unless.iter().any(|path| holds(scopes, path)) {
        return None;
    }
    let text = |paths: &[String]| paths.iter().find_map(|path| text_at(scopes, path));
    let number = |paths: &[String]| paths.iter().find_map(|path| number_at(scopes, path));
    let lines = u32::from(format.lines_from_zero);
    let columns = u32::from(format.columns_from_zero);
    let word = text(&format.level);
    let severity = word.and_then(|word| table.severity_word(&format.severities, &word));
    let code = text(&format.code);
    let message = text(&format.message).or_else(|| code.clone())?;
    Some(Diagnostic {
        tool: format.name.clone(),
        file: text(&format.file).map(without_scheme),
        line: number(&format.line).map(|line| line + lines),
        column: number(&format.column).map(|column| column + columns),
        end_line: number(&format.end_line).map(|line| line + lines),
        end_column: number(&format.end_column).map(|column| column + columns),
        severity: severity.or(format.severity).unwrap_or(Severity::Warning),
        code,
        message: without_escapes(message.trim()).into_owned(),
        ..Diagnostic::default()
    })
}

/// A path of a file, without the scheme that some reports put before it.
fn without_scheme(file: String) -> String {
    file.strip_prefix("file://")
        .map_or(file.clone(), str::to_owned)
}

/// Whether a path leads to `true`, or to the text behind its `=`.
fn holds(scopes: &Scopes, path: &str) -> bool {
    match path.split_once('=') {
        Some((path, wanted)) => text_at(scopes, path).as_deref() == Some(wanted),
        None => field(scopes, path) == Some(&Value::Bool(true)),
    }
}

/// Puts what the paths in braces lead to in their places. None if one leads nowhere.
fn filled(template: &str, scopes: &Scopes) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        let (path, behind) = behind.split_once('}')?;
        text.push_str(&text_at(scopes, path)?);
        rest = behind;
    }
    text.push_str(rest);
    Some(text)
}

/// What a path leads to, from the finding or from what encloses it.
fn field<'a>(scopes: &Scopes<'a>, path: &str) -> Option<&'a Value> {
    scopes
        .iter()
        .rev()
        .find_map(|(_, value)| at(value, path))
        .filter(|value| !value.is_null())
}

/// What a path leads to from one value.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get(step),
        _ => None,
    })
}

fn text_at(scopes: &Scopes, path: &str) -> Option<String> {
    if path.contains('{') {
        return filled(path, scopes);
    }
    if let Some(path) = path.strip_suffix("@first") {
        let whole = text_at(scopes, path)?;
        return whole.chars().next().map(String::from);
    }
    if path == "." {
        return scopes.last().and_then(|(_, value)| text_of(value));
    }
    if path == "@key" {
        let mut keys = scopes.iter().rev().map(|(key, _)| *key);
        return keys.find(|key| !key.is_empty()).map(str::to_owned);
    }
    field(scopes, path).and_then(text_of)
}

/// A value as text, if it is none that has parts.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value as a count, if it is one. XML has its numbers as text.
pub(super) fn number_of(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number_at(scopes: &Scopes, path: &str) -> Option<u32> {
    if path == "." {
        return scopes.last().and_then(|(_, value)| number_of(value));
    }
    field(scopes, path).and_then(number_of)
}
