//! Hanging commands: the options about them, and how they are told of.

use std::time::Duration;

use clap::{Args, ValueEnum};
use cogo_protocol::block::{BlockAfter, BlockPolicy, BlockReason};
use cogo_protocol::units::TimeSpan;
use cogo_worker::block::{BlockSettings, Thresholds};

use crate::failure::Failure;
use crate::measure;

const AFTER: &str = "How long a kind of hang has to last before it counts, such as deadlock=10s \
or waiting_for_input=never; may be repeated";

const AFTER_LONG: &str = "How long a kind of hang has to last before it counts, such as \
deadlock=10s or waiting_for_input=never; may be repeated

The kinds are timeout, infinite_loop, memory_exhausted, cpu_exhausted, unknown, \
waiting_for_input, deadlock, output_stalled, pids_exhausted and disk_exhausted.";

/// What to do about a command that hangs.
#[derive(Args, Clone, Debug)]
pub(crate) struct BlockOptions {
    /// What to do about a command that hangs [default: warn]
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        help_heading = "Hanging commands"
    )]
    pub(crate) block_policy: Option<PolicyOption>,
    #[arg(long, value_name = "KIND=TIME", value_parser = parse_after, value_delimiter = ',',
          help_heading = "Hanging commands", help = AFTER, long_help = AFTER_LONG)]
    pub(crate) block_after: Vec<(BlockReason, Option<u64>)>,
}

/// What to do about a command that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyOption {
    /// Say nothing
    Observe,
    /// Say why
    Warn,
    /// Say why, and try what may help; where nothing can be tried, end it
    Recover,
    /// Say why, and end it
    Kill,
}

impl From<PolicyOption> for BlockPolicy {
    fn from(option: PolicyOption) -> Self {
        match option {
            PolicyOption::Observe => Self::Observe,
            PolicyOption::Warn => Self::Warn,
            PolicyOption::Recover => Self::Recover,
            PolicyOption::Kill => Self::Kill,
        }
    }
}

impl BlockOptions {
    /// The policy that was asked for.
    pub(crate) fn policy(&self) -> Option<BlockPolicy> {
        self.block_policy.map(Into::into)
    }

    /// The times that were asked for.
    pub(crate) fn after(&self) -> BlockAfter {
        self.block_after.iter().copied().collect()
    }

    /// These, or the defaults.
    pub(crate) fn settings(&self) -> Result<BlockSettings, Failure> {
        let settings = BlockSettings::default().changed_by(self.policy(), &self.after());
        Thresholds::with(&settings.after)?;
        Ok(settings)
    }
}

/// Reads `KIND=TIME`.
fn parse_after(text: &str) -> Result<(BlockReason, Option<u64>), String> {
    let (kind, time) = text
        .split_once('=')
        .ok_or("write KIND=TIME, such as deadlock=10s")?;
    let reason = BlockReason::from_name(kind).ok_or_else(|| {
        let known: Vec<&str> = BlockReason::ALL.iter().map(|it| it.name()).collect();
        format!(
            "`{kind}` is no kind of hang; there are {}",
            known.join(", ")
        )
    })?;
    if time == "never" {
        return Ok((reason, None));
    }
    let time: TimeSpan = time
        .parse()
        .map_err(|error| format!("`{time}` is no time: {error}"))?;
    Ok((reason, Some(time.as_millis())))
}

/// Most stacks that are told beside the line.
const STACKS_MAX: usize = 4;

/// Where its threads are, as far as that fits beside the line.
pub(crate) fn stacks(evidence: &[String]) -> impl Iterator<Item = &str> {
    let facts = evidence.iter().map(String::as_str);
    facts.filter(|fact| is_stack(fact)).take(STACKS_MAX)
}

/// Whether a fact is where a thread is, which fills a line of its own.
pub(crate) fn is_stack(fact: &str) -> bool {
    fact.starts_with(cogo_sandbox::stacks::LINE)
}

/// A block in one line: why, since when, and the most telling facts.
pub(crate) fn line(reason: BlockReason, duration: Duration, evidence: &[String]) -> String {
    let facts = evidence
        .iter()
        .map(String::as_str)
        .filter(|fact| !is_stack(fact))
        .take(2)
        .collect::<Vec<_>>()
        .join("; ");
    let reason = reason.describe();
    if duration.is_zero() {
        format!("{reason}: {facts}")
    } else {
        format!("{reason} for {}: {facts}", measure::time(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_kind() {
        let deadlock = (BlockReason::Deadlock, Some(10_000));
        assert_eq!(parse_after("deadlock=10s"), Ok(deadlock));
        let input = (BlockReason::WaitingForInput, None);
        assert_eq!(parse_after("waiting_for_input=never"), Ok(input));
        for wrong in ["deadlock", "boredom=1s", "deadlock=soon"] {
            assert!(parse_after(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_names_reason_time_and_facts() {
        let evidence = ["it reads".to_owned(), "nobody types".to_owned()];
        assert_eq!(
            line(
                BlockReason::WaitingForInput,
                Duration::from_millis(2100),
                &evidence
            ),
            "waiting for input for 2.10 s: it reads; nobody types"
        );
    }
}
