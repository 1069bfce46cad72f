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

/// Whether a log can be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Readable,
    /// The client was told.
    Unreadable,
}

fn has_output(progress: &Progress) -> bool {
    progress.log_end > 0
}

impl Feed {
    /// Feeds until the task has ended and all is told, or the connection is gone.
    pub(crate) async fn run(self) {
        // Nobody is left to be told of it.
        let _: Result<(), Gone> = self.feed().await;
    }

    async fn feed(&self) -> Result<(), Gone> {
        let mut progress = self.task.progress.clone();
        let begun = self.wait_for_start(&mut progress).await;
        // Output always follows a start, also where nobody saw that.
        let begun = begun.or_else(|| has_output(&progress.borrow()).then(|| self.unseen_start()));
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

    fn unseen_start(&self) -> Begun {
        Begun {
            at_ms: self.task.record.exec_id.created_at_ms(),
            pid: None,
        }
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
            fence: self.task.record.fence,
            log_dir: self.task.exec.log_dir(),
            started_at_ms: begun.map_or(0, |begun| begun.at_ms),
        };
        let mut replay = Replay::new(source, self.form, self.from_seq);
        let mut log = Log::Readable;
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
            // A verdict says where the log ends, so that nothing is looked for behind it.
            let unsure = match now.end().map(AsRef::as_ref) {
                None => now.looks != looks,
                Some(End::Refused(_)) => true,
                Some(End::Verdict(_)) => false,
            };
            let due = now.log_end > replay.position() || unsure;
            looks = now.looks;
            if due && log == Log::Readable {
                (replay, log) = self.catch_up(replay).await?;
            }
            if let Some(end) = now.end() {
                self.finish(replay, log, now.log_end).await?;
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

    /// Sends what there is in the log. If it cannot be read, the client is told.
    async fn catch_up(&self, mut replay: Replay) -> Result<(Replay, Log), Gone> {
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
                    return Ok((replay, Log::Unreadable));
                }
            };
            for message in batch.messages {
                self.send(message).await?;
            }
            if batch.caught_up {
                replay.rest();
                return Ok((replay, Log::Readable));
            }
        }
    }

    /// Tells what is left when the log has ended, and what of it there is not.
    async fn finish(&self, mut replay: Replay, log: Log, log_end: u64) -> Result<(), Gone> {
        let position = replay.position();
        for message in replay.finish(log_end) {
            self.send(message).await?;
        }
        let Some(missing) = replay.missing(log_end) else {
            return Ok(());
        };
        if log == Log::Readable {
            let fact = format!("output is missing: the log ends at {position} of {log_end}");
            let refusal = Refusal::new(error_code::LOG_UNREADABLE, fact);
            self.send(text(&FromWorker::TaskError(self.error(&refusal))))
                .await?;
        }
        self.send(missing).await
    }

    fn error(&self, refusal: &Refusal) -> TaskError {
        refused(Some(&self.task.record), refusal, &self.worker_id)
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        self.out.send(message).await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cogo_protocol::id::ExecId;
    use cogo_protocol::task::Fence;
    use cogo_sandbox::exec_dir::ExecDir;
    use cogo_sandbox::log::{LogOptions, LogWriter, Stream};
    use cogo_sandbox::verdict::{Outcome, Usage, Verdict};

    use super::*;
    use crate::block::{BlockSettings, Blocks};
    use crate::task::Phase;
    use crate::task_record::{InputRecord, PhaseRecord, TaskRecord};

    /// What a connection hears of an exec that ended unseen, with three records in its log.
    fn told(log_end: u64) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        let exec = ExecDir::at(place.path().to_owned());
        let mut log = LogWriter::create(&exec.log_dir(), LogOptions::default()).unwrap();
        for _ in 0..3 {
            log.append(Stream::Stdout, Duration::ZERO, b"x").unwrap();
        }
        let verdict = Verdict {
            outcome: Outcome::Exited { code: 0 },
            incidents: Vec::new(),
            usage: Usage::default(),
            survivors: 0,
            log_end,
            ended_at_ms: 1,
        };
        let (_sender, progress) = watch::channel(Progress {
            phase: Phase::Ended(Arc::new(End::Verdict(Box::new(verdict)))),
            begun: None,
            log_end,
            looks: 0,
            input_ended: false,
            blocks: Blocks::default(),
        });
        let (out, mut messages) = mpsc::channel(64);
        let feed = Feed {
            task: Arc::new(Task {
                record: TaskRecord {
                    task_id: "t".parse().unwrap(),
                    attempt: Some(1),
                    fence: Some(Fence(1)),
                    exec_id: ExecId::from_parts(1, &[0; 10]),
                    workspace: None,
                    input: InputRecord::Closed,
                    pty: false,
                    block: BlockSettings::default(),
                    phase: PhaseRecord::Started,
                },
                exec,
                progress,
            }),
            from_seq: 0,
            form: Form::Binary { handle: 1 },
            worker_id: "w".parse().unwrap(),
            out,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(feed.run());
        let mut told = Vec::new();
        while let Ok(message) = messages.try_recv() {
            told.push(match message {
                Message::Text(text) => {
                    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                    message["type"].as_str().unwrap().to_owned()
                }
                other => format!("{} bytes", other.len()),
            });
        }
        told
    }

    #[test]
    fn output_follows_a_start_that_nobody_saw() {
        let frame = format!("{} bytes", cogo_protocol::frame::HEADER_LEN + 3);
        assert_eq!(told(3), ["execution_started", &frame, "task_complete"]);
    }

    #[test]
    fn output_that_is_gone_is_told_before_the_end() {
        let frame = format!("{} bytes", cogo_protocol::frame::HEADER_LEN + 3);
        let expected = [
            "execution_started",
            &frame,
            "task_error",
            "output_cut",
            "task_complete",
        ];
        assert_eq!(told(5), expected);
    }
}
