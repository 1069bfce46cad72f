//! Questions to the graph. All of them read only, and none needs the files.

pub mod counts;
pub mod dead;
pub mod graph;
pub mod impact;
pub mod modules;
pub mod sql;

use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};
use serde::Serialize;

use crate::store::StoreError;

/// A definition, as results tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Its id in the store; stays while the definition does.
    pub id: i64,
    /// Its name with those of what is around it.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// The file, from the root.
    pub path: String,
    /// The line of its name, from 1.
    pub line: u32,
    /// Its last line.
    pub end_line: u32,
    /// Its head on one line.
    pub signature: String,
    /// Whether it is a test, or in a file of tests.
    pub is_test: bool,
}

/// A place where a symbol is used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file, from the root.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// In bytes, from 1.
    pub column: u32,
    /// How it is used.
    pub kind: String,
    /// What is used.
    pub target: String,
    /// What uses it; `None` for the file itself.
    pub within: Option<String>,
    /// How sure it is that it is meant.
    pub confidence: f64,
}

pub(crate) const FOUND: &str = "SELECT s.id, s.qualified, s.kind, f.path, s.line, s.end_line, \
    s.signature, s.is_test OR f.is_test FROM symbol s JOIN file f ON f.id = s.file_id";

pub(crate) fn found(row: &Row<'_>) -> Result<Found, rusqlite::Error> {
    Ok(Found {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        path: row.get(3)?,
        line: row.get(4)?,
        end_line: row.get(5)?,
        signature: row.get(6)?,
        is_test: row.get(7)?,
    })
}

/// The definitions that a text means: a name, the end of a qualified name (`Store::open` or
/// `Store.open`), or a place (`src/store.rs:12`, or `src/store.rs:open`).
///
/// # Errors
///
/// When SQLite fails.
pub fn definitions(connection: &Connection, text: &str) -> Result<Vec<Found>, StoreError> {
    if let Some((path, rest)) = text.rsplit_once(':')
        && !path.ends_with(':')
        && file_id(connection, path)?.is_some()
    {
        return match rest.parse::<u32>() {
            Ok(line) => Ok(at_line(connection, path, line)?.into_iter().collect()),
            Err(_) => Ok(named(connection, rest)?
                .into_iter()
                .filter(|found| found.path == path)
                .collect()),
        };
    }
    named(connection, text)
}

fn named(connection: &Connection, text: &str) -> Result<Vec<Found>, StoreError> {
    let text = text.replace(['.', '#'], "::");
    let name = text.rsplit("::").next().unwrap_or(&text);
    let mut read = connection.prepare_cached(&format!(
        "{FOUND} WHERE s.name = ? ORDER BY f.is_test, f.path, s.line"
    ))?;
    let rows = read.query_map([name], found)?;
    let all: Vec<Found> = rows.collect::<Result<_, _>>()?;
    let ending = format!("::{text}");
    Ok(all
        .into_iter()
        .filter(|found| found.name == text || found.name.ends_with(&ending) || name == text)
        .collect())
}

/// The innermost definition around a line.
///
/// # Errors
///
/// When SQLite fails.
pub fn at_line(
    connection: &Connection,
    path: &str,
    line: u32,
) -> Result<Option<Found>, StoreError> {
    let mut read = connection.prepare_cached(&format!(
        "{FOUND} WHERE f.path = ?1 AND s.line <= ?2 AND s.end_line >= ?2
         ORDER BY s.end_line - s.line, s.position DESC LIMIT 1"
    ))?;
    Ok(read.query_row((path, line), found).optional()?)
}

/// The definitions of a file, in their order.
///
/// # Errors
///
/// When SQLite fails.
pub fn in_file(connection: &Connection, path: &str) -> Result<Vec<Found>, StoreError> {
    let mut read =
        connection.prepare_cached(&format!("{FOUND} WHERE f.path = ? ORDER BY s.position"))?;
    let rows = read.query_map([path], found)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The id of a file.
///
/// # Errors
///
/// When SQLite fails.
pub fn file_id(connection: &Connection, path: &str) -> Result<Option<i64>, StoreError> {
    let mut read = connection.prepare_cached("SELECT id FROM file WHERE path = ?")?;
    Ok(read.query_row([path], |row| row.get(0)).optional()?)
}

/// Definitions by their ids.
///
/// # Errors
///
/// When SQLite fails.
pub fn by_ids(connection: &Connection, ids: &[i64]) -> Result<Vec<Found>, StoreError> {
    let mut all = Vec::with_capacity(ids.len());
    let mut read = connection.prepare_cached(&format!("{FOUND} WHERE s.id = ?"))?;
    for id in ids {
        all.extend(read.query_row([id], found).optional()?);
    }
    Ok(all)
}

/// Where symbols are used, most certain first.
///
/// # Errors
///
/// When SQLite fails.
pub fn references(connection: &Connection, ids: &[i64]) -> Result<Vec<Place>, StoreError> {
    let marks = vec!["?"; ids.len()].join(", ");
    let mut read = connection.prepare(&format!(
        "SELECT f.path, e.line, e.column + 1, e.kind, t.qualified, s.qualified, e.confidence
         FROM edge e JOIN file f ON f.id = e.file_id JOIN symbol t ON t.id = e.target_id
         LEFT JOIN symbol s ON s.id = e.source_id
         WHERE e.target_id IN ({marks})
         ORDER BY round(e.confidence, 1) DESC, f.path, e.line, e.column"
    ))?;
    let rows = read.query_map(params_from_iter(ids), |row| {
        Ok(Place {
            path: row.get(0)?,
            line: row.get(1)?,
            column: row.get(2)?,
            kind: row.get(3)?,
            target: row.get(4)?,
            within: row.get(5)?,
            confidence: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
