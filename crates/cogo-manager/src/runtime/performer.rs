//! Does what steps ask for, each when its changes are durable, in their order.

use std::sync::Arc;

use cogo_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Connections, Events, Handle, LocalWorkers, Order, Replies, Report, TaskWatches};
use crate::coordinator::Effect;

/// A step that may not be durable yet.
pub(super) struct Pending {
    /// Comes when it is; `None` if there is nothing to store.
    pub(super) durable: Option<oneshot::Receiver<Result<(), StoreError>>>,
    pub(super) effects: Vec<Effect>,
}

/// What effects act on.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) events: Arc<Events>,
    pub(crate) watches: Arc<TaskWatches>,
    pub(crate) local_workers: Arc<dyn LocalWorkers>,
}

/// Performs until the owner is gone and everything is done, or until a change cannot be stored.
pub(super) async fn perform(
    world: World,
    replies: Replies,
    mut pending: mpsc::Receiver<Pending>,
    failed: CancellationToken,
) -> Result<(), StoreError> {
    while let Some(step) = pending.recv().await {
        if let Some(durable) = step.durable {
            // A store that drops its promise has failed.
            let result = durable.await.unwrap_or(Err(StoreError::Poisoned));
            if let Err(failure) = result {
                error!(%failure, "the store failed; the manager stops");
                failed.cancel();
                return Err(failure);
            }
        }
        for effect in step.effects {
            perform_one(&world, &replies, effect);
        }
    }
    Ok(())
}

fn perform_one(world: &World, replies: &Replies, effect: Effect) {
    match effect {
        Effect::Reply(id, answer) => replies.answer(id, answer),
        Effect::Send(connection, message) => {
            world.connections.order(connection, Order::Send(message));
        }
        Effect::Relay(connection, order) => {
            world.connections.order(connection, Order::Relay(order));
        }
        Effect::Close(connection, why) => world.connections.order(connection, Order::Close(why)),
        Effect::Publish(event) => {
            if let Some(task_id) = &event.task_id {
                world.watches.changed(task_id);
            }
            world.events.publish(*event);
        }
        Effect::WorkerStart { worker_id, request } => {
            info!(%worker_id, "starting a local worker");
            let report = Report::new(world.handle.clone(), worker_id.clone());
            world.local_workers.start(worker_id, request, report);
        }
        Effect::WorkerStop { worker_id, force } => {
            info!(%worker_id, force, "stopping a local worker");
            world.local_workers.stop(&worker_id, force);
        }
    }
}
