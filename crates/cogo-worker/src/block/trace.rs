//! What happened between samples: since when nothing ran, nothing was achieved, nothing was said.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cogo_sandbox::evidence::{Sample, Throttling};

use super::Thresholds;
use super::life::{self, Life};

/// Since when something holds. `None`: it does not hold now.
type Since = Option<Instant>;

/// The history of one exec, as far as rules need it.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) started_at: Instant,
    last: Option<Last>,
    threads: HashMap<i32, Seen>,
    work: Option<Work>,
    memory: Option<(Instant, u64, u64)>,
    throttling: Option<(Instant, Throttling)>,
    /// No thread ran, and nothing is there that could make one run.
    pub(super) still: Since,
    /// Next to no processor time, no output, no traffic, the same processes.
    pub(super) quiet: Since,
    /// A processor is used up, with no output, no traffic, the same processes and memory.
    pub(super) spin: Since,
    /// As `spin`, and reads are made all the time that return nothing.
    pub(super) empty_spin: Since,
    /// Memory is short, and grows or is read back all the time.
    pub(super) memory_short: Since,
    /// Some bound of the exec is used up.
    pub(super) disk_full: Since,
    /// A process has no descriptor left.
    pub(super) descriptors_full: Since,
    /// The cpu limit was reached in nearly every period.
    pub(super) throttled: Since,
    /// The last output.
    pub(super) output: Since,
    position: u64,
    /// Share of one processor between the last two looks.
    pub(super) cpu_share: f64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    cpu: Duration,
}

/// A thread as it was seen last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    turns: u64,
    cpu: Duration,
    /// Processor time and time in which it wanted some.
    ready: Duration,
    since: Instant,
}

/// What the threads did between two looks.
#[derive(Clone, Copy, Debug)]
struct Activity {
    /// Whether one ran, came or went.
    any: bool,
    /// The longest time that one of them was ready to run.
    busiest: Duration,
    /// The most turns that one of them got.
    turns: u64,
}

/// Sums over all processes when they were last looked at.
#[derive(Clone, Copy, Debug)]
struct Work {
    at: Instant,
    cpu: Duration,
    bytes: u64,
    read_calls: u64,
    faults: u64,
    pids: u64,
    position: u64,
}

/// Page faults in a second up to which memory counts as the same.
const FAULTS_SAME: f64 = 20.0;
/// Bytes in a second up to which a tree moves nothing worth the name: a timer reads eight.
const TRAFFIC_SAME: f64 = 256.0;
/// Reads in a second that return nothing and are no polling any more.
const EMPTY_READS: f64 = 1000.0;
/// Turns in a second that are no polling any more.
const RESTLESS: f64 = 1000.0;
/// Growth in a second, as a share of the limit, that will meet the limit soon.
const GROWTH: f64 = 0.001;
/// Share of periods in which a cpu limit was reached that counts as always.
const ALWAYS: f64 = 0.95;

impl Trace {
    pub(super) fn new(started_at: Instant) -> Self {
        Self {
            started_at,
            last: None,
            threads: HashMap::new(),
            work: None,
            memory: None,
            throttling: None,
            still: None,
            quiet: None,
            spin: None,
            empty_spin: None,
            memory_short: None,
            disk_full: None,
            descriptors_full: None,
            throttled: None,
            output: None,
            position: 0,
            cpu_share: 0.0,
        }
    }

    /// Since when a thread has not run.
    pub(super) fn asleep_since(&self, tid: i32) -> Since {
        self.threads.get(&tid).map(|seen| seen.since)
    }

    pub(super) fn add(&mut self, sample: &Sample, thresholds: &Thresholds, now: Instant) {
        self.add_group(sample, thresholds, now);
        if sample.complete {
            let activity = self.add_threads(sample, now);
            self.add_still(sample, activity.any, now);
            self.add_work(sample, activity, thresholds, now);
            let full = sample.processes.iter().any(|process| {
                let descriptors = process.descriptors;
                descriptors
                    .limit
                    .is_some_and(|limit| descriptors.used >= limit)
            });
            hold(&mut self.descriptors_full, full, now);
        }
    }

    fn add_group(&mut self, sample: &Sample, thresholds: &Thresholds, now: Instant) {
        if let Some(output) = sample.output
            && self.position != output.position
        {
            self.position = output.position;
            self.output = Some(now);
        }
        let full = |disk: cogo_sandbox::evidence::Bounded| Some(disk.used) >= disk.limit;
        hold(&mut self.disk_full, sample.disk.is_some_and(full), now);
        self.add_memory(sample, thresholds, now);
        self.add_throttling(sample, now);
        if let Some(cpu) = sample.glance.cpu {
            if let Some(last) = self.last {
                self.cpu_share = share(cpu.saturating_sub(last.cpu), now - last.at);
            }
            self.last = Some(Last { at: now, cpu });
        }
    }

    fn add_memory(&mut self, sample: &Sample, thresholds: &Thresholds, now: Instant) {
        let Some(memory) = sample.memory else {
            self.memory = None;
            self.memory_short = None;
            return;
        };
        let before = self.memory.replace((now, memory.held, memory.major_faults));
        let (Some(limit), Some((at, held, faults))) = (memory.limit, before) else {
            return;
        };
        let seconds = (now - at).as_secs_f64().max(0.001);
        let is_short = memory.held as f64 >= limit as f64 * thresholds.memory;
        let growth = memory.held.saturating_sub(held) as f64 / seconds;
        let read_back = memory.major_faults.saturating_sub(faults) as f64 / seconds;
        let worsens = growth > limit as f64 * GROWTH || read_back > thresholds.thrashing;
        hold(&mut self.memory_short, is_short && worsens, now);
    }

    fn add_throttling(&mut self, sample: &Sample, now: Instant) {
        let Some(found) = sample.throttling else {
            return;
        };
        let (at, before) = *self.throttling.get_or_insert((now, found));
        let periods = found.periods.saturating_sub(before.periods);
        // A second has ten periods; fewer say nothing.
        if periods < 10 {
            return;
        }
        let throttled = found.throttled.saturating_sub(before.throttled);
        let always = throttled as f64 >= periods as f64 * ALWAYS;
        hold(&mut self.throttled, always, at);
        self.throttling = Some((now, found));
    }

    /// Notes every thread.
    fn add_threads(&mut self, sample: &Sample, now: Instant) -> Activity {
        let before = std::mem::take(&mut self.threads);
        let mut same = 0;
        let mut busiest = Duration::ZERO;
        let mut turns = 0;
        for (_, thread) in life::threads(sample) {
            let seen = before.get(&thread.tid);
            let slept = seen.filter(|seen| (seen.turns, seen.cpu) == (thread.turns, thread.cpu));
            same += usize::from(slept.is_some());
            let ready = thread.cpu + thread.queued;
            busiest = busiest.max(seen.map_or(ready, |seen| ready.saturating_sub(seen.ready)));
            turns = turns.max(seen.map_or(0, |seen| thread.turns.saturating_sub(seen.turns)));
            let entry = Seen {
                turns: thread.turns,
                cpu: thread.cpu,
                ready,
                since: slept.map_or(now, |seen| seen.since),
            };
            self.threads.insert(thread.tid, entry);
        }
        Activity {
            any: same != self.threads.len() || same != before.len(),
            busiest,
            turns,
        }
    }

    fn add_still(&mut self, sample: &Sample, ran: bool, now: Instant) {
        let mut can_go_on = sample.processes.is_empty();
        for (_, thread) in life::threads(sample) {
            can_go_on |= match life::life(thread) {
                Life::Active | Life::Outside | Life::Timed(_) => true,
                Life::Input | Life::Inside | Life::Gone => false,
            };
        }
        if ran {
            self.still = None;
        }
        hold(&mut self.still, !can_go_on, now);
    }

    fn add_work(
        &mut self,
        sample: &Sample,
        activity: Activity,
        thresholds: &Thresholds,
        now: Instant,
    ) {
        let work = Work::of(sample, self.position, now);
        let Some(before) = self.work.replace(work) else {
            return;
        };
        let elapsed = now - before.at;
        let seconds = elapsed.as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let unmoved = work.position == before.position
            && work.pids == before.pids
            && rate(work.bytes, before.bytes) < TRAFFIC_SAME;
        let cpu = share(work.cpu.saturating_sub(before.cpu), elapsed);
        hold(&mut self.quiet, unmoved && cpu < thresholds.idle, before.at);
        let same_memory = rate(work.faults, before.faults) < FAULTS_SAME;
        // On a crowded machine a thread that never pauses gets less than a whole processor.
        let is_ready = share(activity.busiest, elapsed) >= thresholds.busy;
        // One that yields, or sleeps for no time worth the name, does not wait for anything either.
        let is_restless = activity.turns as f64 / seconds > RESTLESS;
        let is_busy = is_ready || is_restless;
        let in_vain = unmoved && same_memory;
        hold(&mut self.spin, is_busy && in_vain, before.at);
        let reads_nothing = rate(work.read_calls, before.read_calls) > EMPTY_READS;
        hold(&mut self.empty_spin, in_vain && reads_nothing, before.at);
    }
}

impl Work {
    fn of(sample: &Sample, position: u64, at: Instant) -> Self {
        let threads = || life::threads(sample).map(|(_, thread)| thread.cpu);
        let sum = |number: fn(&cogo_sandbox::evidence::Process) -> u64| -> u64 {
            sample.processes.iter().map(number).sum()
        };
        Self {
            at,
            cpu: threads().sum(),
            bytes: sum(|process| process.bytes_read + process.bytes_written),
            read_calls: sum(|process| process.read_calls),
            faults: sum(|process| process.faults),
            // The same processes have the same sum, and nearly no others do.
            pids: sum(|process| process.pid as u64),
            position,
        }
    }
}

fn share(cpu: Duration, elapsed: Duration) -> f64 {
    cpu.as_secs_f64() / elapsed.as_secs_f64().max(0.001)
}

/// Starts a time when something begins to hold, and forgets it when that ends.
fn hold(since: &mut Since, holds: bool, now: Instant) {
    if holds {
        since.get_or_insert(now);
    } else {
        *since = None;
    }
}
