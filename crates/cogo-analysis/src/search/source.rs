//! What the index is made of: the files and symbols of the analysis.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;

use super::{SourceFile, Span};

/// Larger files are data, or made by a program.
const BYTES_MAX: u64 = 1 << 20;

/// The kinds of symbols that are found as one.
const KINDS: &str = "'function', 'method', 'class', 'struct', 'enum', 'union', 'trait', \
                     'interface', 'type', 'module', 'macro', 'test', 'table', 'heading'";

/// The files of an analysis that are worth searching, with their symbols: no generated, vendored
/// or binary ones, and no lock files.
///
/// # Errors
///
/// What SQLite says.
pub fn sources(connection: &Connection) -> Result<Vec<SourceFile>, rusqlite::Error> {
    let mut spans = spans(connection)?;
    let sql = "SELECT id, path, hash, size, modified_ns FROM file
               WHERE origin = 'source' AND size <= ?1 ORDER BY path";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([BYTES_MAX])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        let path: String = row.get(1)?;
        if is_lock(&path) {
            continue;
        }
        let hash: Option<Vec<u8>> = row.get(2)?;
        let stamp = match hash {
            Some(hash) => hash,
            None => format!("{} {}", row.get::<_, i64>(3)?, row.get::<_, i64>(4)?).into_bytes(),
        };
        files.push(SourceFile {
            path,
            stamp,
            spans: spans.remove(&row.get(0)?).unwrap_or_default(),
        });
    }
    Ok(files)
}

fn spans(connection: &Connection) -> Result<HashMap<i64, Vec<Span>>, rusqlite::Error> {
    let sql = format!(
        "SELECT file_id, qualified, kind, line, end_line FROM symbol WHERE kind IN ({KINDS})"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut spans: HashMap<i64, Vec<Span>> = HashMap::new();
    while let Some(row) = rows.next()? {
        spans.entry(row.get(0)?).or_default().push(Span {
            name: row.get(1)?,
            kind: row.get(2)?,
            line: row.get(3)?,
            end_line: row.get(4)?,
        });
    }
    Ok(spans)
}

fn is_lock(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.strip_suffix(".lock").is_some() || name == "package-lock.json" || name == "go.sum"
}

/// The text of a file; `None` for a link, for one that is too large and for one that is no text.
pub fn read_text(root: &Path, path: &str) -> Option<String> {
    let file = root.join(path);
    let metadata = std::fs::symlink_metadata(&file).ok()?;
    if !metadata.is_file() || metadata.len() > BYTES_MAX {
        return None;
    }
    let text = String::from_utf8(std::fs::read(file).ok()?).ok()?;
    (!text.contains('\0')).then_some(text)
}
