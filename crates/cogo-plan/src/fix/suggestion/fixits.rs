//! What gcc and clang propose: lines `fix-it:"file":{1:2-1:3}:"text"` behind their diagnostics.
//!
//! gcc writes them when `GCC_EXTRA_DIAGNOSTIC_OUTPUT` asks for it, whatever builds; clang when its
//! command does.

use std::sync::LazyLock;

use regex::Regex;

use crate::diagnostic::{Edit, Suggestion};
use crate::fix::findings::Located;

static FIX_IT: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"^fix-it:"((?:[^"\\]|\\.)*)":\{(\d+):(\d+)-(\d+):(\d+)\}:"((?:[^"\\]|\\.)*)"$"#;
    Regex::new(pattern).expect("the pattern is sound")
});

/// The repair for an error, from the lines behind it.
pub(super) fn suggestions(output: &str, error: &Located) -> Option<Suggestion> {
    let diagnostic = &error.diagnostic;
    let (file, line) = (diagnostic.file.as_deref()?, diagnostic.line?);
    let column = diagnostic.column.map_or(String::new(), |c| format!("{c}:"));
    let head = format!("{file}:{line}:{column}");
    let mut lines = output.lines();
    lines.find(|text| text.starts_with(&head) && text.contains(&diagnostic.message))?;
    // They come before the next diagnostic, and notes may stand between.
    let mut edits = Vec::new();
    for text in lines {
        if let Some(edit) = FIX_IT.captures(text).and_then(|found| edit(&found)) {
            edits.push(edit);
        } else if text.contains(": error:") || text.contains(": warning:") {
            break;
        }
    }
    let message = format!("what {} proposes", diagnostic.tool);
    (!edits.is_empty()).then_some(Suggestion {
        message,
        applicability: None,
        edits,
    })
}

fn edit(found: &regex::Captures) -> Option<Edit> {
    let number = |group: usize| found[group].parse().ok();
    Some(Edit {
        file: plain(&found[1]),
        start: (number(2)?, number(3)?),
        end: (number(4)?, number(5)?),
        replacement: plain(&found[6]),
    })
}

/// A text without its escapes.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(digit @ b'0'..=b'7') => {
                let mut value = u32::from(digit - b'0');
                while let Some(more) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) {
                    value = value * 8 + u32::from(more - b'0');
                }
                bytes.push(value as u8);
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
