//! Who uses whom, over several steps.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rusqlite::Connection;
use serde::Serialize;

use super::{Found, by_ids};
use crate::store::StoreError;

/// Nodes after which a walk ends.
const NODES_MAX: usize = 5000;

/// Which way edges are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To those who use it.
    Callers,
    /// To what it uses.
    Callees,
}

/// What is followed, and how far.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Which way.
    pub direction: Direction,
    /// How many steps.
    pub depth: u32,
    /// Edges below this are not followed.
    pub confidence_min: f64,
    /// Calls alone, or all uses.
    pub calls_only: bool,
}

/// A part of the graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Graph {
    /// What was reached, nearest first.
    pub nodes: Vec<Node>,
    /// How.
    pub edges: Vec<Link>,
    /// Whether it ended before all was reached.
    pub truncated: bool,
}

/// A symbol of a graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// What it is.
    #[serde(flatten)]
    pub symbol: Found,
    /// How many steps away.
    pub depth: u32,
}

/// One symbol uses another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Who.
    pub source: i64,
    /// Whom.
    pub target: i64,
    /// How.
    pub kind: String,
    /// At its most certain place.
    pub confidence: f64,
}

/// Follows edges from some symbols.
///
/// # Errors
///
/// When SQLite fails.
pub fn walk(connection: &Connection, start: &[i64], how: &Walk) -> Result<Graph, StoreError> {
    let mut depths: HashMap<i64, u32> = start.iter().map(|id| (*id, 0)).collect();
    let mut order: Vec<i64> = start.to_vec();
    let mut links: BTreeMap<(i64, i64, String), f64> = BTreeMap::new();
    let mut queue: VecDeque<i64> = start.iter().copied().collect();
    let mut truncated = false;
    while let Some(id) = queue.pop_front() {
        let depth = depths[&id];
        if depth >= how.depth {
            continue;
        }
        for (next, kind, confidence) in neighbours(connection, id, how)? {
            let (source, target) = match how.direction {
                Direction::Callers => (next, id),
                Direction::Callees => (id, next),
            };
            if let std::collections::hash_map::Entry::Vacant(e) = depths.entry(next) {
                if order.len() >= NODES_MAX {
                    truncated = true;
                    continue;
                }
                e.insert(depth + 1);
                order.push(next);
                queue.push_back(next);
            }
            let best = links.entry((source, target, kind)).or_default();
            *best = best.max(confidence);
        }
    }
    let nodes = by_ids(connection, &order)?.into_iter();
    Ok(Graph {
        nodes: nodes
            .map(|symbol| Node {
                depth: depths[&symbol.id],
                symbol,
            })
            .collect(),
        edges: links
            .into_iter()
            .map(|((source, target, kind), confidence)| Link {
                source,
                target,
                kind,
                confidence,
            })
            .collect(),
        truncated,
    })
}

fn neighbours(
    connection: &Connection,
    id: i64,
    how: &Walk,
) -> Result<Vec<(i64, String, f64)>, StoreError> {
    let (wanted, known) = match how.direction {
        Direction::Callers => ("source_id", "target_id"),
        Direction::Callees => ("target_id", "source_id"),
    };
    let kind = if how.calls_only {
        "AND kind = 'calls'"
    } else {
        ""
    };
    let mut read = connection.prepare_cached(&format!(
        "SELECT {wanted}, kind, max(confidence) FROM edge
         WHERE {known} = ? AND {wanted} IS NOT NULL AND confidence >= ? {kind}
         GROUP BY {wanted}, kind ORDER BY {wanted}"
    ))?;
    let rows = read.query_map((id, how.confidence_min), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A shortest chain of uses from one of some symbols to one of others; empty if there is none.
///
/// # Errors
///
/// When SQLite fails.
pub fn path(
    connection: &Connection,
    from: &[i64],
    to: &[i64],
    confidence_min: f64,
) -> Result<Vec<Found>, StoreError> {
    let how = Walk {
        direction: Direction::Callees,
        depth: u32::MAX,
        confidence_min,
        calls_only: false,
    };
    let goals: HashSet<i64> = to.iter().copied().collect();
    let mut before: HashMap<i64, Option<i64>> = from.iter().map(|id| (*id, None)).collect();
    let mut queue: VecDeque<i64> = from.iter().copied().collect();
    while let Some(id) = queue.pop_front() {
        if goals.contains(&id) {
            let mut chain = vec![id];
            let mut next = before[&id];
            while let Some(id) = next {
                chain.push(id);
                next = before[&id];
            }
            chain.reverse();
            return by_ids(connection, &chain);
        }
        for (next, _, _) in neighbours(connection, id, &how)? {
            before.entry(next).or_insert_with(|| {
                queue.push_back(next);
                Some(id)
            });
        }
    }
    Ok(Vec::new())
}
