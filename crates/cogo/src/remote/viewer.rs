//! Follows a task of a server over a WebSocket, and comes back when the connection breaks.

use std::time::Duration;

use cogo_protocol::frame::OutputHeader;
use cogo_protocol::message::{FromWorker, SUBPROTOCOL_BINARY, SendInput, TerminateTask, ToWorker};
use cogo_protocol::record::{Chunk, Stream};
use cogo_protocol::task::{TaskId, TaskStatus};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::blocks;
use crate::client::{Client, encoded};
use crate::failure::{Failure, note};

/// How long a server may be gone before a viewer gives up.
const GONE_MAX: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_millis(250);
/// Pieces of input that may wait to be sent.
const INPUT_LEN: usize = 4;

/// What Ctrl-C does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Ends the task; once more, leaves it.
    Cancel,
    /// Leaves it.
    Leave,
}

/// How a view ended.
pub(crate) enum Ending {
    /// The task is over.
    Over(Box<TaskStatus>),
    /// The user has left it.
    Left,
    /// Nobody reads our output any more.
    OutputClosed,
}

/// What of a task's output is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// All of it.
    All,
    /// One stream alone.
    One(Stream),
    /// Nothing, in no attempt: only the end is of interest.
    Nothing,
}

impl Shows {
    fn has(self, stream: Stream) -> bool {
        match self {
            Self::All => true,
            Self::One(only) => only == stream,
            Self::Nothing => false,
        }
    }
}

/// A look at a task.
pub(crate) struct TaskView<'a> {
    pub(crate) client: &'a Client,
    pub(crate) task_id: TaskId,
    pub(crate) from_seq: u64,
    pub(crate) keys: Keys,
    /// What of its output is shown.
    pub(crate) shows: Shows,
    /// Forward our standard input.
    pub(crate) input: bool,
}

/// Where a view is, for when it has to come back.
struct Place {
    attempt: Option<u32>,
    next_seq: u64,
}

/// What a message was about.
enum Heard {
    /// The task is over.
    Over,
    /// Another attempt runs.
    NextAttempt,
    /// Something else.
    Other,
}

/// Why one connection is over.
enum Over {
    Task,
    Left,
    OutputClosed,
    Broken,
}

impl TaskView<'_> {
    /// Shows output until the task is over or the user leaves.
    pub(crate) async fn run(self) -> Result<Ending, Failure> {
        let mut place = Place {
            attempt: None,
            next_seq: self.from_seq,
        };
        let mut input = self.input.then(read_input);
        let mut interrupts = 0;
        let mut seen_at = Instant::now();
        loop {
            match self.connect(&place).await {
                Ok(mut socket) => {
                    let over = self
                        .watch(&mut socket, &mut place, &mut input, &mut interrupts)
                        .await?;
                    match over {
                        Over::Task => return self.ended().await,
                        Over::Left => return Ok(Ending::Left),
                        Over::OutputClosed => return Ok(Ending::OutputClosed),
                        Over::Broken => note("the connection broke; coming back"),
                    }
                    seen_at = Instant::now();
                }
                Err(failure) if seen_at.elapsed() > GONE_MAX || place.is_new(&self) => {
                    return Err(failure);
                }
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Ending::Left),
            }
        }
    }

    async fn connect(
        &self,
        place: &Place,
    ) -> Result<tokio_tungstenite::WebSocketStream<crate::client::Wire>, Failure> {
        let attempt = place
            .attempt
            .map_or_else(String::new, |attempt| format!("&attempt={attempt}"));
        let path = format!(
            "/tasks/{}/stream?fromSeq={}{attempt}",
            encoded(self.task_id.as_str()),
            place.next_seq
        );
        self.client.web_socket(&path, SUBPROTOCOL_BINARY).await
    }

    async fn ended(&self) -> Result<Ending, Failure> {
        let path = format!("/tasks/{}", encoded(self.task_id.as_str()));
        let task: TaskStatus = self.client.get(&path).await?;
        Ok(Ending::Over(Box::new(task)))
    }

    async fn watch(
        &self,
        socket: &mut tokio_tungstenite::WebSocketStream<crate::client::Wire>,
        place: &mut Place,
        input: &mut Option<mpsc::Receiver<Vec<u8>>>,
        interrupts: &mut u32,
    ) -> Result<Over, Failure> {
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(frame))) => {
                        if !self.show(&frame, place)? {
                            return Ok(Over::OutputClosed);
                        }
                    }
                    Some(Ok(Message::Text(text))) => {
                        match Self::hear(&text, place) {
                            Heard::Over => return Ok(Over::Task),
                            Heard::NextAttempt => self.tell_why_again().await,
                            Heard::Other => {}
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Ok(Over::Broken),
                },
                _ = tokio::signal::ctrl_c() => {
                    *interrupts += 1;
                    if self.keys == Keys::Leave || *interrupts > 1 {
                        return Ok(Over::Left);
                    }
                    note("ending the task; Ctrl-C again leaves it");
                    let message = ToWorker::TerminateTask(TerminateTask {
                        task_id: self.task_id.clone(),
                        grace_ms: None,
                        signal: None,
                        fence: None,
                    });
                    if send(socket, &message).await.is_err() {
                        return Ok(Over::Broken);
                    }
                }
                bytes = next_input(input) => {
                    let message = self.input_message(&bytes);
                    if bytes.is_empty() {
                        *input = None;
                    }
                    if send(socket, &message).await.is_err() {
                        return Ok(Over::Broken);
                    }
                }
            }
        }
    }

    /// Shows a frame; false if nobody reads our output any more.
    fn show(&self, frame: &[u8], place: &mut Place) -> Result<bool, Failure> {
        let (header, bytes) = OutputHeader::decode(frame)?;
        place.next_seq = header.seq + 1;
        if !self.shows.has(header.stream) {
            return Ok(true);
        }
        let written = match header.stream {
            Stream::Stdout => write(&mut std::io::stdout().lock(), bytes),
            Stream::Stderr => write(&mut std::io::stderr().lock(), bytes),
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::caused("failed to write the output", &error)),
        }
    }

    /// Says why there is another attempt. A server that does not answer is no reason to end.
    async fn tell_why_again(&self) {
        let path = format!("/tasks/{}", encoded(self.task_id.as_str()));
        let task: Result<TaskStatus, Failure> = self.client.get(&path).await;
        let recoveries = task.map(|task| task.recoveries).unwrap_or_default();
        match recoveries.last() {
            Some(record) => note(&format!(
                "{}; again, {}",
                record.cause.describe(),
                record.note
            )),
            None => note("the task runs anew"),
        }
    }

    /// Takes a message.
    fn hear(text: &str, place: &mut Place) -> Heard {
        // A newer server may say things that are not known here.
        let Ok(message) = serde_json::from_str::<FromWorker>(text) else {
            return Heard::Other;
        };
        match message {
            FromWorker::ExecutionStarted(started) => {
                let before = std::mem::replace(&mut place.attempt, started.attempt);
                if before.is_none() || before == started.attempt {
                    return Heard::Other;
                }
                place.next_seq = 0;
                return Heard::NextAttempt;
            }
            FromWorker::TaskComplete(_) => return Heard::Over,
            FromWorker::TaskError(error) => {
                if error.last_seq.is_some() {
                    return Heard::Over;
                }
                let told = Failure::new(error.error);
                match error.hint {
                    Some(hint) => told.hint(hint).report(),
                    None => told.report(),
                };
            }
            FromWorker::BlockDetected(block) => {
                let info = &block.block_info;
                let duration = Duration::from_millis(info.duration);
                note(&blocks::line(info.reason, duration, &info.evidence));
                blocks::stacks(&info.evidence).for_each(note);
            }
            FromWorker::OutputCut(cut) => {
                let (first, last) = (cut.first_seq, cut.end_seq.saturating_sub(1));
                note(&match cut.bytes {
                    0 => format!("records {first} to {last} of the output are lost"),
                    bytes => format!("{bytes} bytes of output were cut on the worker"),
                });
            }
            FromWorker::Welcome(_)
            | FromWorker::TaskOutput(_)
            | FromWorker::ProgressUpdate(_)
            | FromWorker::Heartbeat(_)
            | FromWorker::Pong(_)
            | FromWorker::TaskList(_)
            | FromWorker::BlockReport(_) => {}
        }
        Heard::Other
    }

    fn input_message(&self, bytes: &[u8]) -> ToWorker {
        let chunk = Chunk::from_bytes(bytes.to_vec());
        ToWorker::SendInput(SendInput {
            task_id: self.task_id.clone(),
            input: chunk.output,
            encoding: chunk.encoding,
            eof: bytes.is_empty(),
        })
    }
}

impl Place {
    /// Whether nothing was seen yet, so that there is nothing to come back to.
    fn is_new(&self, view: &TaskView<'_>) -> bool {
        self.attempt.is_none() && self.next_seq == view.from_seq
    }
}

fn write(to: &mut impl std::io::Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

async fn send(
    socket: &mut tokio_tungstenite::WebSocketStream<crate::client::Wire>,
    message: &ToWorker,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let json = serde_json::to_string(message).expect("messages have string keys only");
    socket.send(Message::Text(json.into())).await
}

/// The next piece of input; an empty one is its end. Waits for ever where there is none.
async fn next_input(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Vec<u8> {
    match input {
        Some(input) => input.recv().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Reads our standard input on a thread of its own, which cannot be interrupted.
fn read_input() -> mpsc::Receiver<Vec<u8>> {
    use std::io::Read as _;
    let (sender, receiver) = mpsc::channel(INPUT_LEN);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(len) = std::io::stdin().read(&mut buffer) {
            if len == 0 || sender.blocking_send(buffer[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
