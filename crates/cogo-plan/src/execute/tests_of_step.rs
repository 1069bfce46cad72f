//! Steps of type `test`: those of their tests that fail are run again.

use std::sync::mpsc::SyncSender;
use std::time::{SystemTime, UNIX_EPOCH};

use cogo_protocol::verdict::Outcome;

use super::{Message, Shared};
use crate::dispatch::{Dispatch, DispatchError, Progress as Telling, Work};
use crate::document::{Step, StepType};
use crate::test_recovery::{
    History, Quarantine, RecoverySettings, TestCommand, TestEvent, Why, recover,
};

/// Repeats of failed tests, where a step does not say how many.
const RERUNS: u32 = 2;

/// Tests that are run alone at most after a run that did not end by itself.
const ALONE_MAX: usize = 100;

/// The list of tests that are excused, if the workspace has one.
const QUARANTINE: &str = "cogo-quarantine.toml";

/// Whether failed tests of a step are run again: its command is of a known runner.
pub(super) fn is_recovered(step: &Step, work: &Work) -> bool {
    step.kind == StepType::Test
        && step.reruns != Some(0)
        && TestCommand::recognize(&work.argv, &work.cwd).is_some()
}

impl<D: Dispatch> Shared<'_, D> {
    /// Runs a step's tests, tells what came of them, and remembers it.
    pub(super) fn run_tests(
        &self,
        node: usize,
        work: &Work,
        tell: &mut dyn FnMut(Telling<'_>),
        sender: &SyncSender<Message>,
    ) -> Result<Outcome, DispatchError> {
        let failed = |error: &dyn std::error::Error| DispatchError {
            message: error.to_string(),
            hint: None,
        };
        let list = self.settings.workspace.join(QUARANTINE);
        let quarantine = if list.exists() {
            Quarantine::read(&list).map_err(|error| failed(&error))?
        } else {
            Quarantine::default()
        };
        let mut history = match &self.settings.test_history {
            Some(file) => History::open(file).map_err(|error| failed(&error))?,
            None => History::default(),
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let settings = RecoverySettings {
            reruns: self.graph.step(node).reruns.unwrap_or(RERUNS),
            alone_max: ALONE_MAX,
            // A plan says what its steps may use; more is not taken.
            memory_max: work.limits.memory,
            reports: Vec::new(),
            workspace: self.settings.workspace.clone(),
            now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        };
        let tell = std::cell::RefCell::new(tell);
        let report = recover(
            self.dispatch,
            work,
            (&settings, &history, &quarantine),
            self.cancel,
            &mut |handle| (tell.borrow_mut())(Telling::Handle(handle)),
            &mut |event| {
                if let TestEvent::TestOutput { why, stream, bytes } = event
                    && *why != Why::List
                {
                    (tell.borrow_mut())(Telling::Output(*stream, bytes));
                }
            },
        );
        // What is not remembered is only missed in a later judgement.
        let _ = history.add(&report.known(settings.now_ms));
        let end = report.end();
        let _ = sender.send(Message::Tests(node, Box::new(report)));
        end
    }
}
