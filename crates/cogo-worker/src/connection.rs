//! One connection, the same whether a client came or a manager was dialed.
//!
//! ```text
//! frames in ──▶ reader ──requests──▶ table
//!                 │ └─replies──▶ writer ──▶ frames out
//!                 └─starts──▶ feeds ──output──▶ ┘
//! ```
//!
//! Reader and writer do not wait for each other, so that a client whose output is stuck can still
//! stop a task. Both queues to the writer are short: a full queue of replies makes the reader
//! wait, a full queue of output makes the feeds wait, and with them nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::id::ExecId;
use cogo_protocol::message::{
    Acknowledge, Attach, BadMessage, DetectBlock, FromWorker, Heartbeat, Joined, PROTOCOL_VERSION,
    Ping, Pong, ResizePty, SendInput, SignalTask, TaskError, TaskList, TaskSignal, TerminateTask,
    ToWorker, Welcome, error_code,
};
use cogo_protocol::task::TaskId;
use cogo_protocol::worker::{Capabilities, WorkerId};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tracing::{debug, info, warn};

use crate::block::{Watcher, examine};
use crate::feed::Feed;
use crate::health::HealthSampler;
use crate::instant::now_ms;
use crate::refusal::Refusal;
use crate::replay::{Form, text};
use crate::table::{Act, Deed, Summary, TableHandle};
use crate::task::Task;
use crate::wire::Wire;

/// Replies that may wait for the writer.
const REPLIES_MAX: usize = 64;
/// Messages of output that may wait for the writer, from all tasks together.
const OUTPUT_MAX: usize = 1;
/// Tasks that one connection can hear of at a time.
const FEEDS_MAX: usize = 1024;
/// Requests for a close look that one connection can have under way.
const EXAMINATIONS_MAX: usize = 8;
/// How long a connection may take to send what is left when it is closed.
const CLOSING_MAX: Duration = Duration::from_secs(5);
/// How long a client is listened to after the end, so that it gets to read why.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Heartbeats that a dialed manager may be silent for before it counts as lost.
const SILENT_HEARTBEATS: u32 = 3;
const SILENCE_MIN: Duration = Duration::from_secs(10);
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
/// Time between heartbeats that tell of changes, at least. What changes meanwhile is told together.
const CHANGES_TOLD_EVERY: Duration = Duration::from_millis(20);

/// Who this worker is, as it tells every connection.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) worker_id: WorkerId,
    pub(crate) kind: String,
    pub(crate) capabilities: Capabilities,
    pub(crate) isolation: Vec<cogo_protocol::exec::Isolation>,
}

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Arc<Identity>,
    pub(crate) table: TableHandle,
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) health: Arc<HealthSampler>,
    pub(crate) heartbeat: Duration,
    pub(crate) message_max: usize,
    /// Turns true when the worker ends.
    pub(crate) closing: watch::Receiver<bool>,
}

/// Which way a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A client or manager came.
    Accepted,
    /// A manager was dialed.
    Dialed,
}

/// How output travels on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    Json,
    Binary,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The other side closed it, or it broke.
    Gone,
    /// A dialed manager was silent for too long.
    Silent,
    /// The other side broke the protocol and was told so.
    Refused,
    /// The worker ends.
    Closing,
}

/// The WebSocket settings of every connection. Idle ones stay small.
pub(crate) fn websocket_config(message_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .write_buffer_size(64 << 10)
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max))
}

/// Serves a connection until it is over.
pub(crate) async fn serve(
    socket: WebSocketStream<Wire>,
    subprotocol: Subprotocol,
    direction: Direction,
    shared: Shared,
) -> Parting {
    let (mut sink, mut source) = socket.split();
    let (replies, replies_receiver) = mpsc::channel(REPLIES_MAX);
    let (output, output_receiver) = mpsc::channel(OUTPUT_MAX);
    let reader = Reader {
        heartbeat: heartbeat_every(shared.heartbeat),
        heartbeat_every: shared.heartbeat,
        beat_at: Instant::now(),
        joined: false,
        heard_at: Instant::now(),
        summary: shared.table.summary(),
        closing: shared.closing.clone(),
        shared,
        subprotocol,
        direction,
        replies,
        output,
        feeds: JoinSet::new(),
        examinations: JoinSet::new(),
        fed: HashMap::new(),
        handles: 0,
    };
    let parting = {
        let write = write(&mut sink, replies_receiver, output_receiver);
        tokio::pin!(write);
        tokio::select! {
            parting = reader.run(&mut source) => {
                // Its queues are closed now, so that the writer comes to an end.
                let _ = timeout(CLOSING_MAX, write).await;
                parting
            }
            () = &mut write => Parting::Gone,
        }
    };
    match parting {
        Parting::Gone | Parting::Silent => {}
        Parting::Closing => {
            // The other side answers a goodbye with its own.
            let answer = async { while matches!(source.next().await, Some(Ok(_))) {} };
            let _ = timeout(LINGER_MAX, answer).await;
        }
        Parting::Refused => linger(sink, source).await,
    }
    debug!(?parting, "connection over");
    parting
}

/// Sends what is queued, replies first, until both queues are closed or the connection breaks.
async fn write(
    sink: &mut SplitSink<WebSocketStream<Wire>, Message>,
    mut replies: mpsc::Receiver<Message>,
    mut output: mpsc::Receiver<Message>,
) {
    loop {
        let message = tokio::select! {
            biased;
            Some(reply) = replies.recv() => reply,
            Some(output) = output.recv() => output,
            else => break,
        };
        let is_last = message.is_close();
        if sink.feed(message).await.is_err() {
            return;
        }
        if is_last {
            break;
        }
        let idle = replies.is_empty() && output.is_empty();
        if idle && sink.flush().await.is_err() {
            return;
        }
    }
    let _ = sink.flush().await;
}

/// Takes in what the other side still sends: closing with unread bytes would reset the
/// connection, and our last words would be lost.
async fn linger(
    sink: SplitSink<WebSocketStream<Wire>, Message>,
    source: SplitStream<WebSocketStream<Wire>>,
) {
    let Ok(mut socket) = sink.reunite(source) else {
        return;
    };
    let stream = socket.get_mut();
    let mut scrap = [0; 4096];
    let drain = async { while matches!(stream.read(&mut scrap).await, Ok(1..)) {} };
    let _ = timeout(LINGER_MAX, drain).await;
}

fn heartbeat_every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The side of a connection that takes requests.
struct Reader {
    shared: Shared,
    subprotocol: Subprotocol,
    direction: Direction,
    replies: mpsc::Sender<Message>,
    output: mpsc::Sender<Message>,
    feeds: JoinSet<ExecId>,
    /// Close looks at tasks that were asked for and are not answered yet.
    examinations: JoinSet<()>,
    /// The attempt of each task that a feed tells of.
    fed: HashMap<TaskId, Fed>,
    /// Handles given to tasks so far.
    handles: u32,
    heartbeat: Interval,
    heartbeat_every: Duration,
    /// When the last heartbeat was sent.
    beat_at: Instant,
    /// Whether a manager took the worker in over this connection.
    joined: bool,
    heard_at: Instant,
    summary: watch::Receiver<Summary>,
    closing: watch::Receiver<bool>,
}

struct Fed {
    task: Arc<Task>,
    handle: u32,
    feed: AbortHandle,
}

/// What a reader waits for.
enum Event {
    Frame(Option<Result<Message, tungstenite::Error>>),
    HeartbeatDue,
    StatusChanged,
    Closing,
}

/// Whether a connection goes on.
type Flow = std::ops::ControlFlow<Parting>;

impl Reader {
    async fn run(mut self, source: &mut SplitStream<WebSocketStream<Wire>>) -> Parting {
        self.reply(&self.welcome()).await;
        loop {
            let event = tokio::select! {
                frame = source.next() => Event::Frame(frame),
                Some(_) = self.feeds.join_next() => continue,
                Some(_) = self.examinations.join_next() => continue,
                _ = self.heartbeat.tick() => Event::HeartbeatDue,
                Ok(()) = self.summary.changed() => Event::StatusChanged,
                // A closing that nobody can announce any more has begun.
                _ = self.closing.wait_for(|closing| *closing) => Event::Closing,
            };
            let flow = match event {
                Event::Frame(frame) => self.take(frame).await,
                Event::HeartbeatDue => self.beat(),
                Event::StatusChanged => self.status_changed(),
                Event::Closing => self.close().await,
            };
            if let Flow::Break(parting) = flow {
                return parting;
            }
        }
    }

    async fn take(&mut self, frame: Option<Result<Message, tungstenite::Error>>) -> Flow {
        self.heard_at = Instant::now();
        match frame {
            Some(Ok(Message::Text(text))) => {
                self.take_text(&text).await;
                Flow::Continue(())
            }
            Some(Ok(Message::Binary(_))) => {
                let refusal =
                    Refusal::new(error_code::BAD_MESSAGE, "clients send text frames only")
                        .hint("send each message as JSON in a text frame");
                self.refuse(None, &refusal).await;
                Flow::Continue(())
            }
            // Pings are answered underneath.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Flow::Continue(()),
            Some(Ok(Message::Close(_))) | None => Flow::Break(Parting::Gone),
            Some(Err(tungstenite::Error::Capacity(_))) => {
                let max = self.shared.message_max;
                let refusal = Refusal::new(
                    error_code::MESSAGE_TOO_LARGE,
                    format!("a message has at most {max} bytes"),
                )
                .hint("send input in pieces, or start the worker with a larger --message-max");
                self.refuse(None, &refusal).await;
                self.say_goodbye(CloseCode::Size, "message too large").await;
                Flow::Break(Parting::Refused)
            }
            Some(Err(tungstenite::Error::Utf8(_))) => {
                self.say_goodbye(CloseCode::Invalid, "text is not UTF-8")
                    .await;
                Flow::Break(Parting::Refused)
            }
            Some(Err(error)) => {
                debug!(%error, "connection broke");
                Flow::Break(Parting::Gone)
            }
        }
    }

    async fn take_text(&mut self, text: &Utf8Bytes) {
        let message = match ToWorker::parse(text) {
            Ok(message) => message,
            Err(bad) => return self.refuse(bad.task_id(), &bad_message(&bad)).await,
        };
        let task_id = task_of(&message).cloned();
        // Only of a command that was not taken a refusal is the attempt's end.
        let fence = if let ToWorker::ExecuteCommand(command) = &message {
            command.fence
        } else {
            None
        };
        if let Err(refusal) = self.obey(message).await {
            let mut error = self.refusal(task_id.as_ref(), &refusal);
            error.fence = fence;
            self.reply(&FromWorker::TaskError(error)).await;
        }
    }

    async fn obey(&mut self, message: ToWorker) -> Result<(), Refusal> {
        match message {
            ToWorker::ExecuteCommand(command) => {
                // First, because a command that is taken has to be told of.
                self.check_feeds()?;
                let task = self.shared.table.execute(command).await?;
                self.feed_anew(task).await
            }
            ToWorker::Attach(Attach { task_id, from_seq }) => {
                let task = self.shared.table.find(task_id).await?;
                self.feed(task, from_seq)
            }
            ToWorker::TerminateTask(stop) => self.terminate(stop).await,
            ToWorker::SendInput(input) => self.input(input).await,
            ToWorker::ResizePty(ResizePty {
                task_id,
                rows,
                columns,
            }) => self.act(task_id, Deed::Resize { rows, columns }).await,
            ToWorker::SignalTask(SignalTask { task_id, signal }) => {
                self.act(task_id, Deed::Signal(number(&signal)?)).await
            }
            ToWorker::Ping(Ping { timestamp }) => {
                self.reply(&FromWorker::Pong(Pong {
                    worker_id: self.worker_id(),
                    timestamp,
                    worker_timestamp: now_ms(),
                }))
                .await;
                Ok(())
            }
            ToWorker::ListTasks {} => {
                let tasks = self.shared.table.list().await?;
                self.reply(&FromWorker::TaskList(TaskList {
                    worker_id: self.worker_id(),
                    tasks: tasks.iter().map(|task| task.brief()).collect(),
                    timestamp: now_ms(),
                }))
                .await;
                Ok(())
            }
            ToWorker::DetectBlock(request) => self.detect_block(request).await,
            ToWorker::Joined(joined) => {
                self.join(joined);
                Ok(())
            }
            ToWorker::Acknowledge(Acknowledge { task_id, fence }) => {
                self.shared.table.acknowledge(task_id, fence).await
            }
            ToWorker::Drain {} => {
                info!("asked to drain");
                self.shared.table.drain().await;
                Ok(())
            }
        }
    }

    /// Has running tasks looked at, and answers when that is done.
    async fn detect_block(&mut self, request: DetectBlock) -> Result<(), Refusal> {
        if self.examinations.len() >= EXAMINATIONS_MAX {
            let error = format!("{EXAMINATIONS_MAX} examinations are under way");
            return Err(Refusal::new(error_code::AT_CAPACITY, error)
                .hint("wait for the answers to earlier requests"));
        }
        let tasks = match request.task_id {
            Some(task_id) => vec![self.shared.table.find(task_id).await?],
            None => self.shared.table.list().await?,
        };
        let watcher = Arc::clone(&self.shared.watcher);
        let (worker_id, replies) = (self.worker_id(), self.replies.clone());
        self.examinations.spawn(async move {
            let report = examine::all(&watcher, tasks, worker_id, request.request_id).await;
            // Without a writer the connection is over.
            let _ = replies
                .send(text(&FromWorker::BlockReport(Box::new(report))))
                .await;
        });
        Ok(())
    }

    async fn terminate(&mut self, stop: TerminateTask) -> Result<(), Refusal> {
        let act = Act {
            task_id: stop.task_id,
            fence: stop.fence,
            deed: Deed::Stop {
                grace_period: stop.grace_ms.map(Duration::from_millis),
                signal: stop.signal.as_ref().map(number).transpose()?,
            },
        };
        self.shared.table.act(act).await
    }

    async fn input(&mut self, input: SendInput) -> Result<(), Refusal> {
        let bytes = input
            .bytes()
            .map_err(|error| Refusal::caused(error_code::BAD_MESSAGE, &error))?;
        let deed = Deed::Input {
            bytes,
            eof: input.eof,
        };
        self.act(input.task_id, deed).await
    }

    async fn act(&self, task_id: TaskId, deed: Deed) -> Result<(), Refusal> {
        let act = Act {
            task_id,
            fence: None,
            deed,
        };
        self.shared.table.act(act).await
    }

    fn join(&mut self, joined: Joined) {
        info!(
            heartbeat_ms = joined.heartbeat_ms,
            "a manager took the worker in"
        );
        self.joined = true;
        self.heartbeat_every = Duration::from_millis(joined.heartbeat_ms).max(HEARTBEAT_MIN);
        self.heartbeat = heartbeat_every(self.heartbeat_every);
        self.send_heartbeat();
    }

    /// Tells of a task that this connection asked to execute. The same request, sent twice, is
    /// answered twice, but its output is told once.
    async fn feed_anew(&mut self, task: Arc<Task>) -> Result<(), Refusal> {
        let known = self.fed.get(&task.record.task_id).filter(|fed| {
            fed.task.record.exec_id == task.record.exec_id && !fed.feed.is_finished()
        });
        let Some(fed) = known else {
            return self.feed(task, 0);
        };
        let handle = (self.subprotocol == Subprotocol::Binary).then_some(fed.handle);
        let begun = task.progress.borrow().begun;
        if let Some(begun) = begun {
            let started = task.started(begun, handle, &self.worker_id());
            self.reply(&started).await;
        }
        Ok(())
    }

    /// Tells of a task from a record on, instead of what was told of it so far.
    fn feed(&mut self, task: Arc<Task>, from_seq: u64) -> Result<(), Refusal> {
        let task_id = task.record.task_id.clone();
        let handle = match self.fed.remove(&task_id) {
            Some(fed) => {
                fed.feed.abort();
                fed.handle
            }
            None => self.new_handle()?,
        };
        let feed = Feed {
            task: Arc::clone(&task),
            from_seq,
            form: match self.subprotocol {
                Subprotocol::Json => Form::Json,
                Subprotocol::Binary => Form::Binary { handle },
            },
            worker_id: self.worker_id(),
            out: self.output.clone(),
        };
        let exec = task.record.exec_id;
        let feed = self.feeds.spawn(async move {
            feed.run().await;
            exec
        });
        self.fed.insert(task_id, Fed { task, handle, feed });
        Ok(())
    }

    fn check_feeds(&self) -> Result<(), Refusal> {
        if self.feeds.len() >= FEEDS_MAX {
            return Err(Refusal::new(
                error_code::AT_CAPACITY,
                format!("a connection hears of at most {FEEDS_MAX} tasks at a time"),
            )
            .hint("open another connection"));
        }
        Ok(())
    }

    fn new_handle(&mut self) -> Result<u32, Refusal> {
        self.check_feeds()?;
        // What has been told is not remembered for ever.
        if self.fed.len() >= 2 * FEEDS_MAX {
            self.fed.retain(|_, fed| !fed.feed.is_finished());
        }
        self.handles += 1;
        Ok(self.handles)
    }

    fn beat(&mut self) -> Flow {
        let silence_max = (self.heartbeat_every * SILENT_HEARTBEATS).max(SILENCE_MIN);
        if self.direction == Direction::Dialed && self.heard_at.elapsed() > silence_max {
            warn!("the manager is silent");
            return Flow::Break(Parting::Silent);
        }
        self.send_heartbeat();
        // The answer shows that the other side lives, even if it has nothing to say.
        let _ = self
            .replies
            .try_send(Message::Ping(tungstenite::Bytes::new()));
        Flow::Continue(())
    }

    fn status_changed(&mut self) -> Flow {
        if self.joined {
            let since_last = self.beat_at.elapsed();
            if since_last >= CHANGES_TOLD_EVERY {
                self.send_heartbeat();
            } else {
                self.heartbeat
                    .reset_after(CHANGES_TOLD_EVERY.saturating_sub(since_last));
            }
        }
        Flow::Continue(())
    }

    /// One that finds no room is left out: whoever does not read gets a newer one later.
    fn send_heartbeat(&mut self) {
        self.beat_at = Instant::now();
        let summary = self.summary.borrow_and_update().clone();
        let heartbeat = text(&FromWorker::Heartbeat(Heartbeat {
            worker_id: self.worker_id(),
            timestamp: now_ms(),
            status: summary.status,
            health: self.shared.health.sample(),
            current_task: summary.current,
            tasks: summary.tasks.iter().map(|task| task.brief()).collect(),
            draining: summary.draining,
        }));
        let _ = self.replies.try_send(heartbeat);
    }

    /// Tells the ends that are there to be told, then says goodbye.
    async fn close(&mut self) -> Flow {
        for fed in self.fed.values() {
            if fed.task.is_live() {
                fed.feed.abort();
            }
        }
        let told = async { while self.feeds.join_next().await.is_some() {} };
        let _ = timeout(CLOSING_MAX, told).await;
        // Through the queue of output, behind what it holds.
        let goodbye = Message::Close(Some(CloseFrame {
            code: CloseCode::Away,
            reason: "the worker ends".into(),
        }));
        let _ = timeout(CLOSING_MAX, self.output.send(goodbye)).await;
        Flow::Break(Parting::Closing)
    }

    async fn say_goodbye(&self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        self.send(Message::Close(Some(frame))).await;
    }

    fn welcome(&self) -> FromWorker {
        let identity = &self.shared.identity;
        let tasks = &self.summary.borrow().tasks;
        FromWorker::Welcome(Box::new(Welcome {
            worker_id: identity.worker_id.clone(),
            worker_type: identity.kind.clone(),
            protocol_version: PROTOCOL_VERSION,
            capabilities: identity.capabilities.clone(),
            isolation: identity.isolation.clone(),
            tasks: tasks.iter().map(|task| task.brief()).collect(),
            timestamp: now_ms(),
        }))
    }

    async fn refuse(&self, task_id: Option<&TaskId>, refusal: &Refusal) {
        let error = self.refusal(task_id, refusal);
        self.reply(&FromWorker::TaskError(error)).await;
    }

    fn refusal(&self, task_id: Option<&TaskId>, refusal: &Refusal) -> TaskError {
        debug!(
            code = refusal.code,
            error = refusal.error,
            "request refused"
        );
        TaskError {
            task_id: task_id.cloned(),
            ..crate::task::refused(None, refusal, &self.worker_id())
        }
    }

    async fn reply(&self, message: &FromWorker) {
        self.send(text(message)).await;
    }

    async fn send(&self, message: Message) {
        // Without a writer the connection is over, which ends the reader too.
        let _ = self.replies.send(message).await;
    }

    fn worker_id(&self) -> WorkerId {
        self.shared.identity.worker_id.clone()
    }
}

fn bad_message(bad: &BadMessage) -> Refusal {
    let hint = match bad {
        BadMessage::Malformed { .. } => "send one JSON object with a `type` in each text frame",
        BadMessage::UnknownType { .. } => "the types are listed in the protocol's description",
        BadMessage::InvalidField { .. } => "the fields are listed in the protocol's description",
    };
    Refusal::new(bad.code(), bad.to_string()).hint(hint)
}

fn number(signal: &TaskSignal) -> Result<i32, Refusal> {
    signal.number().ok_or_else(|| {
        Refusal::new(error_code::INVALID_REQUEST, "there is no such signal")
            .hint("name one, such as \"INT\", or give its number from 1 to 31")
    })
}

/// The task that a message speaks of.
fn task_of(message: &ToWorker) -> Option<&TaskId> {
    match message {
        ToWorker::ExecuteCommand(message) => Some(&message.task_id),
        ToWorker::TerminateTask(message) => Some(&message.task_id),
        ToWorker::SendInput(message) => Some(&message.task_id),
        ToWorker::ResizePty(message) => Some(&message.task_id),
        ToWorker::SignalTask(message) => Some(&message.task_id),
        ToWorker::Attach(message) => Some(&message.task_id),
        ToWorker::Acknowledge(message) => Some(&message.task_id),
        ToWorker::DetectBlock(message) => message.task_id.as_ref(),
        ToWorker::Ping(_) | ToWorker::ListTasks {} | ToWorker::Joined(_) | ToWorker::Drain {} => {
            None
        }
    }
}
