//! What is to be tried when the task fails.

use clap::Args;
use cogo_protocol::recovery::{AlternativeCommand, RecoveryRequest, Strategy};
use cogo_protocol::units::TimeSpan;

/// What is to be tried when the task fails; any of these options asks for recovery.
#[derive(Args, Debug)]
pub(crate) struct RecoveryOptions {
    /// When it fails by a cause that something can be done about, do that and try again; limits
    /// such as --memory are then where it begins
    #[arg(long, help_heading = "Recovery")]
    recover: bool,
    /// What to answer when it waits for input [default: the end of its input]
    #[arg(long, value_name = "TEXT", help_heading = "Recovery")]
    answer: Option<String>,
    /// Line for the shell to run instead when nothing else helps
    #[arg(long, value_name = "COMMAND", help_heading = "Recovery")]
    alternative: Option<String>,
    /// How often to repeat it after a plain failure, such as a non-zero exit code [default: 0]
    #[arg(long, value_name = "COUNT", help_heading = "Recovery")]
    retry: Option<u32>,
    /// Only these, by commas: retry, input, more-memory, less-parallelism, clean-workspace,
    /// clear-caches, restart-worker, other-worker, alternative
    #[arg(long, value_name = "STRATEGIES", value_delimiter = ',', value_parser = parse_strategy,
          help_heading = "Recovery")]
    recover_by: Option<Vec<Strategy>>,
    /// Attempts made by recovery at most [default: 6]
    #[arg(long, value_name = "COUNT", help_heading = "Recovery")]
    recover_attempts: Option<u32>,
    /// Time from its first start after which nothing more is tried [default: 1h]
    #[arg(long, value_name = "TIME", help_heading = "Recovery")]
    recover_time: Option<TimeSpan>,
}

impl RecoveryOptions {
    /// The wish that these options stand for, if there is one.
    pub(super) fn request(&self) -> Option<RecoveryRequest> {
        let asked = self.recover
            || self.answer.is_some()
            || self.alternative.is_some()
            || self.retry.is_some()
            || self.recover_by.is_some()
            || self.recover_attempts.is_some()
            || self.recover_time.is_some();
        asked.then(|| RecoveryRequest {
            enabled: true,
            attempts_max: self.recover_attempts,
            time_max: self.recover_time.map(TimeSpan::as_millis),
            answer: self.answer.clone(),
            alternative: self.alternative.clone().map(AlternativeCommand::Line),
            strategies: self.recover_by.clone(),
            failure_retries: self.retry.unwrap_or(0),
        })
    }
}

fn parse_strategy(text: &str) -> Result<Strategy, String> {
    let name = text.trim().replace('-', "_");
    let found = Strategy::ALL.into_iter().find(|it| it.name() == name);
    found.ok_or_else(|| {
        let names = Strategy::ALL.map(Strategy::name).join(", ");
        format!("it is none of {names}")
    })
}
