//! Using the processor without an effect.
//!
//! The kernel cannot tell a loop that never ends from a computation that will. What it can tell is
//! that nothing outside of the processor's registers and the memory already there changes: no
//! output, no bytes read or written, no new memory, no child. That alone is no block for a long
//! time.

use cogo_protocol::block::BlockReason;
use cogo_sandbox::evidence::{Process, Thread};

use super::{Finding, View};
use crate::block::life;
use crate::block::words;

/// Reads by the thousand that return nothing, and no other effect: the program does not wait for
/// its data, it asks again and again. An end of file or an empty pipe will not be anything else
/// the next time.
pub(super) fn reads_nothing(view: &View<'_>) -> Option<Finding> {
    if !view.has_held(view.trace.empty_spin, view.thresholds.empty_spin) {
        return None;
    }
    let facts = "it makes thousands of reads a second, and all return nothing";
    Some(finding(view, view.trace.empty_spin, facts))
}

/// A thread has used a processor up for long, in a run that is already long, and in all that time
/// there was no output, no traffic, no new memory, no child.
pub(super) fn achieves_nothing(view: &View<'_>) -> Option<Finding> {
    let long = view.run_time() >= view.thresholds.run_time;
    if !long || !view.has_held(view.trace.spin, view.thresholds.spin) {
        return None;
    }
    let facts = "no output, no bytes read or written, no new memory and no child meanwhile";
    Some(finding(view, view.trace.spin, facts))
}

fn finding(view: &View<'_>, since: Option<std::time::Instant>, facts: &str) -> Finding {
    let busiest = life::threads(view.sample).max_by_key(|(_, thread)| thread.cpu);
    let line = |(process, thread): (&Process, &Thread)| {
        let used = words::time(thread.cpu);
        format!(
            "thread {} of {} has used {used} of processor time",
            thread.tid,
            words::process(process)
        )
    };
    let mut evidence: Vec<String> = busiest.map(line).into_iter().collect();
    evidence.push(facts.to_owned());
    Finding {
        reason: BlockReason::InfiniteLoop,
        since,
        evidence,
    }
}
