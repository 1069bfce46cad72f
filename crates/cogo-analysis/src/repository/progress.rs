//! What `gix` counts while it fetches, for whoever looks on.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gix::progress::{Count, Id, MessageLevel, NestedProgress, Progress, Step, StepShared, Unit};

/// How far a clone has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneProgress {
    /// What is being done, in a word or three.
    pub stage: String,
    /// Bytes received so far.
    pub bytes: u64,
    /// Units of the stage that are done.
    pub done: usize,
    /// Units of the stage, where known.
    pub total: Option<usize>,
}

/// Told about ten times a second. Returning `Break` ends the clone.
pub type OnCloneProgress<'a> = &'a mut (dyn FnMut(CloneProgress) -> ControlFlow<()> + Send);

/// `gix` counts the bytes of the pack under this id.
const RECEIVED: Id = *b"BWRB";

/// What all counters of one fetch share.
#[derive(Debug, Default)]
pub(super) struct Board {
    received: StepShared,
    latest: Mutex<Option<Stage>>,
}

#[derive(Clone, Debug)]
struct Stage {
    name: String,
    counter: StepShared,
    total: Option<usize>,
}

impl Board {
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed) as u64
    }

    pub(super) fn progress(&self) -> CloneProgress {
        let latest = self.latest.lock().ok().and_then(|latest| latest.clone());
        CloneProgress {
            stage: latest
                .as_ref()
                .map_or_else(|| "connecting".to_owned(), |stage| stage.name.clone()),
            bytes: self.received(),
            done: latest
                .as_ref()
                .map_or(0, |stage| stage.counter.load(Ordering::Relaxed)),
            total: latest.and_then(|stage| stage.total),
        }
    }
}

/// One counter.
#[derive(Debug)]
pub(super) struct Counter {
    board: Arc<Board>,
    id: Id,
    stage: Stage,
}

impl Counter {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self::of(board, "fetching".to_owned(), gix::progress::UNKNOWN)
    }

    fn of(board: Arc<Board>, name: String, id: Id) -> Self {
        let counter = if id == RECEIVED {
            Arc::clone(&board.received)
        } else {
            Arc::new(AtomicUsize::new(0))
        };
        let stage = Stage {
            name,
            counter,
            total: None,
        };
        Self { board, id, stage }
    }

    fn show(&self) {
        if let Ok(mut latest) = self.board.latest.lock() {
            *latest = Some(self.stage.clone());
        }
    }
}

impl Count for Counter {
    fn set(&self, step: Step) {
        self.stage.counter.store(step, Ordering::Relaxed);
    }

    fn step(&self) -> Step {
        self.stage.counter.load(Ordering::Relaxed)
    }

    fn inc_by(&self, step: Step) {
        self.stage.counter.fetch_add(step, Ordering::Relaxed);
    }

    fn counter(&self) -> StepShared {
        Arc::clone(&self.stage.counter)
    }
}

impl Progress for Counter {
    fn init(&mut self, max: Option<Step>, _unit: Option<Unit>) {
        self.stage.total = max;
        self.show();
    }

    fn set_name(&mut self, name: String) {
        self.stage.name = name;
        self.show();
    }

    fn name(&self) -> Option<String> {
        Some(self.stage.name.clone())
    }

    fn id(&self) -> Id {
        self.id
    }

    fn message(&self, _level: MessageLevel, _message: String) {}
}

impl NestedProgress for Counter {
    type SubProgress = Self;

    fn add_child(&mut self, name: impl Into<String>) -> Self {
        self.add_child_with_id(name, gix::progress::UNKNOWN)
    }

    fn add_child_with_id(&mut self, name: impl Into<String>, id: Id) -> Self {
        Self::of(Arc::clone(&self.board), name.into(), id)
    }
}
