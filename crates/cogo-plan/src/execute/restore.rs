//! Takes up what an earlier process wrote of the same run.

use std::collections::{BTreeMap, HashMap};

use cogo_protocol::verdict::Outcome;

use crate::graph::Graph;
use crate::journal::Entry;
use crate::progress::Progress;

/// What the journal says of one instance.
#[derive(Default)]
struct Past<'a> {
    attempts: u32,
    /// The last attempt's end is not written.
    is_open: bool,
    handle: Option<&'a str>,
    end: Option<(&'a Outcome, &'a BTreeMap<String, String>)>,
}

/// Sets the progress to where the journal ends, and tells which instances had begun and not ended,
/// with what finds them again. In a run that had come to its end, what did not succeed gets its
/// attempts anew.
pub(super) fn restore(
    graph: &Graph,
    progress: &mut Progress,
    entries: &[Entry],
) -> BTreeMap<usize, Option<String>> {
    let mut past: HashMap<&str, Past<'_>> = HashMap::new();
    for entry in entries {
        match entry {
            Entry::Began { .. } => {}
            Entry::Started { node, attempt } => {
                let past = past.entry(node).or_default();
                *past = Past {
                    attempts: *attempt,
                    is_open: true,
                    ..Past::default()
                };
            }
            Entry::Handle { node, handle } => past.entry(node).or_default().handle = Some(handle),
            Entry::Ended {
                node,
                outcome,
                outputs,
            } => {
                let past = past.entry(node).or_default();
                past.is_open = false;
                past.end = outcome.as_ref().map(|outcome| (outcome, outputs));
            }
            Entry::Finished { .. } => past.retain(|_, past| past.is_success()),
        }
    }
    let mut in_flight = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let Some(past) = past.get(node.name.as_str()) else {
            continue;
        };
        if past.is_open {
            // The same attempt goes on.
            progress.remember_attempts(index, past.attempts.saturating_sub(1));
            in_flight.insert(index, past.handle.map(ToOwned::to_owned));
        } else if let (true, Some((_, outputs))) = (past.is_success(), past.end) {
            progress.succeed(index, outputs.clone());
        } else {
            progress.remember_attempts(index, past.attempts);
            progress.fail(graph, index);
        }
    }
    in_flight
}

impl Past<'_> {
    fn is_success(&self) -> bool {
        !self.is_open && matches!(self.end, Some((Outcome::Exited { code: 0 }, _)))
    }
}
