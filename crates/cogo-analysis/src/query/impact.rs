//! What a change touches: the definitions in it, who depends on them, and which tests to run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use rusqlite::Connection;
use serde::Serialize;

use super::graph::{Direction, Walk, walk};
use super::{FOUND, Found, file_id, found, in_file};
use crate::store::StoreError;

/// Changed lines of files; no lines at all for a file that changed as a whole.
pub type Changes = BTreeMap<String, Vec<RangeInclusive<u32>>>;

/// What a change touches.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Impact {
    /// The files of the change that the analysis knows.
    pub files: Vec<String>,
    /// Those that it does not know: other kinds of files, or files that are gone.
    pub unknown_files: Vec<String>,
    /// The definitions that changed.
    pub symbols: Vec<Found>,
    /// Those that use them, directly or not, nearest first.
    pub dependents: Vec<Dependent>,
    /// Files that import a changed one, directly or not.
    pub dependent_files: Vec<String>,
    /// The tests to run, nearest first.
    pub tests: Vec<Dependent>,
    /// Whether it ended before all was found.
    pub truncated: bool,
}

/// A symbol that a change reaches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dependent {
    /// Which.
    #[serde(flatten)]
    pub symbol: Found,
    /// Over how many uses.
    pub distance: u32,
}

/// Finds what a change touches.
///
/// # Errors
///
/// When SQLite fails.
pub fn impact(
    connection: &Connection,
    changes: &Changes,
    depth: u32,
    confidence_min: f64,
) -> Result<Impact, StoreError> {
    let mut impact = Impact::default();
    let mut file_ids = Vec::new();
    for (path, lines) in changes {
        match file_id(connection, path)? {
            Some(id) => {
                impact.files.push(path.clone());
                file_ids.push(id);
                impact
                    .symbols
                    .extend(changed(&in_file(connection, path)?, lines));
            }
            None => impact.unknown_files.push(path.clone()),
        }
    }
    let start: Vec<i64> = impact.symbols.iter().map(|symbol| symbol.id).collect();
    let how = Walk {
        direction: Direction::Callers,
        depth,
        confidence_min,
        calls_only: false,
    };
    let graph = walk(connection, &start, &how)?;
    impact.truncated = graph.truncated;
    for node in graph.nodes {
        let dependent = Dependent {
            symbol: node.symbol,
            distance: node.depth,
        };
        if dependent.symbol.is_test && is_runnable(&dependent.symbol) {
            impact.tests.push(dependent);
        } else if dependent.distance > 0 {
            impact.dependents.push(dependent);
        }
    }
    impact.dependent_files = importers(connection, &file_ids, depth)?;
    tests_at_file_level(connection, &start, &mut impact)?;
    Ok(impact)
}

/// The definitions whose lines changed. Of nested ones the inner is meant, if all is within it.
fn changed(definitions: &[Found], lines: &[RangeInclusive<u32>]) -> Vec<Found> {
    if lines.is_empty() {
        return definitions.to_vec();
    }
    let touches = |found: &Found| {
        lines
            .iter()
            .any(|range| *range.start() <= found.end_line && *range.end() >= found.line)
    };
    let affected: Vec<&Found> = definitions.iter().filter(|found| touches(found)).collect();
    let covers_inner = |outer: &Found| {
        let within = lines
            .iter()
            .filter(|range| *range.start() <= outer.end_line && *range.end() >= outer.line);
        within.clone().all(|range| {
            affected.iter().any(|inner| {
                inner.id != outer.id
                    && inner.line >= outer.line
                    && inner.end_line <= outer.end_line
                    && (inner.line, inner.end_line) != (outer.line, outer.end_line)
                    && inner.line <= *range.start()
                    && inner.end_line >= *range.end()
            })
        })
    };
    affected
        .iter()
        .filter(|found| !covers_inner(found))
        .map(|found| (*found).clone())
        .collect()
}

fn is_runnable(symbol: &Found) -> bool {
    matches!(symbol.kind.as_str(), "function" | "method" | "test")
}

/// Files that import one of some files, step by step.
fn importers(
    connection: &Connection,
    start: &[i64],
    depth: u32,
) -> Result<Vec<String>, StoreError> {
    let mut read = connection.prepare_cached(
        "SELECT DISTINCT f.id, f.path FROM import i JOIN file f ON f.id = i.file_id
         WHERE i.target_id = ?",
    )?;
    let mut seen: BTreeSet<i64> = start.iter().copied().collect();
    let mut level = start.to_vec();
    let mut paths = BTreeSet::new();
    for _ in 0..depth {
        let mut next = Vec::new();
        for id in level {
            let rows = read.query_map([id], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
            for row in rows {
                let (id, path): (i64, String) = row?;
                if seen.insert(id) {
                    paths.insert(path);
                    next.push(id);
                }
            }
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    Ok(paths.into_iter().collect())
}

/// Code of a test file outside of any function uses what changed: the file's tests all depend on
/// it.
fn tests_at_file_level(
    connection: &Connection,
    changed: &[i64],
    impact: &mut Impact,
) -> Result<(), StoreError> {
    let mut read = connection.prepare_cached(&format!(
        "{FOUND} WHERE s.is_test AND s.file_id IN (
             SELECT e.file_id FROM edge e JOIN file tf ON tf.id = e.file_id
             WHERE e.target_id = ? AND e.source_id IS NULL AND e.kind != 'imports' AND tf.is_test)"
    ))?;
    let mut known: BTreeSet<i64> = impact.tests.iter().map(|test| test.symbol.id).collect();
    for id in changed {
        for row in read.query_map([id], found)? {
            let symbol = row?;
            if is_runnable(&symbol) && known.insert(symbol.id) {
                impact.tests.push(Dependent {
                    symbol,
                    distance: 1,
                });
            }
        }
    }
    Ok(())
}

/// The changed lines that a unified diff without context tells, by the new path.
pub fn changes_of_diff(diff: &str) -> Changes {
    let mut changes = Changes::new();
    let mut path = None;
    for line in diff.lines() {
        if let Some(name) = line.strip_prefix("+++ ") {
            path = name.strip_prefix("b/").map(str::to_owned);
            if let Some(path) = &path {
                changes.entry(path.clone()).or_default();
            }
        } else if let Some(name) = line.strip_prefix("--- a/") {
            // A file that is gone has no new path; what used it is found by its old one.
            changes.entry(name.to_owned()).or_default();
        } else if let (Some(head), Some(path)) = (line.strip_prefix("@@ "), &path)
            && let Some(range) = new_lines(head)
        {
            changes.entry(path.clone()).or_default().push(range);
        }
    }
    changes
}

/// The new lines of a head such as `-1,2 +3,4 @@ …`.
fn new_lines(head: &str) -> Option<RangeInclusive<u32>> {
    let new = head.split(' ').find_map(|part| part.strip_prefix('+'))?;
    let (start, count) = new.split_once(',').unwrap_or((new, "1"));
    let start: u32 = start.parse().ok()?;
    let count: u32 = count.parse().ok()?;
    // Where lines went without others in their place, what is around the gap changed.
    Some(start.max(1)..=start.max(1) + count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diffs_tell_new_lines() {
        let diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +3,4 @@ fn\n+a\n@@ -9 +12 @@\n\
            --- a/gone\n+++ /dev/null\n@@ -1,5 +0,0 @@\n";
        let changes = changes_of_diff(diff);
        assert_eq!(changes["x"], [3..=6, 12..=12]);
        assert!(changes["gone"].is_empty());
    }
}
