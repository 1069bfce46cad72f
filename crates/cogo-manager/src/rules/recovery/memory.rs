//! The next memory limit.

use cogo_protocol::command::CommandRequest;
use cogo_protocol::recovery::{Adjustment, Cause, Strategy};

use super::{Situation, command};

/// Limits are whole multiples of this.
const STEP: u64 = 1 << 20;

/// The limit after one that was too low: from the highest use that was seen, which a program that
/// was killed would have passed, and never above what a worker has. Each step is bigger than the one
/// before, so that few attempts reach what is needed. `None` when a tenth more cannot be had: then
/// it would run into the same wall.
pub fn next_limit(limit: u64, peak: u64, steps: u32, headroom: u64) -> Option<u64> {
    let seen = limit.max(peak);
    let factor = if steps == 0 { 2 } else { 4 };
    let wanted = seen.saturating_mul(factor).next_multiple_of(STEP);
    let next = wanted.min(headroom / STEP * STEP);
    (next >= seen.saturating_add(seen / 10) && next > seen).then_some(next)
}

pub(super) fn plan(situation: &Situation<'_>) -> Option<(Adjustment, String)> {
    let (limit, peak) = observed(situation)?;
    let steps = (situation.tried.iter())
        .filter(|record| record.strategy == Strategy::MoreMemory)
        .count() as u32;
    let next = next_limit(limit, peak, steps, situation.offers.memory_max)?;
    let change = Adjustment {
        memory_bytes: Some(next),
        ..Adjustment::default()
    };
    let (from, to) = (limit / STEP, next / STEP);
    Some((
        change,
        format!("with {to} MiB of memory instead of {from} MiB"),
    ))
}

/// The limit that was hit, and the highest use that was seen.
fn observed(situation: &Situation<'_>) -> Option<(u64, u64)> {
    let CommandRequest { limits, .. } = command::changed(situation.request, situation.tried);
    let asked = limits.memory_bytes;
    match situation.cause {
        Cause::OutOfMemory {
            limit_bytes,
            peak_bytes,
        } => Some((asked.unwrap_or(0).max(*limit_bytes), *peak_bytes)),
        _ => asked.map(|limit| (limit, limit)),
    }
}
