//! What an exec's user wants done about its blocks.

use cogo_protocol::block::{BlockAfter, BlockPolicy};
use serde::{Deserialize, Serialize};

/// What to do about blocks, and when something counts as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSettings {
    /// What to do. Default: warn.
    pub policy: BlockPolicy,
    /// How long each kind of hang has to last. Default: see [`Thresholds`](super::Thresholds).
    pub after: BlockAfter,
}

impl Default for BlockSettings {
    fn default() -> Self {
        Self {
            policy: BlockPolicy::Warn,
            after: BlockAfter::new(),
        }
    }
}

impl BlockSettings {
    /// These, changed by what a task asks for.
    #[must_use]
    pub fn changed_by(&self, policy: Option<BlockPolicy>, after: &BlockAfter) -> Self {
        let mut settings = self.clone();
        settings.policy = policy.unwrap_or(settings.policy);
        settings.after.extend(after);
        settings
    }
}
