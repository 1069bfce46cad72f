//! When to look at an exec, and how closely.
//!
//! An exec that uses the processor is only glanced at. One that falls idle is examined at once,
//! then less and less often as long as it has a reason to be idle, and at once again when it did
//! something in between.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cogo_sandbox::cgroup::LimitEvent;
use cogo_sandbox::evidence::{Detail, Glance, Observer, Sample};
use cogo_sandbox::exec_dir::{ExecDir, Running};
use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::stacks::{Question, StackLook};
use rustix::event::PollFlags;
use rustix::time::{ClockId, clock_gettime};

use super::crowd::{Crowd, Headroom};
use super::{Block, Capacity, Examined, Input, Judge, News, Thresholds, words};

/// Time between glances at processor time.
const GLANCE: Duration = Duration::from_millis(400);
/// Time between looks at the tree as a whole.
const SURVEY: Duration = Duration::from_secs(1);
/// Time between looks at limits of which the kernel tells nobody (pids in cgroup v1).
const LIMITS: Duration = Duration::from_millis(80);
/// As above, when the kernel told that one is being hit.
const LIMITS_ALERT: Duration = Duration::from_millis(10);
/// For how long limits are looked at after the kernel told of one: cgroup v1 tells before it acts.
const ALERT: Duration = Duration::from_secs(1);
/// Time between the first and the second examination of an idle exec.
const EXAMINE_MIN: Duration = Duration::from_millis(400);
/// Time between examinations of an exec with a good reason to be idle.
const EXAMINE_MAX: Duration = Duration::from_secs(10);
/// As above, where no control group tells that something ran in between.
const EXAMINE_UNCOUNTED: Duration = Duration::from_secs(2);
/// Time between examinations of an exec that uses the processor.
const EXAMINE_BUSY: Duration = Duration::from_secs(5);
/// Examinations that an exec may have in a row, and how many a second it may have for long: one
/// that falls idle again and again without a block must not cost much.
const BUDGET: f64 = 12.0;
const BUDGET_RATE: f64 = 0.1;
/// What is set aside beside it for an exec that has been quiet for [`LONG_QUIET`], so that one that
/// fell idle often is still examined at once when it does not get up again.
const RESERVE: f64 = 4.0;
const RESERVE_RATE: f64 = 0.05;
const LONG_QUIET: Duration = Duration::from_millis(1500);
/// Time between looks whether stacks have been read.
const READ_STACKS: Duration = Duration::from_millis(15);
/// Times between questions to a runtime about its locks: each makes its threads pause.
const ASK: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(10),
    Duration::from_mins(2),
];
/// Processor time between two glances that no idle program needs.
const STIR: Duration = Duration::from_micros(500);

/// How an exec is to be watched.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// How long something has to last before it is called a block.
    pub thresholds: Thresholds,
    /// Waiting for input is what the exec is for.
    pub input_expected: bool,
    /// What becomes the reader of stacks when a block is found
    /// ([`Launcher::program`](cogo_sandbox::start::Launcher)). Default: none are read.
    pub stack_reader: Option<PathBuf>,
}

/// Watches one exec. Whoever owns it calls [`Self::tick`] when it is due.
#[derive(Debug)]
pub struct Watch {
    observer: Observer,
    judge: Judge,
    events: Vec<LimitEvent>,
    input: Input,
    idle: f64,
    /// Whether limits have to be looked at because nobody tells of them.
    polls_limits: bool,
    /// Until when they are looked at because of an event.
    alert_until: Option<Instant>,
    seen: Glance,
    glanced: Option<(Instant, Duration)>,
    /// Processor time at the last survey.
    surveyed: Option<Duration>,
    /// What an idle program uses between two glances.
    background: Duration,
    interval: Duration,
    budget: f64,
    reserve: f64,
    budgeted_at: Instant,
    /// When it last used more of the processor than an idle program does.
    stirred_at: Instant,
    due: Due,
    stack_reader: Option<PathBuf>,
    looking: Option<Looking>,
    /// How often a runtime was asked about its locks, and when it may be asked again.
    asked: (usize, Instant),
    headroom: Headroom,
}

/// A look at stacks that goes on.
#[derive(Debug)]
struct Looking {
    look: StackLook,
    /// What is told when it is over, with what it found.
    news: Option<News>,
    due: Instant,
}

/// When each look is due next.
#[derive(Clone, Copy, Debug)]
struct Due {
    limits: Instant,
    glance: Instant,
    survey: Instant,
    examine: Instant,
}

impl Watch {
    /// Begins to watch a running exec.
    ///
    /// # Errors
    ///
    /// Fails when the command has ended.
    pub fn open(
        exec: &ExecDir,
        running: &Running,
        spec: &ExecSpec,
        options: WatchOptions,
        now: Instant,
    ) -> io::Result<Self> {
        let observer = Observer::open(exec, running, spec)?;
        let events = observer.limit_events();
        let crowd = observer.crowd_file().and_then(|path| Crowd::open(&path));
        let headroom = Headroom::new(crowd);
        let started_at = now.checked_sub(age(running)).unwrap_or(now);
        Ok(Self {
            idle: options.thresholds.idle,
            judge: Judge::new(options.thresholds, capacity(spec), started_at),
            // Memory and pids each have an event, where the kernel has both.
            polls_limits: spec.limits.pids.is_some() && events.len() < 2,
            alert_until: None,
            events,
            observer,
            input: Input {
                sent_at: None,
                expected: options.input_expected,
            },
            seen: Glance::default(),
            glanced: None,
            surveyed: None,
            background: Duration::ZERO,
            interval: EXAMINE_MIN,
            budget: BUDGET,
            reserve: RESERVE,
            budgeted_at: now,
            stirred_at: now,
            due: Due {
                limits: now,
                glance: now,
                survey: now + SURVEY,
                examine: now,
            },
            stack_reader: options.stack_reader,
            looking: None,
            asked: (0, now),
            headroom,
        })
    }

    /// Shares with others what serves all execs beside each other.
    pub(super) fn share(&mut self, crowds: &mut Vec<Arc<Crowd>>) {
        let Some(own) = &self.headroom.crowd else {
            return;
        };
        match crowds.iter().find(|crowd| crowd.path() == own.path()) {
            Some(shared) => self.headroom.crowd = Some(Arc::clone(shared)),
            None => crowds.push(Arc::clone(own)),
        }
    }

    /// Descriptors to wait for beside the time, and what to poll them for.
    pub fn events(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.events
            .iter()
            .map(|event| (event.as_fd(), event.poll_flags()))
    }

    /// When [`Self::tick`] is due.
    pub fn next_due(&self) -> Instant {
        let Due {
            limits,
            glance,
            survey,
            ..
        } = self.due;
        let looks = glance.min(survey);
        let stacks = self.looking.as_ref().map(|looking| looking.due);
        let looks = stacks.map_or(looks, |due| looks.min(due));
        if self.polls_limits || self.alert_until.is_some() {
            looks.min(limits)
        } else {
            looks
        }
    }

    /// Notes that somebody sent input to the exec.
    pub fn input_sent(&mut self, now: Instant) {
        self.input.sent_at = Some(now);
        self.due.examine = now;
    }

    /// The block that holds now.
    pub fn standing(&self) -> Option<&Block> {
        self.judge.standing()
    }

    /// Does what is due, and tells what is new.
    pub fn tick(&mut self, now: Instant) -> Option<News> {
        if now >= self.due.limits {
            self.alert_until = self.alert_until.filter(|until| now < *until);
            let pace = self.alert_until.map_or(LIMITS, |_| LIMITS_ALERT);
            self.due.limits = now + until_next(pace);
            if let Some(news) = self.look_at_limits(now) {
                return Some(news);
            }
        }
        if let Some(looking) = &self.looking {
            if now >= looking.due {
                return self.read_stacks(now);
            }
            // It was found to hang a moment ago.
            if looking.news.is_some() {
                self.due.glance = self.due.glance.max(looking.due);
                self.due.survey = self.due.survey.max(looking.due);
                return None;
            }
        }
        if now >= self.due.glance {
            self.due.glance = now + until_next(GLANCE);
            let is_idle = self.glance(now);
            // The next moment may come a little less than a period later.
            if now + GLANCE / 4 >= self.due.examine {
                return self.examine(is_idle, now);
            }
        }
        if now >= self.due.survey {
            self.due.survey = now + until_next(SURVEY);
            // Nothing changes in a tree of which nothing ran.
            let cpu = self.glanced.map(|(_, cpu)| cpu);
            if cpu.is_some() && std::mem::replace(&mut self.surveyed, cpu) == cpu {
                return None;
            }
            return self.observe(&self.observer.survey(), now);
        }
        None
    }

    /// Hears that a limit may have been hit.
    pub fn wake(&mut self, now: Instant) -> Option<News> {
        // An event whose group is gone cannot be made to wait, and would wake for ever.
        self.events.retain(|event| event.acknowledge().is_ok());
        self.alert_until = Some(now + ALERT);
        self.due.limits = now + LIMITS_ALERT;
        self.look_at_limits(now)
    }

    /// Looks closely now, whatever is due: what is new, and what there is to see.
    pub fn examine_now(&mut self, now: Instant) -> (Option<News>, Examined) {
        let sample = self.observer.examine(Detail::WithPlaces);
        let news = self.observe(&sample, now);
        let examined = Examined {
            block: self.judge.standing().cloned(),
            evidence: words::others(&sample, 0),
        };
        (news, examined)
    }

    /// Looks whether a limit was hit: cheaply where only forks can have been refused.
    fn look_at_limits(&mut self, now: Instant) -> Option<News> {
        let oom_kills = self.alert_until.map(|_| self.observer.glance().oom_kills);
        let refuses =
            self.alert_until.is_some() || self.headroom.may_be_used_up(&self.observer, now);
        let is_new = (refuses && self.observer.pids_refused() > self.seen.pids_refused)
            || oom_kills.is_some_and(|oom_kills| oom_kills > self.seen.oom_kills);
        if !is_new {
            return None;
        }
        self.observe(&self.observer.survey(), now)
    }

    /// Whether the exec has been idle since the last glance. One that stirred is examined soon.
    fn glance(&mut self, now: Instant) -> bool {
        let Some(cpu) = self.observer.cpu() else {
            return true;
        };
        let Some((at, before)) = self.glanced.replace((now, cpu)) else {
            self.due.examine = now + EXAMINE_MIN;
            return false;
        };
        let used = cpu.saturating_sub(before);
        let is_idle = used.as_secs_f64() < (now - at).as_secs_f64() * self.idle;
        if used > self.background * 2 + STIR {
            self.stirred_at = now;
            self.headroom.forget();
            self.interval = EXAMINE_MIN;
            self.due.examine = self
                .due
                .examine
                .min(now + if is_idle { Duration::ZERO } else { GLANCE });
        }
        if is_idle {
            self.background = (self.background * 3 + used) / 4;
        }
        is_idle
    }

    fn examine(&mut self, is_idle: bool, now: Instant) -> Option<News> {
        if !is_idle && self.judge.run_time(now) < EXAMINE_BUSY {
            self.due.examine = now + GLANCE;
            return None;
        }
        if !self.spend(now) {
            self.due.examine = now + GLANCE;
            return None;
        }
        // What is told of is told with places; a block that is near is told of at the next look.
        let detail = if self.judge.is_blocked() || self.judge.is_close(now) {
            Detail::WithPlaces
        } else {
            Detail::Waits
        };
        let sample = self.observer.examine(detail);
        let news = self.observe(&sample, now);
        self.due.survey = now + until_next(SURVEY);
        let longest = if self.glanced.is_some() {
            EXAMINE_MAX
        } else {
            EXAMINE_UNCOUNTED
        };
        let interval = match (is_idle, self.judge.is_blocked() || self.judge.is_close(now)) {
            (false, _) => EXAMINE_BUSY,
            (true, true) => EXAMINE_MIN,
            (true, false) => self.interval,
        };
        if interval == self.interval {
            self.interval = (self.interval * 2).min(longest);
        }
        self.due.examine = now + interval;
        news
    }

    /// Takes one examination from the budget, if there is one.
    fn spend(&mut self, now: Instant) -> bool {
        let elapsed = (now - self.budgeted_at).as_secs_f64();
        self.budgeted_at = now;
        self.budget = (self.budget + elapsed * BUDGET_RATE).min(BUDGET);
        self.reserve = (self.reserve + elapsed * RESERVE_RATE).min(RESERVE);
        let is_long_quiet = now - self.stirred_at >= LONG_QUIET;
        let purse = if self.budget < 1.0 && is_long_quiet {
            &mut self.reserve
        } else {
            &mut self.budget
        };
        let can_pay = *purse >= 1.0;
        if can_pay {
            *purse -= 1.0;
        }
        can_pay
    }

    fn observe(&mut self, sample: &Sample, now: Instant) -> Option<News> {
        self.seen = sample.glance;
        let news = self.judge.observe(sample, self.input, now);
        match news {
            Some(News::Blocked(_)) if sample.complete && !self.judge.has_stacks() => {
                self.look_at_stacks(sample, Question::Stacks, news, now)
            }
            None if now >= self.asked.1 && self.judge.has_question(sample, now) => {
                let (count, _) = self.asked;
                let pause = ASK[(count + 1).min(ASK.len() - 1)];
                self.asked = (count + 1, now + pause);
                self.look_at_stacks(sample, Question::Deadlocks, None, now)
            }
            news => news,
        }
    }

    /// Begins to look at stacks. Returns the news at once if that cannot be.
    fn look_at_stacks(
        &mut self,
        sample: &Sample,
        question: Question,
        news: Option<News>,
        now: Instant,
    ) -> Option<News> {
        let Some(program) = &self.stack_reader else {
            return news;
        };
        match StackLook::start(program, sample, question, now) {
            Ok(look) => {
                let due = now + READ_STACKS;
                self.looking = Some(Looking { look, news, due });
                None
            }
            Err(error) => {
                self.judge
                    .add_stacks(vec![format!("stacks were not read: {error}")]);
                news.map(|news| self.judge.with_stacks(news))
            }
        }
    }

    /// Takes what was read of stacks, and tells what waited for it.
    fn read_stacks(&mut self, now: Instant) -> Option<News> {
        let Looking { look, due, .. } = self.looking.as_mut()?;
        let Some(stacks) = look.poll(now) else {
            *due = now + READ_STACKS;
            return None;
        };
        let news = self.looking.take().and_then(|looking| looking.news);
        if news.is_some() {
            self.judge.add_stacks(stacks.lines);
        } else if !stacks.deadlocks.is_empty() {
            self.judge.add_stacks(stacks.lines);
            self.judge.add_deadlocks(stacks.deadlocks, now);
            let sample = self.observer.examine(Detail::WithPlaces);
            return self.observe(&sample, now);
        }
        news.map(|news| self.judge.with_stacks(news))
    }
}

/// Time to the next of moments that far apart, the same for all execs: one wake-up serves them all.
fn until_next(period: Duration) -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32).as_nanos();
    let passed = Duration::from_nanos((now % period.as_nanos()) as u64);
    period.saturating_sub(passed)
}

/// How long an exec has been running.
fn age(running: &Running) -> Duration {
    let started_at = UNIX_EPOCH + Duration::from_millis(running.started_at_ms);
    SystemTime::now()
        .duration_since(started_at)
        .unwrap_or_default()
}

fn capacity(spec: &ExecSpec) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let host = rustix::system::sysinfo();
    Capacity {
        cpus: spec.limits.cpus.unwrap_or(cpus).min(cpus),
        memory: spec
            .limits
            .memory
            .unwrap_or(host.totalram * u64::from(host.mem_unit)),
    }
}
