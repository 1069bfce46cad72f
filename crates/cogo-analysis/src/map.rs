//! An outline of a repository for a reader with a budget: what matters most, first.
//!
//! Every use is a vote for what is used (personalised PageRank): what is used by much of what
//! matters, matters. Files in focus lend their weight to what they use.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use serde::Serialize;

use crate::store::StoreError;

/// How much of a vote is passed on.
const DAMPING: f64 = 0.85;
const ROUNDS: usize = 30;
/// Weight of a file in focus against that of any other.
const FOCUS: f64 = 100.0;
/// Characters that a token of a language model has about.
const CHARACTERS_PER_TOKEN: usize = 4;

/// An outline within a budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Map {
    /// Files, most important first.
    pub files: Vec<MappedFile>,
    /// About how many tokens its text has.
    pub tokens: usize,
    /// Definitions that did not fit.
    pub left_out: usize,
}

/// A file of an outline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MappedFile {
    /// From the root.
    pub path: String,
    /// Of all that matters, the share that lies in its definitions.
    pub rank: f64,
    /// What is shown of it, in its order.
    pub definitions: Vec<Mapped>,
}

/// A definition of an outline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mapped {
    /// From 1.
    pub line: u32,
    /// Its head.
    pub signature: String,
    /// How deep it is nested.
    pub depth: u32,
    /// Of all that matters, its share.
    pub rank: f64,
}

struct Symbol {
    path: usize,
    line: u32,
    depth: u32,
    signature: String,
    parent: Option<usize>,
}

/// Makes an outline of at most about so many tokens.
///
/// # Errors
///
/// When SQLite fails.
pub fn map(connection: &Connection, tokens: usize, focus: &[String]) -> Result<Map, StoreError> {
    let (symbols, paths, numbers) = symbols(connection)?;
    let edges = edges(connection, &numbers)?;
    let start = start(&symbols, &paths, focus);
    let ranks = ranks(&start, &edges);
    Ok(chosen(&symbols, &paths, &ranks, tokens))
}

type Symbols = (Vec<Symbol>, Vec<String>, HashMap<i64, usize>);

fn symbols(connection: &Connection) -> Result<Symbols, StoreError> {
    let mut read = connection.prepare_cached(
        "SELECT s.id, f.path, s.line, s.qualified, s.signature, s.parent_id FROM symbol s
         JOIN file f ON f.id = s.file_id
         WHERE NOT s.is_test AND NOT f.is_test AND f.origin = 'source'
           AND s.kind IN ('function', 'method', 'class', 'struct', 'enum', 'union', 'trait',
                          'interface', 'type', 'module', 'macro', 'constant', 'table')
           AND (s.kind != 'module' OR s.end_line > s.line)
         ORDER BY f.path, s.position",
    )?;
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut paths: Vec<String> = Vec::new();
    let mut numbers = HashMap::new();
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let path: String = row.get(1)?;
        if paths.last() != Some(&path) {
            paths.push(path);
        }
        let parent: Option<i64> = row.get(5)?;
        let parent = parent.and_then(|id| numbers.get(&id).copied());
        numbers.insert(row.get(0)?, symbols.len());
        let depth = parent.map_or(0, |parent: usize| symbols[parent].depth + 1);
        symbols.push(Symbol {
            path: paths.len() - 1,
            line: row.get(2)?,
            depth,
            signature: row.get(4)?,
            parent,
        });
    }
    Ok((symbols, paths, numbers))
}

fn edges(
    connection: &Connection,
    numbers: &HashMap<i64, usize>,
) -> Result<Vec<(usize, usize, f64)>, StoreError> {
    let mut read = connection.prepare_cached(
        "SELECT source_id, target_id, sum(confidence) FROM edge
         WHERE source_id IS NOT NULL AND source_id != target_id GROUP BY source_id, target_id",
    )?;
    let mut edges = Vec::new();
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let source = numbers.get(&row.get::<_, i64>(0)?);
        let target = numbers.get(&row.get::<_, i64>(1)?);
        if let (Some(source), Some(target)) = (source, target) {
            let weight: f64 = row.get(2)?;
            // Many uses in one place say little more than a few.
            edges.push((*source, *target, weight.sqrt()));
        }
    }
    Ok(edges)
}

fn start(symbols: &[Symbol], paths: &[String], focus: &[String]) -> Vec<f64> {
    let in_focus: Vec<bool> = paths
        .iter()
        .map(|path| {
            focus.iter().any(|focus| {
                let focus = focus.trim_end_matches('/');
                path == focus
                    || path
                        .strip_prefix(focus)
                        .is_some_and(|rest| rest.starts_with('/'))
            })
        })
        .collect();
    let weights: Vec<f64> = symbols
        .iter()
        .map(|symbol| if in_focus[symbol.path] { FOCUS } else { 1.0 })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum.max(1.0)).collect()
}

fn ranks(start: &[f64], edges: &[(usize, usize, f64)]) -> Vec<f64> {
    let mut out = vec![0.0; start.len()];
    for (source, _, weight) in edges {
        out[*source] += weight;
    }
    let mut ranks = start.to_vec();
    for _ in 0..ROUNDS {
        // What votes for nothing votes for all.
        let idle: f64 = ranks
            .iter()
            .zip(&out)
            .filter(|(_, out)| **out == 0.0)
            .map(|(rank, _)| rank)
            .sum();
        let mut next: Vec<f64> = start
            .iter()
            .map(|start| start * (1.0 - DAMPING + DAMPING * idle))
            .collect();
        for (source, target, weight) in edges {
            next[*target] += DAMPING * ranks[*source] * weight / out[*source];
        }
        ranks = next;
    }
    ranks
}

/// Takes the highest ranks until the budget is used up. What is around one comes with it.
fn chosen(symbols: &[Symbol], paths: &[String], ranks: &[f64], tokens: usize) -> Map {
    let mut order: Vec<usize> = (0..symbols.len()).collect();
    order.sort_by(|one, other| ranks[*other].total_cmp(&ranks[*one]).then(one.cmp(other)));
    let budget = tokens.saturating_mul(CHARACTERS_PER_TOKEN);
    let mut used = 0;
    let mut shown: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut is_shown = vec![false; symbols.len()];
    let mut left_out = 0;
    for index in order {
        let mut with: Vec<usize> =
            std::iter::successors(Some(index), |index| symbols[*index].parent)
                .filter(|index| !is_shown[*index])
                .collect();
        let path = symbols[index].path;
        let heading = if shown.contains_key(&path) {
            0
        } else {
            paths[path].len() + 2
        };
        let cost: usize = with
            .iter()
            .map(|index| cost(&symbols[*index]))
            .sum::<usize>()
            + heading;
        if used + cost > budget {
            left_out += usize::from(!is_shown[index]);
            continue;
        }
        used += cost;
        for index in with.drain(..) {
            is_shown[index] = true;
            shown.entry(path).or_default().push(index);
        }
    }
    Map {
        files: files(symbols, paths, ranks, shown),
        tokens: used.div_ceil(CHARACTERS_PER_TOKEN),
        left_out,
    }
}

/// Characters of the line of a definition: line number, indentation, head.
fn cost(symbol: &Symbol) -> usize {
    8 + 2 * symbol.depth as usize + symbol.signature.len()
}

fn files(
    symbols: &[Symbol],
    paths: &[String],
    ranks: &[f64],
    shown: BTreeMap<usize, Vec<usize>>,
) -> Vec<MappedFile> {
    let mut files: Vec<MappedFile> = shown
        .into_iter()
        .map(|(path, mut indexes)| {
            indexes.sort_unstable();
            MappedFile {
                path: paths[path].clone(),
                rank: indexes.iter().map(|index| ranks[*index]).sum(),
                definitions: indexes
                    .iter()
                    .map(|index| Mapped {
                        line: symbols[*index].line,
                        signature: symbols[*index].signature.clone(),
                        depth: symbols[*index].depth,
                        rank: ranks[*index],
                    })
                    .collect(),
            }
        })
        .collect();
    files.sort_by(|one, other| other.rank.total_cmp(&one.rank));
    files
}

impl Map {
    /// The outline as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&format!("{}\n", file.path));
            for definition in &file.definitions {
                let indentation = "  ".repeat(definition.depth as usize);
                text.push_str(&format!(
                    "{:>6} {indentation}{}\n",
                    definition.line, definition.signature
                ));
            }
        }
        text
    }
}
