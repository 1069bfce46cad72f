//! Says within seconds why an exec hangs, from what the kernel shows of it.
//!
//! ```text
//! Observer (cogo-sandbox) ──samples──▶ Judge ──Block──▶ policy ──▶ who is told, what is ended
//!                      ▲                 │
//!                      └──── Watch ◀─────┘   one per exec: when to look, and how closely
//!                              ▲
//!                           Watcher          one thread for all of a worker's execs
//! ```
//!
//! The [`Judge`] is a state machine over samples without a clock and without I/O. Its rules are in
//! `rules/`, each with its reason in kernel terms. They know system calls, descriptors, counters
//! and who could wake whom; no rule knows the name of a program.
//!
//! An accusation needs proof that nothing inside can go on, or a set time. Where the kernel does
//! not tell, the judge is silent.

mod attendant;
mod crowd;
pub(crate) mod examine;
mod judge;
mod life;
mod policy;
mod rules;
mod settings;
mod thresholds;
mod trace;
mod watch;
mod watcher;
mod words;

use std::time::Duration;

use cogo_protocol::block::{BlockInfo, BlockReason, ResourceUsage};
use cogo_protocol::task::TaskId;
use cogo_protocol::worker::WorkerId;
use cogo_sandbox::verdict::BlockCause;

pub(crate) use attendant::{Attendant, Blocks, Order};
pub use judge::{Capacity, Input, Judge};
pub use policy::{Deed, InputEnd, Reaction, Responder, reaction};
pub use settings::BlockSettings;
pub use thresholds::{NotTold, Thresholds};
pub use watch::{Watch, WatchOptions};
pub use watcher::Watcher;

/// An exec that hangs.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Why.
    pub reason: BlockReason,
    /// For how long.
    pub duration: Duration,
    /// What it uses meanwhile.
    pub usage: ResourceUsage,
    /// Whether there is a strategy that may help.
    pub recoverable: bool,
    /// What the kernel shows of it, one fact each, the most telling one first.
    pub evidence: Vec<String>,
}

/// What is new of an exec.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// It hit a limit. That is a fact of a moment: it may go on, or end by itself.
    LimitHit(Block),
    /// It hangs from now on, or for another reason than before.
    Blocked(Block),
    /// It hangs no more.
    Cleared,
}

impl News {
    /// The block that is told, if one is.
    pub fn block(self) -> Option<Block> {
        match self {
            Self::LimitHit(block) | Self::Blocked(block) => Some(block),
            Self::Cleared => None,
        }
    }
}

/// What a close look at an exec found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examined {
    /// Why it hangs, if it does.
    pub block: Option<Block>,
    /// What its threads do, one line each.
    pub evidence: Vec<String>,
}

impl Block {
    /// The block as the sandbox writes it into a verdict.
    pub fn cause(&self) -> BlockCause {
        BlockCause {
            reason: self.reason.name().to_owned(),
            duration: self.duration,
            evidence: self.evidence.clone(),
        }
    }

    /// The block as it is told to others.
    pub fn info(&self, task_id: TaskId, worker_id: WorkerId) -> BlockInfo {
        BlockInfo {
            task_id,
            worker_id,
            reason: self.reason,
            duration: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            resource_usage: self.usage,
            recoverable: self.recoverable,
            evidence: self.evidence.clone(),
        }
    }
}
