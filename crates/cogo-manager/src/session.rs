//! One connection of a worker, from its welcome to its end.
//!
//! What a worker says is taken in order. Output goes to the log of its attempt; what the worker
//! says after it reaches the coordinator only when it is in there. What a connection lost is asked
//! for again with `attach`, from where the log ends.

mod keeper;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use cogo_protocol::message::{FromWorker, Joined, PROTOCOL_VERSION, ToWorker, Welcome};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use crate::coordinator::{ConnectionId, Input, RelayOrder};
use crate::http::Api;
use crate::runtime::{Mailbox, Order};

use keeper::{Keeper, Verdict};

/// Bytes of a message from a worker at most: a record of output with its header, or a list of
/// all its tasks.
pub(crate) const MESSAGE_MAX: usize = 4 << 20;
/// Time for a worker to say what it is.
const WELCOME_MAX: Duration = Duration::from_secs(10);
/// Frames that are taken at once, and bytes in them.
const BATCH_LEN: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Time for a message to leave. A worker that does not read for so long is cut off.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// How often to look for questions that are due, and for logs that an older connection still held.
const QUESTIONS_EVERY: Duration = Duration::from_millis(20);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the worker closed it")]
    Closed,
    #[error("{0}")]
    Told(String),
    #[error("it broke: {0}")]
    Broken(#[from] axum::Error),
    #[error("the worker was silent")]
    Silent,
    #[error("the worker does not read")]
    Stuck,
    #[error("the worker broke the protocol: {0}")]
    Protocol(String),
    #[error("the manager is stopping")]
    Stopping,
    #[error("output cannot be kept: {0}")]
    Log(#[from] cogo_store::task_log::TaskLogError),
}

/// Serves a worker until it goes, is sent away, or the manager stops.
pub(crate) async fn run(api: Arc<Api>, mut socket: WebSocket) {
    let welcome = match timeout(WELCOME_MAX, hear_welcome(&mut socket)).await {
        Ok(Ok(welcome)) => welcome,
        Ok(Err(end)) => return say_goodbye(&mut socket, &end).await,
        Err(_) => return say_goodbye(&mut socket, &End::Silent).await,
    };
    let worker_id = welcome.worker_id.clone();
    let mailbox = api.connections.open();
    let id = mailbox.id;
    info!(%worker_id, connection = id.0, "worker connected");
    let mut session = Session {
        keeper: Keeper::new(&api, id),
        api: Arc::clone(&api),
        id,
        socket,
        heard_at: Instant::now(),
    };
    let end = match session.serve(welcome, mailbox).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    api.connections.remove(id);
    info!(%worker_id, connection = id.0, why = %end, "worker disconnected");
    // Before the coordinator hears of it, so that another connection can take the logs over.
    drop(session.keeper);
    let _ = api.handle.tell(Input::WorkerDisconnected(id)).await;
    say_goodbye(&mut session.socket, &end).await;
}

async fn hear_welcome(socket: &mut WebSocket) -> Result<Box<Welcome>, End> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return parse_welcome(&text),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => {
                return Err(End::Protocol("output came before `welcome`".to_owned()));
            }
            Some(Ok(Message::Close(_))) | None => return Err(End::Closed),
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

fn parse_welcome(text: &str) -> Result<Box<Welcome>, End> {
    let welcome = match serde_json::from_str(text) {
        Ok(FromWorker::Welcome(welcome)) => welcome,
        Ok(_) => return Err(End::Protocol("`welcome` has to come first".to_owned())),
        Err(error) => return Err(End::Protocol(format!("`welcome` cannot be read: {error}"))),
    };
    if welcome.protocol_version != PROTOCOL_VERSION {
        let theirs = welcome.protocol_version;
        return Err(End::Protocol(format!(
            "the worker speaks version {theirs}, this manager version {PROTOCOL_VERSION}"
        )));
    }
    Ok(welcome)
}

async fn say_goodbye(socket: &mut WebSocket, end: &End) {
    let code = match end {
        End::Closed | End::Broken(_) => return,
        End::Protocol(_) => close_code::PROTOCOL,
        End::Stopping => close_code::RESTART,
        End::Told(_) | End::Silent | End::Stuck | End::Log(_) => close_code::AGAIN,
    };
    let mut reason = end.to_string();
    // A close frame has room for 123 bytes.
    while reason.len() > 120 {
        reason.pop();
    }
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let close = socket.send(Message::Close(Some(frame)));
    // Whoever does not read this learns it from the end of the connection.
    let _ = timeout(Duration::from_secs(1), close).await;
}

struct Session {
    api: Arc<Api>,
    id: ConnectionId,
    socket: WebSocket,
    keeper: Keeper,
    heard_at: Instant,
}

/// Nothing: a session only ends by an [`End`].
enum Never {}

impl Session {
    async fn serve(&mut self, welcome: Box<Welcome>, mut mailbox: Mailbox) -> Result<Never, End> {
        let api = Arc::clone(&self.api);
        let clocks = api.worker_clocks;
        self.send(ToWorker::Joined(Joined {
            heartbeat_ms: millis(clocks.heartbeat),
            lease_ms: millis(clocks.lease),
        }))
        .await?;
        self.tell(Input::WorkerConnected {
            connection: self.id,
            welcome,
        })
        .await?;
        // A connection that is silent for as long as a lease is of no use.
        let silence_max = clocks.lease.max(clocks.heartbeat * 2);
        let mut pings = interval(silence_max / 3);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut questions = interval(QUESTIONS_EVERY);
        questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = api.stop.cancelled() => return Err(End::Stopping),
                order = mailbox.orders.recv() => self.follow(order).await?,
                message = mailbox.forwards.recv() => match message {
                    Some(message) => self.send(message).await?,
                    None => return Err(End::Stuck),
                },
                _ = pings.tick() => {
                    if self.heard_at.elapsed() > silence_max {
                        return Err(End::Silent);
                    }
                    self.write(Message::Ping(Bytes::new())).await?;
                }
                _ = questions.tick(), if self.keeper.has_questions() => self.ask().await?,
                message = self.socket.recv() => self.hear(message).await?,
            }
        }
    }

    async fn follow(&mut self, order: Option<Order>) -> Result<(), End> {
        match order {
            Some(Order::Send(message)) => self.send(*message).await,
            Some(Order::Relay(RelayOrder::Begin { task_id, fence, .. })) => {
                self.keeper.begin(task_id, fence);
                Ok(())
            }
            Some(Order::Relay(RelayOrder::Resume { task_id, fence, .. })) => {
                self.keeper.resume(task_id, fence);
                self.ask().await
            }
            Some(Order::Close(why)) => Err(End::Told(why)),
            None => Err(End::Stuck),
        }
    }

    /// Takes a message and all that are there already.
    async fn hear(&mut self, first: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.heard_at = Instant::now();
        let mut next = Some(first);
        let (mut frames, mut bytes) = (0, 0);
        while let Some(message) = next {
            match message {
                None | Some(Ok(Message::Close(_))) => {
                    self.keeper.flush()?;
                    return Err(End::Closed);
                }
                Some(Err(error)) => {
                    self.keeper.flush()?;
                    return Err(error.into());
                }
                Some(Ok(Message::Binary(frame))) => {
                    bytes += frame.len();
                    let kept = self.keeper.output(frame);
                    kept.map_err(|error| End::Protocol(error.to_string()))?;
                }
                Some(Ok(Message::Text(text))) => self.heard(&text).await?,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            }
            frames += 1;
            next = if frames < BATCH_LEN && bytes < BATCH_BYTES {
                self.socket.next().now_or_never()
            } else {
                None
            };
        }
        Ok(self.keeper.flush()?)
    }

    async fn heard(&mut self, text: &str) -> Result<(), End> {
        // First what came before it.
        self.keeper.flush()?;
        let message: FromWorker = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => {
                // A newer worker may say things that are not known here.
                warn!(connection = self.id.0, %error, "message of a worker cannot be read");
                return Ok(());
            }
        };
        self.api.refusals.hear(&message);
        match self.keeper.heard(&message) {
            Verdict::PassOn => {
                self.tell(Input::WorkerSaid(self.id, Box::new(message)))
                    .await
            }
            Verdict::PassOnSynced(appender) => {
                self.pass_on_synced(*appender, message);
                Ok(())
            }
            Verdict::Keep => Ok(()),
        }
    }

    /// Tells the end of an attempt when its output is on the disk: the worker forgets it then.
    fn pass_on_synced(&self, appender: cogo_store::task_log::Appender, message: FromWorker) {
        let (api, id) = (Arc::clone(&self.api), self.id);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = appender.finish() {
                // Without an acknowledgement the worker keeps it, and tells it again.
                warn!(%error, "output cannot be made durable");
                return;
            }
            let _ = api
                .handle
                .tell_blocking(Input::WorkerSaid(id, Box::new(message)));
        });
    }

    async fn tell(&mut self, input: Input) -> Result<(), End> {
        self.api.handle.tell(input).await.map_err(|_| End::Stopping)
    }

    /// Asks for output that is missing.
    async fn ask(&mut self) -> Result<(), End> {
        for question in self.keeper.questions()? {
            self.send(question).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: ToWorker) -> Result<(), End> {
        let json = serde_json::to_string(&message).expect("messages have string keys only");
        debug!(connection = self.id.0, %json, "to worker");
        self.write(Message::Text(json.into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_MAX, self.socket.send(message)).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(End::Stuck),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
