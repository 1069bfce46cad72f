//! Which parts of a repository depend on which, and in circles.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use serde::Serialize;

use crate::store::StoreError;

/// What a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// One module depends on another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dependency {
    /// Who.
    pub source: String,
    /// On whom.
    pub target: String,
    /// By so many imports and uses.
    pub uses: u32,
}

/// The modules of a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Modules {
    /// Who depends on whom.
    pub dependencies: Vec<Dependency>,
    /// Modules that depend on each other in a circle, largest circle first.
    pub cycles: Vec<Vec<String>>,
}

/// Finds the modules and their circles. Tests count only where they are asked for.
///
/// # Errors
///
/// When SQLite fails.
pub fn modules(
    connection: &Connection,
    level: Level,
    with_tests: bool,
) -> Result<Modules, StoreError> {
    let mut read = connection.prepare_cached(
        "SELECT f.path, t.path, count(*) FROM (
             SELECT file_id, target_id FROM import WHERE target_id IS NOT NULL
             UNION ALL
             SELECT e.file_id, s.file_id FROM edge e JOIN symbol s ON s.id = e.target_id
             WHERE e.confidence >= 0.8) u
         JOIN file f ON f.id = u.file_id JOIN file t ON t.id = u.target_id
         WHERE u.file_id != u.target_id AND (?1 OR NOT f.is_test)
         GROUP BY f.path, t.path",
    )?;
    let mut uses: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut rows = read.query([with_tests])?;
    while let Some(row) = rows.next()? {
        let (source, target): (String, String) = (row.get(0)?, row.get(1)?);
        let key = (module(&source, level), module(&target, level));
        if key.0 != key.1 {
            *uses.entry(key).or_default() += row.get::<_, u32>(2)?;
        }
    }
    let cycles = cycles(uses.keys());
    let dependencies = uses.into_iter().map(|((source, target), uses)| Dependency {
        source,
        target,
        uses,
    });
    Ok(Modules {
        dependencies: dependencies.collect(),
        cycles,
    })
}

fn module(path: &str, level: Level) -> String {
    match level {
        Level::File => path.to_owned(),
        Level::Folder => path
            .rsplit_once('/')
            .map_or(".", |(folder, _)| folder)
            .to_owned(),
    }
}

/// The strongly connected parts with more than one member (Tarjan, without recursion).
fn cycles<'a>(edges: impl Iterator<Item = &'a (String, String)>) -> Vec<Vec<String>> {
    let mut targets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (source, target) in edges {
        targets.entry(source).or_default().insert(target);
        targets.entry(target).or_default();
    }
    let names: Vec<&str> = targets.keys().copied().collect();
    let number: BTreeMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (*name, n))
        .collect();
    let next: Vec<Vec<usize>> = targets
        .values()
        .map(|targets| targets.iter().map(|target| number[target]).collect())
        .collect();
    let mut found: Vec<Vec<String>> = components(&next)
        .into_iter()
        .filter(|part| part.len() > 1)
        .map(|part| {
            let mut part: Vec<String> = part.into_iter().map(|n| names[n].to_owned()).collect();
            part.sort();
            part
        })
        .collect();
    found.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    found
}

fn components(next: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const NONE: usize = usize::MAX;
    let mut index = vec![NONE; next.len()];
    let mut low = vec![0; next.len()];
    let mut on_stack = vec![false; next.len()];
    let mut stack = Vec::new();
    let mut count = 0;
    let mut found = Vec::new();
    for start in 0..next.len() {
        if index[start] != NONE {
            continue;
        }
        let mut work = vec![(start, 0)];
        while let Some((node, at)) = work.pop() {
            if at == 0 {
                index[node] = count;
                low[node] = count;
                count += 1;
                stack.push(node);
                on_stack[node] = true;
            }
            let mut descended = false;
            for (at, target) in next[node].iter().enumerate().skip(at) {
                if index[*target] == NONE {
                    work.push((node, at + 1));
                    work.push((*target, 0));
                    descended = true;
                    break;
                }
                if on_stack[*target] {
                    low[node] = low[node].min(index[*target]);
                }
            }
            if descended {
                continue;
            }
            if low[node] == index[node] {
                let mut part = Vec::new();
                while let Some(member) = stack.pop() {
                    on_stack[member] = false;
                    part.push(member);
                    if member == node {
                        break;
                    }
                }
                found.push(part);
            }
            if let Some((parent, _)) = work.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found() {
        let edge = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let edges = [
            edge("a", "b"),
            edge("b", "c"),
            edge("c", "a"),
            edge("c", "d"),
            edge("d", "e"),
            edge("e", "d"),
            edge("e", "f"),
        ];
        assert_eq!(cycles(edges.iter()), [vec!["a", "b", "c"], vec!["d", "e"]]);
        assert!(cycles([edge("a", "b"), edge("b", "c")].iter()).is_empty());
    }
}
