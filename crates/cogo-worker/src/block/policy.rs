//! What follows from a block.

use cogo_protocol::block::BlockPolicy;

use super::Block;

/// What is to be done about a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Write it down.
    Record,
    /// Tell whoever follows the exec.
    Tell,
    /// Tell, and try what may help.
    Recover,
    /// Tell, and end the exec.
    End,
}

/// What a policy makes of a block. What no strategy can help is only told, never ended, unless the
/// policy is to end it.
pub fn reaction(policy: BlockPolicy, block: &Block) -> Reaction {
    match policy {
        BlockPolicy::Observe => Reaction::Record,
        BlockPolicy::Recover if block.recoverable => Reaction::Recover,
        BlockPolicy::Warn | BlockPolicy::Recover => Reaction::Tell,
        BlockPolicy::Kill => Reaction::End,
    }
}

#[cfg(test)]
mod tests {
    use cogo_protocol::block::BlockReason;

    use super::*;

    fn block(reason: BlockReason) -> Block {
        Block {
            reason,
            duration: std::time::Duration::from_secs(1),
            usage: cogo_protocol::block::ResourceUsage::default(),
            recoverable: reason.is_recoverable(),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn only_the_policy_kill_ends_an_exec() {
        let policies = [
            BlockPolicy::Observe,
            BlockPolicy::Warn,
            BlockPolicy::Recover,
        ];
        for reason in [BlockReason::Deadlock, BlockReason::InfiniteLoop] {
            for policy in policies {
                assert_ne!(reaction(policy, &block(reason)), Reaction::End);
            }
            assert_eq!(reaction(BlockPolicy::Kill, &block(reason)), Reaction::End);
        }
    }

    #[test]
    fn recovery_is_tried_where_something_may_help() {
        let recover = |reason| reaction(BlockPolicy::Recover, &block(reason));
        assert_eq!(recover(BlockReason::MemoryExhausted), Reaction::Recover);
        assert_eq!(recover(BlockReason::InfiniteLoop), Reaction::Tell);
    }
}
