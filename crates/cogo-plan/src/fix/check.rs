//! Runs the command in the copy and reads what it says.

use std::path::Path;
use std::time::{Duration, Instant};

use cogo_protocol::task::Priority;
use cogo_protocol::verdict::Outcome;

use super::FixError;
use super::command::Command;
use super::findings::Findings;
use super::tree::Tree;
use crate::diagnostic::Parser;
use crate::dispatch::{Cancel, Dispatch, Progress, Work};
use crate::document::StepNetwork;
use crate::route::Route;

/// Output behind this is not looked at for repairs.
const OUTPUT_MAX: usize = 32 << 20;

/// Runs things in the copy, as long as there is time.
pub(super) struct Checker<'a> {
    pub(super) command: &'a Command,
    pub(super) dispatch: &'a dyn Dispatch,
    pub(super) cancel: &'a Cancel,
    pub(super) deadline: Instant,
    /// Names runs apart.
    pub(super) count: u32,
}

impl Checker<'_> {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// When it cannot be started, its end is not known, or it was cancelled.
    pub(super) fn check(&mut self, tree: &Tree) -> Result<Findings, FixError> {
        let argv = self.command.spoken();
        let network = self.command.network.clone();
        let mut parser = Parser::new(Some(&self.command.argv.join(" ")));
        let mut found = Vec::new();
        let mut output = Vec::new();
        let outcome = self.run(tree, argv, network, &mut |progress| {
            if let Progress::Output(stream, bytes) = progress {
                found.extend(parser.feed(stream, bytes));
                keep(&mut output, bytes);
            }
        })?;
        found.extend(parser.finish());
        let output = String::from_utf8_lossy(&output).into_owned();
        Ok(Findings::new(
            tree,
            &self.command.cwd,
            outcome,
            found,
            output,
        ))
    }

    /// Runs something else there, and returns what it wrote.
    pub(super) fn run_other(
        &mut self,
        tree: &Tree,
        argv: Vec<String>,
        network: StepNetwork,
    ) -> Result<(Outcome, String), FixError> {
        let mut output = Vec::new();
        let outcome = self.run(tree, argv, network, &mut |progress| {
            if let Progress::Output(_, bytes) = progress {
                keep(&mut output, bytes);
            }
        })?;
        Ok((outcome, String::from_utf8_lossy(&output).into_owned()))
    }

    fn run(
        &mut self,
        tree: &Tree,
        argv: Vec<String>,
        network: StepNetwork,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Outcome, FixError> {
        if self.cancel.is_asked() {
            return Err(FixError::Cancelled);
        }
        self.count += 1;
        let work = Work {
            key: format!("fix-{}", self.count),
            argv,
            env: self.command.variables(),
            cwd: tree.root().join(normal_cwd(&self.command.cwd)),
            route: Route::Sandbox,
            limits: self.command.limits.clone(),
            network,
            priority: Priority::default(),
            timeout: Some(self.timeout()),
            handle: None,
        };
        let outcome = self.dispatch.run(&work, tell, self.cancel);
        if self.cancel.is_asked() {
            return Err(FixError::Cancelled);
        }
        Ok(outcome?)
    }

    /// What is left of the time, but for the last run to have a chance to end.
    fn timeout(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_secs(1));
        self.command
            .timeout
            .map_or(left, |timeout| timeout.min(left))
    }
}

fn keep(output: &mut Vec<u8>, bytes: &[u8]) {
    let room = OUTPUT_MAX.saturating_sub(output.len());
    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn normal_cwd(cwd: &Path) -> &Path {
    cwd.strip_prefix("./").unwrap_or(cwd)
}
