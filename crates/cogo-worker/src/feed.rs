//! Sends one task's start, output and end to one connection.

use std::sync::Arc;

use cogo_protocol::block::BlockPolicy;
use cogo_protocol::message::{FromWorker, TaskError, error_code};
use cogo_protocol::worker::WorkerId;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

use crate::block::Block;
use crate::refusal::{Refusal, chain};
use crate::replay::{Form, Replay, Source, text};
use crate::task::{Begun, End, Progress, Task, refused};

/// What a connection wants to hear of a task.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) task: Arc<Task>,
    pub(crate) from_seq: u64,
    pub(crate) form: Form,
    pub(crate) worker_id: WorkerId,
    /// Holds a few messages. While it is full the feed waits, and reads nothing.
    pub(crate) out: mpsc::Sender<Message>,
}

/// The connection is gone.
struct Gone;

impl Feed {
    /// Feeds until the task has ended and all is told, or the connection is gone.
    pub(crate) async fn run(self) {
        // Nobody is left to be told of it.
        let _: Result<(), Gone> = self.feed().await;
    }

    async fn feed(&self) -> Result<(), Gone> {
        let mut progress = self.task.progress.clone();
        let begun = self.wait_for_start(&mut progress).await;
        if let Some(begun) = begun {
            let handle = self.handle();
            self.send(text(&self.task.started(begun, handle, &self.worker_id)))
                .await?;
        }
        let end = self.send_output(begun, &mut progress).await?;
        let ended = match end {
            Some(end) => self.task.ended(&end, &self.worker_id),
            None => FromWorker::TaskError(self.error(&Refusal::new(
                error_code::OUTCOME_UNKNOWN,
                "the worker lost track of the task",
            ))),
        };
        self.send(text(&ended)).await
    }

    fn handle(&self) -> Option<u32> {
        match self.form {
            Form::Json => None,
            Form::Binary { handle } => Some(handle),
        }
    }

    async fn wait_for_start(&self, progress: &mut watch::Receiver<Progress>) -> Option<Begun> {
        let started = progress
            .wait_for(|progress| progress.begun.is_some() || progress.end().is_some())
            .await;
        started.ok().and_then(|progress| progress.begun)
    }

    /// Sends all output, and gives the task's end; `None` if nobody knows of it any more.
    async fn send_output(
        &self,
        begun: Option<Begun>,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<Option<Arc<End>>, Gone> {
        let source = Source {
            task_id: self.task.record.task_id.clone(),
            worker_id: self.worker_id.clone(),
            log_dir: self.task.exec.log_dir(),
            started_at_ms: begun.map_or(0, |begun| begun.at_ms),
        };
        let mut replay = Some(Replay::new(source, self.form, self.from_seq));
        let mut looks = 0;
        let mut blocks = self.blocks_before(progress).await?;
        loop {
            // The order matters: what had ended before the log was read to its end has nothing
            // more to tell.
            let now = progress.borrow_and_update().clone();
            for sighting in now.blocks.since(blocks) {
                self.send_block(&sighting.block).await?;
            }
            blocks = now.blocks.count();
            if let Some(reading) = replay.take() {
                let due =
                    now.log_end > reading.position() || now.end().is_some() || now.looks != looks;
                looks = now.looks;
                replay = if due {
                    self.catch_up(reading).await?
                } else {
                    Some(reading)
                };
            }
            if let Some(end) = now.end() {
                if let Some(reading) = replay.take() {
                    self.finish(reading, now.log_end).await?;
                }
                return Ok(Some(Arc::clone(end)));
            }
            tokio::select! {
                changed = progress.changed() => if changed.is_err() {
                    return Ok(progress.borrow().end().cloned());
                },
                () = self.out.closed() => return Err(Gone),
            }
        }
    }

    /// Tells the block that holds already, and how many have been found so far.
    async fn blocks_before(&self, progress: &watch::Receiver<Progress>) -> Result<usize, Gone> {
        let now = progress.borrow().clone();
        if now.blocked().is_some()
            && let Some(sighting) = &now.blocks.standing
        {
            self.send_block(&sighting.now()).await?;
        }
        Ok(now.blocks.count())
    }

    async fn send_block(&self, block: &Block) -> Result<(), Gone> {
        if self.task.record.block.policy == BlockPolicy::Observe {
            return Ok(());
        }
        let message = self.task.blocked(block, &self.worker_id);
        self.send(text(&message)).await
    }

    /// Sends what there is in the log. `None` if it cannot be read, which the client is told.
    async fn catch_up(&self, mut replay: Replay) -> Result<Option<Replay>, Gone> {
        loop {
            // Nothing is read before there is room for it, and whoever waits holds no memory.
            if self.out.capacity() == 0 {
                replay.rest();
                drop(self.out.reserve().await.map_err(|_| Gone)?);
            }
            let reading = tokio::task::spawn_blocking(move || {
                let batch = replay.read();
                (replay, batch)
            });
            let Ok((returned, batch)) = reading.await else {
                return Err(Gone);
            };
            replay = returned;
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    let refusal = Refusal::new(error_code::LOG_UNREADABLE, chain(&error));
                    self.send(text(&FromWorker::TaskError(self.error(&refusal))))
                        .await?;
                    return Ok(None);
                }
            };
            for message in batch.messages {
                self.send(message).await?;
            }
            if batch.caught_up {
                replay.rest();
                return Ok(Some(replay));
            }
        }
    }

    async fn finish(&self, mut replay: Replay, log_end: u64) -> Result<(), Gone> {
        let position = replay.position();
        for message in replay.finish(log_end) {
            self.send(message).await?;
        }
        if position < log_end {
            let fact = format!("output is missing: the log ends at {position} of {log_end}");
            let refusal = Refusal::new(error_code::LOG_UNREADABLE, fact);
            self.send(text(&FromWorker::TaskError(self.error(&refusal))))
                .await?;
        }
        Ok(())
    }

    fn error(&self, refusal: &Refusal) -> TaskError {
        refused(Some(&self.task.record), refusal, &self.worker_id)
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        self.out.send(message).await.map_err(|_| Gone)
    }
}
