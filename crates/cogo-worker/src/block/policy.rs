//! What follows from a block.

use std::time::{Duration, Instant};

use cogo_protocol::block::{BlockPolicy, BlockReason};

use super::{Block, News};

/// A limit that was hit may be the program's end, and then its verdict names the limit. Only one
/// that lives on after this long is ended for it.
const END_BY_ITSELF: Duration = Duration::from_secs(1);

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

/// Whether a program can still be told that its input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// Nobody has told it yet.
    Ahead,
    /// It was told, or never had input.
    Past,
}

/// What is to be done to an exec.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// End its input: it reads some, and nobody sends any.
    EndInput,
    /// End it, for this block.
    End(Block),
}

/// Applies a policy to one exec. It has no clock of its own.
///
/// ```text
/// watching ──block──▶ input ended ──block again──▶ ending
///     └──limit hit──▶ a moment to end by itself ──────▲
/// ```
#[derive(Clone, Debug)]
pub struct Responder {
    policy: BlockPolicy,
    input: InputEnd,
    delayed: Option<(Instant, Block)>,
    ending: bool,
}

impl Responder {
    /// One for a running exec.
    pub const fn new(policy: BlockPolicy, input: InputEnd) -> Self {
        Self {
            policy,
            input,
            delayed: None,
            ending: false,
        }
    }

    /// Notes that somebody else ended the input.
    pub const fn input_ended(&mut self) {
        self.input = InputEnd::Past;
    }

    /// Hears what is new, and says what is to be done at once.
    pub fn hear(&mut self, news: &News, now: Instant) -> Option<Deed> {
        let (block, is_event) = match news {
            News::LimitHit(block) => (block, true),
            News::Blocked(block) => (block, false),
            News::Cleared => return None,
        };
        match reaction(self.policy, block) {
            Reaction::Record | Reaction::Tell => None,
            // If it fails by the limit, its verdict says so, and that is what a retry goes by.
            Reaction::Recover if is_event => None,
            Reaction::Recover if self.can_end_input(block.reason) => {
                self.input = InputEnd::Past;
                Some(Deed::EndInput)
            }
            Reaction::End if is_event => {
                let due = (now + END_BY_ITSELF, block.clone());
                self.delayed.get_or_insert(due);
                None
            }
            Reaction::Recover | Reaction::End => self.end(block.clone()),
        }
    }

    /// When [`Self::tick`] is due, if it is.
    pub fn due(&self) -> Option<Instant> {
        self.delayed.as_ref().map(|(due, _)| *due)
    }

    /// Says what is due now.
    pub fn tick(&mut self, now: Instant) -> Option<Deed> {
        let (_, block) = self.delayed.take_if(|(due, _)| *due <= now)?;
        self.end(block)
    }

    fn can_end_input(&self, reason: BlockReason) -> bool {
        reason == BlockReason::WaitingForInput && self.input == InputEnd::Ahead
    }

    fn end(&mut self, block: Block) -> Option<Deed> {
        let is_first = !std::mem::replace(&mut self.ending, true);
        is_first.then_some(Deed::End(block))
    }
}

#[cfg(test)]
mod tests {
    use cogo_protocol::block::BlockReason;

    use super::*;

    fn block(reason: BlockReason) -> Block {
        Block {
            reason,
            duration: Duration::from_secs(1),
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

    fn hang(reason: BlockReason) -> News {
        News::Blocked(block(reason))
    }

    #[test]
    fn a_program_that_waits_for_input_gets_its_end_first() {
        let now = Instant::now();
        let mut responder = Responder::new(BlockPolicy::Recover, InputEnd::Ahead);
        let waits = hang(BlockReason::WaitingForInput);
        assert_eq!(responder.hear(&waits, now), Some(Deed::EndInput));
        assert_eq!(responder.hear(&News::Cleared, now), None);
        let end = Some(Deed::End(block(BlockReason::WaitingForInput)));
        assert_eq!(responder.hear(&waits, now), end);
        assert_eq!(responder.hear(&waits, now), None, "it is ended once");
    }

    #[test]
    fn input_that_has_ended_cannot_be_ended() {
        let mut responder = Responder::new(BlockPolicy::Recover, InputEnd::Ahead);
        responder.input_ended();
        let deed = responder.hear(&hang(BlockReason::WaitingForInput), Instant::now());
        assert!(matches!(deed, Some(Deed::End(_))), "{deed:?}");
    }

    #[test]
    fn who_hits_a_limit_has_a_moment_to_end_by_itself() {
        let now = Instant::now();
        let hit = News::LimitHit(block(BlockReason::PidsExhausted));
        let mut responder = Responder::new(BlockPolicy::Kill, InputEnd::Past);
        assert_eq!(responder.hear(&hit, now), None);
        assert_eq!(responder.tick(now), None);
        let due = responder.due().expect("a time");
        let end = Some(Deed::End(block(BlockReason::PidsExhausted)));
        assert_eq!(responder.tick(due), end);
        assert_eq!(responder.due(), None);
        let mut patient = Responder::new(BlockPolicy::Recover, InputEnd::Past);
        assert_eq!((patient.hear(&hit, now), patient.due()), (None, None));
    }
}
