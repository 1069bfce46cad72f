//! The rules of the manager: plain functions of state and time, without side effects.
//!
//! The [coordinator](crate::coordinator) owns the state and applies them; nothing else decides.

pub mod aging;
pub mod backoff;
pub mod demand;
pub mod fair_share;
pub mod lease;
pub mod matching;
pub mod pool;
pub mod queue;
pub mod recovery;
pub mod retry;
pub mod verdict;
