//! The rules: each looks at one kind of hang, and says why it is one in kernel terms.
//!
//! They are asked in order, the most specific first.

mod deadlock;
mod exhausted;
mod input;
mod spin;
mod stall;

use std::time::{Duration, Instant};

use cogo_protocol::block::BlockReason;
use cogo_sandbox::evidence::{Process, Sample};

use super::judge::Input;
use super::trace::Trace;
use super::{Thresholds, life};

pub(super) use deadlock::has_question;
pub(super) use exhausted::{oom, pids};

/// What a rule looks at.
pub(super) struct View<'a> {
    pub(super) sample: &'a Sample,
    pub(super) trace: &'a Trace,
    /// What a runtime said of its locks.
    pub(super) told: Option<&'a Told>,
    pub(super) thresholds: &'a Thresholds,
    pub(super) input: Input,
    pub(super) now: Instant,
}

/// What a runtime said of its locks.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Since when the tree was quiet.
    pub(super) since: Instant,
    /// The last output before.
    pub(super) output: Option<Instant>,
    /// Which threads wait for each other.
    pub(super) deadlocks: Vec<String>,
}

/// What a rule found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) reason: BlockReason,
    pub(super) since: Option<Instant>,
    pub(super) evidence: Vec<String>,
}

impl View<'_> {
    /// Whether something has held for that long.
    fn has_held(&self, since: Option<Instant>, time: Duration) -> bool {
        since.is_some_and(|since| self.now.saturating_duration_since(since) >= time)
    }

    /// Whether somebody outside could wake a thread by sending input. Whether that is to be
    /// expected is for the rules of input to say, and for no other.
    fn may_get_input(&self) -> bool {
        life::threads(self.sample).any(|(_, thread)| life::life(thread) == life::Life::Input)
    }

    /// Whether the process is the command, or every process between the two waits for it.
    fn is_waited_for(&self, process: &Process) -> bool {
        let mut pid = process.pid;
        for _ in 0..self.sample.processes.len() {
            if pid == self.sample.command {
                return true;
            }
            let Some(found) = life::process(self.sample, pid) else {
                return false;
            };
            let active = |thread| life::life(thread) == life::Life::Active;
            if found
                .threads
                .iter()
                .any(|thread| active(thread) || life::sleeps_on_purpose(thread))
            {
                return false;
            }
            pid = found.parent;
        }
        false
    }

    /// Whether it has lasted for as long as a user wants it to.
    fn allows(&self, finding: &Finding) -> bool {
        let since = finding.since.unwrap_or(self.now);
        let time = self.now.saturating_duration_since(since);
        self.thresholds.allow(finding.reason, time)
    }

    fn run_time(&self) -> Duration {
        self.now.saturating_duration_since(self.trace.started_at)
    }
}

type Rule = fn(&View<'_>) -> Option<Finding>;

/// Rules that look at the tree as a whole.
const GROUP_RULES: [Rule; 4] = [
    exhausted::memory_short,
    exhausted::disk_full,
    exhausted::throttled,
    exhausted::out_of_time,
];

/// Rules that look at threads.
const THREAD_RULES: [Rule; 14] = [
    input::stands_still,
    input::waits_quietly,
    deadlock::owners_in_a_circle,
    deadlock::told_by_runtime,
    stall::nobody_reads,
    deadlock::stands_still,
    exhausted::descriptors_full,
    stall::readers_sleep,
    stall::held_open,
    stall::nobody_answers,
    stall::remote_is_silent,
    spin::reads_nothing,
    spin::achieves_nothing,
    stall::only_wakes_to_sleep,
];

/// What the rules make of an exec.
pub(super) fn judge(view: &View<'_>) -> Option<Finding> {
    let allowed = |rule: &Rule| rule(view).filter(|finding| view.allows(finding));
    let found = GROUP_RULES.iter().find_map(allowed);
    if found.is_some() || !view.sample.complete {
        return found;
    }
    THREAD_RULES.iter().find_map(allowed)
}
