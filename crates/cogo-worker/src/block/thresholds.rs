//! How long something has to last before it is called a block.

use std::collections::BTreeMap;
use std::time::Duration;

use cogo_protocol::block::{BlockAfter, BlockReason};

/// Times and shares of the rules. The defaults accuse an honest program of nothing it could be
/// ended for.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// How long the tree has to stand still with nothing that could wake it. Two looks in which
    /// no thread ran are a proof; this is the time between them. Default: `700ms`.
    pub still: Duration,
    /// How long input has to be waited for when none was ever sent. Default: `700ms`.
    pub input: Duration,
    /// As [`Self::input`], when somebody sent input before: there is a conversation, and the next
    /// answer may take its time. Default: `5m`.
    pub input_attended: Duration,
    /// How long a thread waits for a reader, a server or an end of file while those who could
    /// give it sleep for longer than [`Self::long_sleep`]. Default: `1100ms`.
    pub stall: Duration,
    /// A sleep that lasts longer than this yet is no pause in work. Default: `60s`.
    pub long_sleep: Duration,
    /// How long nothing may come from outside, such as a server. Default: `60s`.
    pub remote: Duration,
    /// How long a program may wait for a signal with nobody inside to send one. Default: `30s`.
    pub signal: Duration,
    /// How long a full disk or used up descriptors have to stay so. Default: `1s`.
    pub exhausted: Duration,
    /// Run time before use of the processor alone can be a block. Default: `5m`.
    pub run_time: Duration,
    /// How long the processor has to be used without any effect. Default: `60s`.
    pub spin: Duration,
    /// As [`Self::spin`], where the system calls made show that nothing is achieved: reads that
    /// return nothing. Applies without [`Self::run_time`]. Default: `10s`.
    pub empty_spin: Duration,
    /// Share of one processor that counts as busy. Default: `0.9`.
    pub busy: f64,
    /// Share of one processor below which a tree counts as idle. Default: `0.02`.
    pub idle: f64,
    /// Share of the memory limit above which memory counts as short. Default: `0.9`.
    pub memory: f64,
    /// How long memory has to be short and grow, or be read back from disk. Default: `3s`.
    pub memory_short: Duration,
    /// Major faults in a second that count as thrashing. Default: `100`.
    pub thrashing: f64,
    /// How long an idle tree may only wake up to sleep again. Default: `5m`.
    pub idle_time: Duration,
    /// Run time before the cpu limit alone can be a block. Default: `5m`.
    pub throttled_run_time: Duration,
    /// How long the cpu limit has to be reached without output. Default: `1m`.
    pub throttled: Duration,
    /// Run time at which an exec is blocked whatever it does. Default: none.
    pub run_time_max: Option<Duration>,
    /// How long each kind of hang has to last in any case. Default: no more than the rest says.
    pub at_least: BTreeMap<BlockReason, Duration>,
}

/// A time for something that a worker cannot see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker does not tell `{}`, so that no time can be set for it", .0.name())]
pub struct NotTold(BlockReason);

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            still: Duration::from_millis(700),
            input: Duration::from_millis(700),
            input_attended: Duration::from_mins(5),
            stall: Duration::from_millis(1100),
            long_sleep: Duration::from_mins(1),
            remote: Duration::from_mins(1),
            signal: Duration::from_secs(30),
            exhausted: Duration::from_secs(1),
            run_time: Duration::from_mins(5),
            spin: Duration::from_mins(1),
            empty_spin: Duration::from_secs(10),
            busy: 0.9,
            idle: 0.02,
            memory: 0.9,
            memory_short: Duration::from_secs(3),
            thrashing: 100.0,
            idle_time: Duration::from_mins(5),
            throttled_run_time: Duration::from_mins(5),
            throttled: Duration::from_mins(1),
            run_time_max: None,
            at_least: BTreeMap::new(),
        }
    }
}

impl Thresholds {
    /// The defaults with times of a user's. Where two looks are a proof, a shorter time than the
    /// default does not make it one sooner; where time itself is the reason, it does.
    ///
    /// # Errors
    ///
    /// Fails for what a worker cannot see.
    pub fn with(after: &BlockAfter) -> Result<Self, NotTold> {
        let mut thresholds = Self::default();
        for (reason, ms) in after {
            let time = ms.map_or(Duration::MAX, Duration::from_millis);
            thresholds.set(*reason, time)?;
        }
        Ok(thresholds)
    }

    fn set(&mut self, reason: BlockReason, time: Duration) -> Result<(), NotTold> {
        let shorten = |times: &mut [&mut Duration]| {
            for known in times {
                **known = (**known).min(time);
            }
        };
        match reason {
            BlockReason::HeartbeatLost => return Err(NotTold(reason)),
            BlockReason::Timeout => self.run_time_max = Some(time),
            BlockReason::InfiniteLoop => {
                shorten(&mut [&mut self.run_time, &mut self.spin, &mut self.empty_spin]);
            }
            BlockReason::CpuExhausted => {
                shorten(&mut [&mut self.throttled_run_time, &mut self.throttled]);
            }
            BlockReason::Unknown => {
                shorten(&mut [&mut self.remote, &mut self.signal, &mut self.idle_time]);
            }
            BlockReason::WaitingForInput => {
                self.input = time;
                self.input_attended = time;
            }
            BlockReason::MemoryExhausted
            | BlockReason::Deadlock
            | BlockReason::OutputStalled
            | BlockReason::PidsExhausted
            | BlockReason::DiskExhausted => {}
        }
        self.at_least.insert(reason, time);
        Ok(())
    }

    /// Whether such a hang is told once it has lasted for that long.
    pub(super) fn allow(&self, reason: BlockReason, time: Duration) -> bool {
        self.at_least
            .get(&reason)
            .is_none_or(|least| time >= *least)
    }

    /// Whether such a limit is told of when it is hit. There is nothing to wait for then.
    pub(super) fn allow_event(&self, reason: BlockReason) -> bool {
        self.at_least.get(&reason) != Some(&Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(reason: BlockReason, ms: Option<u64>) -> Thresholds {
        Thresholds::with(&BlockAfter::from([(reason, ms)])).unwrap()
    }

    #[test]
    fn what_time_alone_shows_comes_sooner_or_later() {
        let sooner = with(BlockReason::InfiniteLoop, Some(10_000));
        assert_eq!(sooner.run_time, Duration::from_secs(10));
        assert_eq!(sooner.throttled, Duration::from_mins(1));
        let later = with(BlockReason::InfiniteLoop, Some(3_600_000));
        assert_eq!(later.run_time, Duration::from_mins(5));
        let hour = Duration::from_hours(1);
        assert!(!later.allow(BlockReason::InfiniteLoop, hour / 2));
        assert!(later.allow(BlockReason::InfiniteLoop, hour));
        assert!(later.allow(BlockReason::Deadlock, Duration::ZERO));
    }

    #[test]
    fn never_is_never() {
        let never = with(BlockReason::PidsExhausted, None);
        assert!(!never.allow_event(BlockReason::PidsExhausted));
        assert!(never.allow_event(BlockReason::MemoryExhausted));
        assert_eq!(
            with(BlockReason::WaitingForInput, None).input,
            Duration::MAX
        );
    }

    #[test]
    fn the_silence_of_a_worker_is_not_the_workers_to_tell() {
        let after = BlockAfter::from([(BlockReason::HeartbeatLost, Some(1))]);
        let error = Thresholds::with(&after).unwrap_err();
        assert!(error.to_string().contains("heartbeat_lost"), "{error}");
    }
}
