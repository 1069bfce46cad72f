//! How much there is of what.

use rusqlite::Connection;
use serde::Serialize;

use crate::store::StoreError;

/// How much there is of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// A language, or a reason to skip files.
    pub name: String,
    /// Files.
    pub files: u32,
    /// Their lines.
    pub lines: u32,
    /// Their definitions.
    pub symbols: u32,
}

/// How much there is in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Definitions.
    pub symbols: u32,
    /// Uses.
    pub edges: u32,
    /// By language, most lines first.
    pub languages: Vec<Count>,
    /// Files that were not parsed, by reason.
    pub skipped: Vec<Count>,
}

/// Counts what is in a repository.
///
/// # Errors
///
/// When SQLite fails.
pub fn counts(connection: &Connection) -> Result<Counts, StoreError> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u32>(0));
    Ok(Counts {
        symbols: count("SELECT count(*) FROM symbol")?,
        edges: count("SELECT count(*) FROM edge")?,
        languages: grouped(
            connection,
            "language",
            "language IS NOT NULL AND skipped IS NULL",
        )?,
        skipped: grouped(connection, "skipped", "skipped IS NOT NULL")?,
    })
}

fn grouped(connection: &Connection, by: &str, which: &str) -> Result<Vec<Count>, StoreError> {
    let mut read = connection.prepare(&format!(
        "SELECT {by}, count(*), sum(lines),
                coalesce(sum((SELECT count(*) FROM symbol s WHERE s.file_id = f.id)), 0)
         FROM file f WHERE {which} GROUP BY {by} ORDER BY sum(lines) DESC, {by}"
    ))?;
    let rows = read.query_map([], |row| {
        Ok(Count {
            name: row.get(0)?,
            files: row.get(1)?,
            lines: row.get(2)?,
            symbols: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
