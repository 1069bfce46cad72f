//! Definitions that nothing seems to use.

use rusqlite::Connection;

use super::{FOUND, Found, found};
use crate::store::StoreError;

/// Candidates for removal: functions, methods and types that no edge leads to, and that are no
/// entry, test, override or public interface.
///
/// They are candidates: what is used by reflection, from a macro or from outside is not seen.
///
/// # Errors
///
/// When SQLite fails.
pub fn candidates(connection: &Connection, with_exported: bool) -> Result<Vec<Found>, StoreError> {
    let mut read = connection.prepare_cached(&format!(
        "{FOUND}
         WHERE s.kind IN ('function', 'method', 'class', 'struct', 'enum', 'constant', 'type')
           AND NOT s.is_test AND NOT f.is_test AND f.origin = 'source'
           AND (?1 OR NOT s.is_exported OR f.language IN ('python'))
           AND s.name NOT IN ('main', 'init', 'constructor', 'new', 'drop', 'fmt')
           AND s.name NOT LIKE '\\_\\_%\\_\\_' ESCAPE '\\'
           AND NOT EXISTS (
               SELECT 1 FROM edge e WHERE e.target_id = s.id
               AND (e.source_id IS NULL OR e.source_id != s.id) AND e.kind != 'imports')
           -- A member of something with bases may be called through them.
           AND NOT (s.kind = 'method' AND EXISTS (
               SELECT 1 FROM symbol p WHERE p.id = s.parent_id AND p.bases IS NOT NULL))
           AND NOT (s.kind = 'method' AND EXISTS (
               SELECT 1 FROM symbol p WHERE p.id = s.parent_id AND p.kind IN ('trait', 'interface')))
         ORDER BY f.path, s.line"
    ))?;
    let rows = read.query_map([with_exported], found)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
