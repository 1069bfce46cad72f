//! The way from a step to whatever runs it: a sandbox here, or a manager's workers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use cogo_protocol::record::Stream;
use cogo_protocol::task::Priority;
use cogo_protocol::verdict::Outcome;
use serde::Serialize;

use crate::document::{StepLimits, StepNetwork};
use crate::route::Route;

/// One attempt at one instance of a step, ready to run.
#[derive(Clone, Debug)]
pub struct Work {
    /// Names the attempt, the same whenever it is asked for again. A dispatch that was killed in
    /// the middle finds by it what it started.
    pub key: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its variables.
    pub env: BTreeMap<String, String>,
    /// The directory it starts in: absolute, in the workspace.
    pub cwd: PathBuf,
    /// Where it belongs.
    pub route: Route,
    /// What it may use.
    pub limits: StepLimits,
    /// What it may reach.
    pub network: StepNetwork,
    /// How urgent it is.
    pub priority: Priority,
    /// When to end it, counted from its start.
    pub timeout: Option<Duration>,
    /// What a dispatch said of this attempt before it was killed, if it was.
    pub handle: Option<String>,
}

/// What a dispatch tells while an attempt runs.
#[derive(Debug)]
pub enum Progress<'a> {
    /// It runs; by this the dispatch finds it again after its own death. It is on the disk when
    /// the call returns.
    Handle(&'a str),
    /// It wrote this. After a new start with a handle all output comes again, from the first byte.
    Output(Stream, &'a [u8]),
}

/// Why an attempt has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct DispatchError {
    /// What could not be done.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Runs attempts.
pub trait Dispatch: Sync {
    /// Runs one attempt to its end, on the caller's thread. Many run at once. When `cancel` is
    /// asked it ends the attempt and returns its outcome.
    ///
    /// # Errors
    ///
    /// When it could not be started, or its end is not known.
    fn run(
        &self,
        work: &Work,
        tell: &mut dyn FnMut(Progress<'_>),
        cancel: &Cancel,
    ) -> Result<Outcome, DispatchError>;
}

/// Whether all that runs is to end, and how urgently.
#[derive(Debug, Default)]
pub struct Cancel(AtomicU8);

impl Cancel {
    /// Asks for the end: politely the first time, then by force.
    pub fn ask(&self) {
        let more = |asked: u8| Some(asked.saturating_add(1));
        // It always changes something, or is at its highest.
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Whether it was asked for more than once.
    pub fn is_insisted(&self) -> bool {
        self.0.load(Ordering::Acquire) > 1
    }
}
