//! Diagnostics from documents that the table does not know.
//!
//! Reports of findings look alike: somewhere there are objects with a message and a line or a file, and
//! what they lack stands in the objects around them. An object counts as a finding if it says what is
//! wrong and, itself, where or how bad. Keys are compared without case and separators.

use serde_json::{Map, Value};

use super::lines::without_escapes;
use super::mapping::{Scopes, number_of, text_of};
use super::table::Table;
use super::{Diagnostic, Severity};

/// Deeper documents are not looked into.
const DEPTH_MAX: usize = 24;

const MESSAGES: &[&str] = &[
    "message",
    "msg",
    "text",
    "rawmsg",
    "reason",
    "title",
    "description",
    "checkname",
    "desc",
    "details",
    "summary",
    "ruledescription",
    "rulename",
    "name",
    "issuetype",
    "explanation",
    "#text",
];
const FILES: &[&str] = &[
    "file",
    "filename",
    "filepath",
    "path",
    "filelocation",
    "sourcefile",
    "uri",
    "fullpath",
    "source",
    "resource",
    "document",
    "filepathname",
    "image",
    "packagepath",
    "component",
    "filerelativepath",
    "targetfile",
    "target",
];
const LINES: &[&str] = &[
    "line",
    "lineno",
    "linenumber",
    "startline",
    "linestart",
    "beginline",
    "linefrom",
    "lnum",
    "row",
    "startlinenumber",
    "startlineno",
    "start",
    "firstline",
    "lines",
    "filelinerange",
    "linerange",
    "span",
];
const COLUMNS: &[&str] = &[
    "column",
    "col",
    "columnnumber",
    "startcolumn",
    "columnstart",
    "begincolumn",
    "columnfrom",
    "colno",
    "linepos",
    "char",
    "character",
    "offset",
];
const LEVELS: &[&str] = &[
    "severity",
    "level",
    "severityname",
    "priority",
    "impact",
    "etype",
    "criticality",
    "severitylevel",
    "errortype",
    "confidence",
    "kind",
    "type",
    "category",
];
const CODES: &[&str] = &[
    "code",
    "ruleid",
    "rule",
    "checkid",
    "check",
    "copname",
    "rulecode",
    "ruleidentifier",
    "testid",
    "symbol",
    "id",
    "vulnerabilityid",
    "vuln",
    "cve",
    "errorcode",
    "number",
    "smelltype",
    "linter",
    "pluginid",
    "type",
    "name",
    "title",
    "key",
];
/// Objects inside of a finding that say where it is.
const PLACES: &[&str] = &[
    "location",
    "locations",
    "range",
    "span",
    "pos",
    "position",
    "start",
    "begin",
    "region",
    "loc",
    "primarylabel",
    "primaryspan",
    "physicallocation",
    "artifactlocation",
    "lines",
    "extent",
    "linerange",
    "sourcelocation",
    "filepath",
    "files",
    "vulnerability",
];

/// The diagnostics of a document.
pub(super) fn extract(table: &Table, root: &Value) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    visit(table, &mut vec![("", root)], &mut found);
    found
}

fn visit<'a>(table: &Table, scopes: &mut Scopes<'a>, found: &mut Vec<Diagnostic>) {
    let Some(&(_, value)) = scopes.last() else {
        return;
    };
    if scopes.len() > DEPTH_MAX {
        return;
    }
    if let Value::Object(fields) = value
        && let Some(diagnostic) = finding(table, fields, scopes)
    {
        found.push(diagnostic);
        return;
    }
    let mut enter = |key: &'a str, value: &'a Value| {
        if value.is_object() || value.is_array() {
            scopes.push((key, value));
            visit(table, scopes, found);
            scopes.pop();
        }
    };
    match value {
        Value::Array(list) => list.iter().for_each(|value| enter("", value)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| enter(key, value)),
        _ => {}
    }
}

/// The finding that an object is.
fn finding(table: &Table, fields: &Map<String, Value>, scopes: &Scopes) -> Option<Diagnostic> {
    let message = text(fields, MESSAGES)?;
    let line = number(fields, LINES, 0);
    let level = level(table, fields);
    let own_file = file(fields, 0);
    // One hint may be chance: a message and a level make a line of a log, a name and a path any list.
    let has_code = text(fields, CODES).is_some();
    let weak = level.is_none() || !(has_code || own_file.is_some());
    if line.is_none() && weak || has_findings_inside(table, fields, scopes) {
        return None;
    }
    let file = own_file.or_else(|| enclosing_file(scopes));
    if line.is_some() && file.is_none() && level.is_none() && !has_code {
        return None;
    }
    Some(Diagnostic {
        tool: "report".to_owned(),
        file,
        line,
        column: number(fields, COLUMNS, 0),
        severity: level.unwrap_or(Severity::Warning),
        code: code(fields, &message),
        message: without_escapes(&message).into_owned(),
        ..Diagnostic::default()
    })
}

/// Whether the object only holds the findings: a file with a list of messages has a name too.
fn has_findings_inside(table: &Table, fields: &Map<String, Value>, scopes: &Scopes) -> bool {
    fields.values().any(|value| {
        let Value::Array(list) = value else {
            return false;
        };
        list.iter().filter_map(Value::as_object).any(|inner| {
            text(inner, MESSAGES).is_some()
                && number(inner, LINES, 0).is_some()
                && finding(table, inner, scopes).is_some()
        })
    })
}

/// A key as it is compared.
fn plain(key: &str) -> String {
    key.chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The value under the first of the names that is there and is not nothing.
fn get<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> impl Iterator<Item = &'a Value> {
    let mut found: Vec<(usize, &Value)> = fields
        .iter()
        .filter_map(|(key, value)| {
            let key = plain(key);
            Some((names.iter().position(|name| *name == key)?, value))
        })
        .collect();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, value)| value)
}

fn text(fields: &Map<String, Value>, names: &[&str]) -> Option<String> {
    get(fields, names).find_map(|value| match value {
        Value::String(_) | Value::Number(_) => text_of(value),
        // XML: an element with nothing but text.
        Value::Array(list) => list.first()?.get(super::document::TEXT).and_then(text_of),
        Value::Object(fields) => ["text", "name", "id", "code", "value"]
            .iter()
            .find_map(|name| fields.get(*name).and_then(text_of)),
        _ => None,
    })
}

/// A number of the object, or of an object in it that says where.
fn number(fields: &Map<String, Value>, names: &[&str], depth: usize) -> Option<u32> {
    let own = get(fields, names).find_map(|value| match value {
        Value::Array(list) => list.first().and_then(|first| {
            number_of(first).or_else(|| first.get(super::document::TEXT).and_then(number_of))
        }),
        value => number_of(value),
    });
    own.or_else(|| {
        if depth > 3 {
            return None;
        }
        places(fields).find_map(|fields| number(fields, names, depth + 1))
    })
}

/// The objects in an object that say where.
fn places(fields: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    get(fields, PLACES).filter_map(|value| match value {
        Value::Object(fields) => Some(fields),
        Value::Array(list) => list.first().and_then(Value::as_object),
        _ => None,
    })
}

fn file(fields: &Map<String, Value>, depth: usize) -> Option<String> {
    let own = get(fields, FILES).find_map(|value| {
        let text = text_of(value).filter(|_| value.is_string())?;
        Some(text).filter(|text| looks_like_file(text))
    });
    own.or_else(|| {
        if depth > 3 {
            return None;
        }
        places(fields).find_map(|fields| file(fields, depth + 1))
    })
}

/// The file of the nearest object around that has one, or its key if that is a file's name.
fn enclosing_file(scopes: &Scopes) -> Option<String> {
    scopes.iter().rev().find_map(|(key, value)| {
        let own = value.as_object().and_then(|fields| {
            let name = fields.get("name").and_then(Value::as_str);
            file(fields, 0).or_else(|| name.filter(|name| looks_like_file(name)).map(str::to_owned))
        });
        own.or_else(|| (key.contains('.') && looks_like_file(key)).then(|| (*key).to_owned()))
    })
}

fn looks_like_file(text: &str) -> bool {
    !text.contains([' ', '\n']) && text.contains(['.', '/', '\\']) || text.contains('/')
}

/// The severity: the first level whose word is known.
fn level(table: &Table, fields: &Map<String, Value>) -> Option<Severity> {
    let none = std::collections::BTreeMap::new();
    get(fields, LEVELS).find_map(|value| {
        let word = match value {
            Value::String(word) => word.clone(),
            Value::Array(list) => list
                .first()?
                .get(super::document::TEXT)?
                .as_str()?
                .to_owned(),
            _ => return None,
        };
        table.severity_word(&none, &word)
    })
}

/// The kind of finding. What serves as the message is no code.
fn code(fields: &Map<String, Value>, message: &str) -> Option<String> {
    get(fields, CODES).find_map(|value| {
        let code = match value {
            Value::Object(fields) => ["id", "code", "name", "value", "text"]
                .iter()
                .find_map(|name| fields.get(*name).and_then(text_of))?,
            value => text_of(value)?,
        };
        (code != message && !code.contains(char::is_whitespace)).then_some(code)
    })
}
