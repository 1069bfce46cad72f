//! Repairs in the JSON of eslint and ruff.

use std::path::Path;

use serde_json::Value;

use crate::diagnostic::{Edit, Suggestion};
use crate::fix::findings::Located;
use crate::fix::tree::Tree;

/// The repairs for a finding. The report holds those of all of them.
pub(super) fn suggestions(
    tree: &Tree,
    cwd: &Path,
    output: &str,
    error: &Located,
) -> Vec<Suggestion> {
    let Some(report) = report(output) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in report {
        if item.get("messages").is_some() {
            found.extend(eslint(tree, cwd, &item, error));
        } else if item.get("fix").is_some() {
            found.extend(ruff(&item, error));
        }
    }
    found
}

/// The first list of objects that stands in the output as a line of its own.
fn report(output: &str) -> Option<Vec<Value>> {
    let start = if output.starts_with('[') {
        0
    } else {
        output.find("\n[")? + 1
    };
    let mut values = serde_json::Deserializer::from_str(&output[start..]).into_iter();
    values.next()?.ok()
}

fn eslint(tree: &Tree, cwd: &Path, item: &Value, error: &Located) -> Vec<Suggestion> {
    let file = item["filePath"].as_str().unwrap_or_default();
    if tree.resolve(cwd, file) != error.file || error.file.is_none() {
        return Vec::new();
    }
    let text = error.file.as_ref().and_then(|file| tree.read(file));
    let text = text.unwrap_or_default();
    let messages = item["messages"].as_array().cloned().unwrap_or_default();
    let wanted = |message: &&Value| {
        message["line"].as_u64() == error.diagnostic.line.map(u64::from)
            && message["ruleId"].as_str() == error.diagnostic.code.as_deref()
    };
    let mut found = Vec::new();
    for message in messages.iter().filter(wanted) {
        let own = message.get("fix").map(|fix| (fix, "MachineApplicable", ""));
        let more = message["suggestions"].as_array();
        let more = more.into_iter().flatten().map(|suggestion| {
            let what = suggestion["desc"].as_str().unwrap_or_default();
            (&suggestion["fix"], "MaybeIncorrect", what)
        });
        for (fix, applicability, what) in own.into_iter().chain(more) {
            let range = |index: usize| Some(fix["range"][index].as_u64()? as usize);
            let place = |index| range(index).and_then(|at| place_of_utf16(&text, at));
            if let (Some(start), Some(end)) = (place(0), place(1)) {
                let message = if what.is_empty() {
                    "what eslint would do"
                } else {
                    what
                };
                found.push(Suggestion {
                    message: message.to_owned(),
                    applicability: Some(applicability.to_owned()),
                    edits: vec![Edit {
                        file: file.to_owned(),
                        start,
                        end,
                        replacement: fix["text"].as_str().unwrap_or_default().to_owned(),
                    }],
                });
            }
        }
    }
    found
}

/// Line and column of a place that JavaScript counts in UTF-16 from the beginning.
fn place_of_utf16(text: &str, wanted: usize) -> Option<(u32, u32)> {
    let (mut at, mut line, mut column) = (0, 1, 1);
    for letter in text.chars() {
        if at >= wanted {
            break;
        }
        at += letter.len_utf16();
        if letter == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    (at == wanted).then_some((line, column))
}

fn ruff(item: &Value, error: &Located) -> Option<Suggestion> {
    let place = |value: &Value| {
        let number = |name: &str| u32::try_from(value[name].as_u64()?).ok();
        Some((number("row")?, number("column")?))
    };
    let diagnostic = &error.diagnostic;
    let same = item["code"].as_str() == diagnostic.code.as_deref()
        && place(&item["location"]).map(|(row, _)| row) == diagnostic.line
        && item["filename"].as_str() == diagnostic.file.as_deref();
    let fix = item.get("fix").filter(|fix| same && fix.is_object())?;
    let edits = fix["edits"].as_array()?.iter().map(|edit| {
        Some(Edit {
            file: item["filename"].as_str()?.to_owned(),
            start: place(&edit["location"])?,
            end: place(&edit["end_location"])?,
            replacement: edit["content"].as_str()?.to_owned(),
        })
    });
    let is_safe = fix["applicability"].as_str() == Some("safe");
    Some(Suggestion {
        message: fix["message"]
            .as_str()
            .unwrap_or("what ruff would do")
            .to_owned(),
        applicability: Some(
            if is_safe {
                "MachineApplicable"
            } else {
                "MaybeIncorrect"
            }
            .to_owned(),
        ),
        edits: edits.collect::<Option<_>>()?,
    })
}
