//! The actor that owns the coordinator.
//!
//! Inputs come through one bounded inbox and are handled one at a time. What a step changes goes
//! to the store at once; what it wants done waits in a queue until its changes are durable, and
//! is done in the order of the steps. Many steps may be on their way to the disk together.
//!
//! ```text
//! inbox ─▶ owner: handle ─▶ store.commit ┄┄ durable ┄┄┐
//!                   └─────▶ queue of steps ─▶ performer: effects
//! ```
//!
//! When the store fails, memory is ahead of the disk. The manager then stops with the error, and
//! starts anew from what is stored. There is no other way back.

mod connections;
mod events;
mod local_workers;
mod performer;
mod task_watches;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cogo_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::coordinator::{Answer, ClientRequest, Coordinator, Input, ReplyId, Step};

pub(crate) use connections::{Connections, Mailbox, Order};
pub(crate) use events::Events;
pub use local_workers::{LocalWorkers, NoLocalWorkers, Report};
pub(crate) use performer::World;
pub(crate) use task_watches::{TaskWatch, TaskWatches};

/// Inputs that may wait. Whoever brings one more waits with it.
const INBOX_LEN: usize = 4096;
/// Steps that may be on their way to the disk. The owner waits when there are more.
const STEPS_IN_FLIGHT_MAX: usize = 1024;

/// The manager does not answer any more: it stops, or has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manager is stopping")]
pub struct Stopped;

/// Brings inputs to the coordinator. Clones bring them to the same one.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inbox: mpsc::Sender<Input>,
    replies: Replies,
    next_reply: AtomicU64,
}

/// Who waits for which answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies(Arc<Mutex<HashMap<ReplyId, oneshot::Sender<Answer>>>>);

impl Replies {
    fn expect(&self, id: ReplyId) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id, sender);
        receiver
    }

    /// Hands an answer over. Whoever asked may be gone.
    pub(crate) fn answer(&self, id: ReplyId, answer: Answer) {
        let sender = self.lock().remove(&id);
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    fn forget(&self, id: ReplyId) {
        self.lock().remove(&id);
    }

    /// From now on nobody is answered.
    fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ReplyId, oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Asks the coordinator. The answer comes when what it tells of is durable. A caller that
    /// stops waiting takes nothing back.
    ///
    /// # Errors
    ///
    /// Fails when the manager stops first.
    pub async fn ask(&self, request: ClientRequest) -> Result<Answer, Stopped> {
        let id = ReplyId(self.0.next_reply.fetch_add(1, Ordering::Relaxed));
        let answer = self.0.replies.expect(id);
        if self
            .0
            .inbox
            .send(Input::Request(id, request))
            .await
            .is_err()
        {
            self.0.replies.forget(id);
            return Err(Stopped);
        }
        answer.await.map_err(|_| Stopped)
    }

    /// Tells the coordinator what happened. Waits while the inbox is full.
    ///
    /// # Errors
    ///
    /// Fails when the manager has stopped.
    pub async fn tell(&self, input: Input) -> Result<(), Stopped> {
        self.0.inbox.send(input).await.map_err(|_| Stopped)
    }

    /// As [`Self::tell`], from a thread that may block.
    ///
    /// # Errors
    ///
    /// Fails when the manager has stopped.
    pub fn tell_blocking(&self, input: Input) -> Result<(), Stopped> {
        self.0.inbox.blocking_send(input).map_err(|_| Stopped)
    }
}

/// The inbox before there is an owner, so that effects can already lead back to it.
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Input>,
    replies: Replies,
}

/// Makes an empty inbox and the way to it.
pub(crate) fn inbox() -> (Handle, Inbox) {
    let (sender, receiver) = mpsc::channel(INBOX_LEN);
    let replies = Replies::default();
    let handle = Handle(Arc::new(Shared {
        inbox: sender,
        replies: replies.clone(),
        next_reply: AtomicU64::new(1),
    }));
    (handle, Inbox { receiver, replies })
}

/// Owns the coordinator.
pub(crate) struct Owner {
    coordinator: Coordinator,
    inbox: Inbox,
    store: Arc<dyn Store>,
    clock: Clock,
    steps: mpsc::Sender<performer::Pending>,
    wake_at: Option<Instant>,
}

/// What the owner found on its way round.
enum Event {
    Input(Input),
    Due,
    Stop,
}

impl Owner {
    /// Handles inputs until it is told to stop, then waits for what is on its way to the disk.
    ///
    /// # Errors
    ///
    /// Fails when the store does.
    pub(crate) async fn run(
        coordinator: Coordinator,
        first: Step,
        inbox: Inbox,
        world: World,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let (steps, queue) = mpsc::channel(STEPS_IN_FLIGHT_MAX);
        let replies = inbox.replies.clone();
        let failed = CancellationToken::new();
        let mut owner = Self {
            coordinator,
            inbox,
            store: Arc::clone(&world.store),
            clock,
            steps,
            wake_at: None,
        };
        let performing = tokio::spawn(performer::perform(
            world,
            replies.clone(),
            queue,
            failed.clone(),
        ));
        owner.follow(first).await;
        owner.serve(&stop, &failed).await;
        drop(owner);
        let result = performing.await;
        replies.close();
        result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn serve(&mut self, stop: &CancellationToken, failed: &CancellationToken) {
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => Event::Stop,
                () = failed.cancelled() => Event::Stop,
                () = sleep_until(self.wake_at) => Event::Due,
                input = self.inbox.receiver.recv() => input.map_or(Event::Stop, Event::Input),
            };
            let input = match event {
                Event::Input(input) => input,
                Event::Due => Input::Tick,
                Event::Stop => return,
            };
            let next = self.coordinator.handle(input, self.clock.now());
            self.follow(next).await;
        }
    }

    /// Sends a step on its way.
    async fn follow(&mut self, step: Step) {
        self.wake_at = step
            .wake_in
            .and_then(|wait| Instant::now().checked_add(wait));
        if step.changes.is_empty() && step.effects.is_empty() {
            return;
        }
        let durable = (!step.changes.is_empty()).then(|| {
            let (done, durable) = oneshot::channel();
            let done = Box::new(move |result| drop(done.send(result)));
            self.store.commit(step.changes, done);
            durable
        });
        // A performer that is gone has failed, and the loop is told so.
        let _ = self
            .steps
            .send(performer::Pending {
                durable,
                effects: step.effects,
            })
            .await;
    }
}

/// The longest time that is slept at once; nothing depends on it.
const FOR_EVER: Duration = Duration::from_hours(24);

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => tokio::time::sleep(FOR_EVER).await,
    }
}
