//! Judges one exec by what was seen of it.

use std::time::{Duration, Instant};

use cogo_protocol::block::ResourceUsage;
use cogo_sandbox::evidence::Sample;

use super::rules::{self, Finding, Told};
use super::trace::Trace;
use super::{Block, News, Thresholds};

/// What is known of an exec's input beside what the kernel shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// When somebody last sent some.
    pub sent_at: Option<Instant>,
    /// The exec is there to be talked to, such as a shell that was asked for: waiting for input
    /// is what it is for.
    pub expected: bool,
}

/// What percentages are relative to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Processors the exec may use.
    pub cpus: f64,
    /// Memory it may use, in bytes.
    pub memory: u64,
}

/// Judges one exec.
///
/// ```text
/// getting on ──a rule speaks──▶ blocked ──no rule speaks──▶ getting on
/// ```
///
/// Limits that were hit are events: they are told once, and nothing takes them back.
#[derive(Debug)]
pub struct Judge {
    thresholds: Thresholds,
    capacity: Capacity,
    trace: Trace,
    events: Events,
    standing: Option<Block>,
    /// Where threads are, in the words of their language.
    stacks: Vec<String>,
    /// What a runtime said of its locks.
    told: Option<Told>,
}

/// Events that were told already.
#[derive(Clone, Copy, Debug, Default)]
struct Events {
    oom_kills: u64,
    pids_refused: u64,
}

impl Judge {
    /// A judge for an exec that started at that instant.
    pub fn new(thresholds: Thresholds, capacity: Capacity, started_at: Instant) -> Self {
        Self {
            thresholds,
            capacity,
            trace: Trace::new(started_at),
            events: Events::default(),
            standing: None,
            stacks: Vec::new(),
            told: None,
        }
    }

    /// The block that holds now.
    pub fn standing(&self) -> Option<&Block> {
        self.standing.as_ref()
    }

    /// Takes a sample in. Tells a block when it begins, when its reason changes, and when it ends.
    pub fn observe(&mut self, sample: &Sample, input: Input, now: Instant) -> Option<News> {
        self.trace.add(sample, &self.thresholds, now);
        // A program that prints gets on.
        self.told.take_if(|told| told.output != self.trace.output);
        if let Some(finding) = self.new_event(sample) {
            return Some(News::LimitHit(self.block(finding, sample, now)));
        }
        let view = self.view(sample, input, now);
        let finding = rules::judge(&view);
        // A survey sees no threads, so it cannot take back what was seen of them.
        if finding.is_none() && !sample.complete {
            return None;
        }
        let reason_before = self.standing.as_ref().map(|block| block.reason);
        let reason_now = finding.as_ref().map(|finding| finding.reason);
        // What was read in another state is out of date. What was read before the first block of
        // a row led to it.
        if reason_before.is_some() && reason_before != reason_now {
            self.stacks.clear();
        }
        let block = finding.map(|finding| self.block(finding, sample, now));
        self.standing = block;
        if reason_before == reason_now {
            return None;
        }
        Some(match &self.standing {
            Some(block) => News::Blocked(block.clone()),
            None => News::Cleared,
        })
    }

    /// Whether the block that holds has stacks.
    pub(super) fn has_stacks(&self) -> bool {
        !self.stacks.is_empty()
    }

    /// Adds where threads are to the block that holds, as long as it does.
    pub(super) fn add_stacks(&mut self, stacks: Vec<String>) {
        self.stacks = stacks;
        if let Some(block) = &mut self.standing {
            block.evidence.extend(self.stacks.iter().cloned());
        }
    }

    /// The news with where threads are.
    pub(super) fn with_stacks(&self, mut news: News) -> News {
        if let News::Blocked(block) = &mut news {
            block.evidence.extend(self.stacks.iter().cloned());
        }
        news
    }

    /// Hears from a runtime which threads wait for each other.
    pub(super) fn add_deadlocks(&mut self, deadlocks: Vec<String>, now: Instant) {
        self.told = Some(Told {
            since: self.trace.quiet.unwrap_or(now),
            output: self.trace.output,
            deadlocks,
        });
    }

    /// Whether a runtime should be asked about its locks, because the kernel cannot tell.
    pub(super) fn has_question(&self, sample: &Sample, now: Instant) -> bool {
        let view = self.view(sample, Input::default(), now);
        self.standing.is_none() && self.told.is_none() && rules::has_question(&view)
    }

    fn view<'a>(&'a self, sample: &'a Sample, input: Input, now: Instant) -> rules::View<'a> {
        rules::View {
            sample,
            trace: &self.trace,
            told: self.told.as_ref(),
            thresholds: &self.thresholds,
            input,
            now,
        }
    }

    fn new_event(&mut self, sample: &Sample) -> Option<Finding> {
        let glance = sample.glance;
        let is_new = |seen: &mut u64, count: u64| std::mem::replace(seen, count) == 0 && count > 0;
        let finding = if is_new(&mut self.events.oom_kills, glance.oom_kills) {
            rules::oom(sample)
        } else if is_new(&mut self.events.pids_refused, glance.pids_refused) {
            rules::pids(sample)
        } else {
            return None;
        };
        self.thresholds
            .allow_event(finding.reason)
            .then_some(finding)
    }

    fn block(&self, finding: Finding, sample: &Sample, now: Instant) -> Block {
        let since = finding.since.unwrap_or(now);
        Block {
            reason: finding.reason,
            duration: now.saturating_duration_since(since),
            usage: self.usage(sample),
            recoverable: finding.reason.is_recoverable(),
            evidence: [finding.evidence, self.stacks.clone()].concat(),
        }
    }

    fn usage(&self, sample: &Sample) -> ResourceUsage {
        let percent = |part: f64, whole: f64| (100.0 * part / whole.max(1e-9)).clamp(0.0, 100.0);
        let disk = sample.disk.and_then(|disk| Some((disk.used, disk.limit?)));
        ResourceUsage {
            cpu: percent(self.trace.cpu_share, self.capacity.cpus),
            memory: percent(
                sample.memory.map_or(0, |memory| memory.held) as f64,
                self.capacity.memory as f64,
            ),
            disk: disk.map_or(0.0, |(used, limit)| percent(used as f64, limit as f64)),
        }
    }

    /// How long the exec has been running.
    pub(super) fn run_time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.trace.started_at)
    }

    /// Whether a block holds.
    pub(super) fn is_blocked(&self) -> bool {
        self.standing.is_some()
    }

    /// Whether a block may be near: nothing inside can go on, or the exec fell quiet just now.
    pub(super) fn is_close(&self, now: Instant) -> bool {
        const JUST_NOW: Duration = Duration::from_secs(4);
        let quiet = self.trace.quiet;
        let just_now = quiet.is_some_and(|since| now.saturating_duration_since(since) < JUST_NOW);
        self.trace.still.is_some() || just_now
    }
}

#[cfg(test)]
mod tests;
