//! Watches the exec of one task for its runner, and says what is to be done about its blocks.
//!
//! ```text
//! watcher's thread ──level──▶ attendant ──orders──▶ runner ──▶ supervisor, clients
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use cogo_sandbox::exec_dir::ExecDir;
use cogo_sandbox::start::Launcher;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Block, BlockSettings, Deed, InputEnd, News, Responder, Thresholds, Watch, WatchOptions, Watcher,
};

/// Input that comes in many pieces is noted this often.
const NOTE_INPUT: Duration = Duration::from_millis(100);
/// Blocks that are remembered for those who hear of them late.
const TOLD_MAX: usize = 32;

/// The blocks of one exec.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    /// The one that holds now.
    pub(crate) standing: Option<Arc<Sighting>>,
    /// The newest ones, the oldest first.
    told: Arc<[Arc<Sighting>]>,
    /// How many there have been.
    count: usize,
}

/// A block and when it was seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sighting {
    pub(crate) block: Block,
    news: News,
    at: Instant,
}

impl Sighting {
    /// The block as it is now: it has lasted longer.
    pub(crate) fn now(&self) -> Block {
        Block {
            duration: self.block.duration + self.at.elapsed(),
            ..self.block.clone()
        }
    }
}

impl Blocks {
    /// How many there have been: what [`Self::since`] takes.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Those that came after so many.
    pub(crate) fn since(&self, count: usize) -> &[Arc<Sighting>] {
        let new = self.count.saturating_sub(count).min(self.told.len());
        &self.told[self.told.len() - new..]
    }

    fn add(&mut self, news: News) {
        let block = match &news {
            News::LimitHit(block) | News::Blocked(block) => block.clone(),
            News::Cleared => {
                self.standing = None;
                return;
            }
        };
        let sighting = Arc::new(Sighting {
            block,
            news,
            at: Instant::now(),
        });
        if matches!(sighting.news, News::Blocked(_)) {
            self.standing = Some(Arc::clone(&sighting));
        }
        let skipped = (self.told.len() + 1).saturating_sub(TOLD_MAX);
        let kept = self.told.iter().skip(skipped).cloned();
        self.told = kept.chain([sighting]).collect();
        self.count += 1;
    }
}

/// What a runner is to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Let everyone know how things stand.
    Publish(Blocks),
    /// End the exec's input: it reads some, and nobody will send any.
    EndInput,
    /// End the exec.
    End {
        block: Block,
        grace_period: Duration,
    },
}

/// Watches one exec until it is dropped.
#[derive(Debug)]
pub(crate) struct Attendant {
    watcher: Arc<Watcher>,
    id: String,
    responder: Responder,
    grace_period: Duration,
    seen: watch::Receiver<Blocks>,
    /// How many blocks were looked at.
    handled: usize,
    input_noted: Option<Instant>,
    orders: Vec<Order>,
}

impl Attendant {
    /// Begins to watch a running exec. `None` if it has just ended. Blocks its thread.
    pub(crate) fn open(
        watcher: Arc<Watcher>,
        exec: &ExecDir,
        settings: &BlockSettings,
        input: InputEnd,
    ) -> Option<Self> {
        let spec = exec.spec().ok()?;
        let running = exec.running().ok()??;
        let options = WatchOptions {
            // Refused when the task was taken.
            thresholds: Thresholds::with(&settings.after).unwrap_or_default(),
            input_expected: false,
            stack_reader: Some(Launcher::default().program),
        };
        let watch = match Watch::open(exec, &running, &spec, options, Instant::now()) {
            Ok(watch) => watch,
            Err(error) => {
                // Most likely it has just ended, which is about to be known.
                info!(%error, "the exec is not watched for blocks");
                return None;
            }
        };
        let (sender, seen) = watch::channel(Blocks::default());
        watcher.watch(exec.id(), watch, move |news| {
            sender.send_modify(|blocks| blocks.add(news));
        });
        Some(Self {
            watcher,
            id: exec.id().to_owned(),
            responder: Responder::new(settings.policy, input),
            grace_period: spec.grace_period,
            seen,
            handled: 0,
            input_noted: None,
            orders: Vec::new(),
        })
    }

    /// Notes that somebody sent input.
    pub(crate) fn input_sent(&mut self, ended: bool) {
        if ended {
            self.responder.input_ended();
        }
        let is_new = (self.input_noted).is_none_or(|noted| noted.elapsed() >= NOTE_INPUT);
        if is_new {
            let now = Instant::now();
            self.input_noted = Some(now);
            self.watcher.input_sent(&self.id, now);
        }
    }

    /// Waits for the next thing to do. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> Order {
        loop {
            if let Some(order) = self.orders.pop() {
                return order;
            }
            let due = self.responder.due().map(tokio::time::Instant::from_std);
            tokio::select! {
                changed = self.seen.changed() => match changed {
                    Ok(()) => self.look(),
                    // It is watched no more.
                    Err(_) => std::future::pending().await,
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)),
                    if due.is_some() => {
                        let deed = self.responder.tick(Instant::now());
                        self.orders.extend(deed.map(|deed| self.order(deed)));
                    }
            }
        }
    }

    fn look(&mut self) {
        let blocks = self.seen.borrow_and_update().clone();
        for sighting in blocks.since(self.handled) {
            self.react(sighting);
        }
        self.handled = blocks.count();
        // Taken from the end: others hear of a block before something is done about it.
        self.orders.push(Order::Publish(blocks));
    }

    fn react(&mut self, sighting: &Sighting) {
        let block = &sighting.block;
        warn!(
            reason = block.reason.name(),
            duration = ?block.duration,
            evidence = ?block.evidence,
            "blocked"
        );
        let deed = self.responder.hear(&sighting.news, Instant::now());
        self.orders.extend(deed.map(|deed| self.order(deed)));
    }

    fn order(&self, deed: Deed) -> Order {
        match deed {
            Deed::EndInput => Order::EndInput,
            Deed::End(block) => Order::End {
                block,
                grace_period: self.grace_period,
            },
        }
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.watcher.forget(&self.id);
    }
}
