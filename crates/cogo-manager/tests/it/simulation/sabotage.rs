//! Ways to break the coordinator from outside, to see that the simulation notices.

use cogo_manager::coordinator::{Effect, Input, Restored};
use cogo_protocol::message::{FromWorker, ToWorker};
use cogo_protocol::task::{Fence, TaskState};

use super::store::Records;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// Fences of what workers say are not looked at.
    BelieveEveryone,
    /// Effects do not wait for the store.
    ActBeforeStored,
    /// Nobody looks at the clock.
    NoTicks,
    /// Fences start anew with each manager.
    ForgetFences,
    /// More slots are taken for granted than there are.
    Oversubscribe,
    /// Everyone is as urgent as can be.
    NoPriorities,
    /// Commands are sent under the wrong fence.
    OldFence,
    /// A repeated submission is taken for a new one.
    NoLook,
    /// What workers say comes twice, the second time as another's.
    SwapWorkers,
}

pub(super) const ALL: [Sabotage; 9] = [
    Sabotage::BelieveEveryone,
    Sabotage::ActBeforeStored,
    Sabotage::NoTicks,
    Sabotage::ForgetFences,
    Sabotage::Oversubscribe,
    Sabotage::NoPriorities,
    Sabotage::OldFence,
    Sabotage::NoLook,
    Sabotage::SwapWorkers,
];

impl Sabotage {
    pub(super) fn restored(self, restored: &mut Restored) {
        if self == Self::ForgetFences {
            for attempt in restored
                .tasks
                .iter_mut()
                .flat_map(|task| &mut task.attempts)
            {
                attempt.fence = Fence(attempt.fence.0.min(1));
            }
        }
    }

    pub(super) fn input(self, input: &mut Input, ordered: &Records) {
        match (self, input) {
            (Self::BelieveEveryone, Input::WorkerSaid(_, message)) => {
                if let FromWorker::TaskComplete(complete) = message.as_mut()
                    && let Some(task) = ordered.tasks.get(&complete.task_id)
                {
                    complete.fence = task.attempts.last().map(|attempt| attempt.fence);
                }
            }
            (Self::Oversubscribe, Input::WorkerConnected { welcome, .. }) => {
                welcome.capabilities.slots += 1;
            }
            (Self::SwapWorkers, Input::WorkerSaid(_, message)) => {
                if let FromWorker::TaskComplete(complete) = message.as_mut()
                    && let Some(other) = (ordered.tasks.values())
                        .filter(|task| task.state == TaskState::Running)
                        .find_map(|task| Some((task.id.clone(), task.attempts.last()?)))
                {
                    complete.task_id = other.0;
                    complete.fence = Some(other.1.fence);
                }
            }
            _ => (),
        }
    }

    pub(super) fn effect(self, effect: &mut Effect) {
        if self == Self::OldFence
            && let Effect::Send(_, message) = effect
            && let ToWorker::ExecuteCommand(execute) = message.as_mut()
        {
            execute.fence = Some(Fence(1));
        }
    }
}
