//! One connection of one client.
//!
//! The connection's task owns the followers of the tasks that the client looks at; each has a
//! task of its own and fills one bounded queue, from which a writer feeds the socket. A client
//! that does not read stops its own followers and nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::StatusCode;
use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::{
    Attach, BadMessage, BlockDetected, ExecuteCommand, FromWorker, Heartbeat, PROTOCOL_VERSION,
    Pong, ProgressUpdate, TaskError, TaskList, ToWorker, Welcome, error_code,
};
use cogo_protocol::task::{TaskId, TaskRequest, TaskState};
use cogo_protocol::worker::{Capabilities, WorkerId, WorkerStatus};
use cogo_store::{EventRecord, Scope, TaskFilter};
use futures_util::{SinkExt, StreamExt, stream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval};

use super::health::HostHealth;
use super::outgoing::{Form, Outgoing, text};
use super::task_list;
use crate::clock;
use crate::coordinator::{Answer, ClientRequest, RequestError};
use crate::follow::{FollowFailure, Start};
use crate::http::problem::Problem;
use crate::http::{Api, tasks};
use crate::tasks::{TaskFailure, unexpected};
use crate::tokens::Caller;

/// Messages that may wait for the socket.
const QUEUE_LEN: usize = 64;
/// Tasks that a client may look at over one connection.
const FOLLOWED_MAX: usize = 4096;
/// Tasks that a list shows at most.
const LISTED_MAX: usize = 1000;
/// What the manager calls itself where a worker has its name.
const MANAGER: &str = "manager";

/// What a connection is for.
pub(super) enum Reach {
    All,
    One(TaskId, Option<Start>),
}

/// Nothing more can be sent: the socket is gone.
struct Gone;

pub(super) struct Connection {
    api: Arc<Api>,
    caller: Caller,
    manager: WorkerId,
    binary: bool,
    only: Option<TaskId>,
    out: mpsc::Sender<Message>,
    followers: JoinSet<()>,
    followed: HashMap<TaskId, AbortHandle>,
    /// Tasks for which the client has sent something to their worker.
    fed: HashSet<TaskId>,
    last_handle: u32,
    health: HostHealth,
}

impl Connection {
    /// Serves a client until it goes or the manager stops.
    pub(super) async fn run(
        api: Arc<Api>,
        caller: Caller,
        reach: Reach,
        binary: bool,
        socket: WebSocket,
    ) {
        let (sink, incoming) = socket.split();
        let (out, queue) = mpsc::channel(QUEUE_LEN);
        let writer = tokio::spawn(write(sink, queue));
        let (only, start) = match reach {
            Reach::All => (None, None),
            Reach::One(id, start) => (Some(id), start),
        };
        let mut connection = Self {
            manager: MANAGER.parse().expect("it is a name"),
            api,
            caller,
            binary,
            only,
            out,
            followers: JoinSet::new(),
            followed: HashMap::new(),
            fed: HashSet::new(),
            last_handle: 0,
            health: HostHealth::default(),
        };
        // A client that went away needs no more.
        let _ = connection.serve(incoming, start).await;
        connection.followers.shutdown().await;
        drop(connection);
        let _ = writer.await;
    }

    async fn serve(
        &mut self,
        mut incoming: stream::SplitStream<WebSocket>,
        start: Option<Start>,
    ) -> Result<(), Gone> {
        let stop = self.api.stop.clone();
        let silence_max = self.api.config.silence_max;
        let mut events = self.api.events.listen();
        let mut refusals = self.api.refusals.listen();
        let mut heartbeats = interval(self.api.config.heartbeat);
        heartbeats.reset();
        let mut pings = interval(silence_max / 3);
        let mut heard_at = Instant::now();
        self.welcome().await?;
        if let (Some(id), Some(start)) = (self.only.clone(), start) {
            self.follow(id, start).await?;
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.close().await,
                message = incoming.next() => {
                    heard_at = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => self.hear(&text).await?,
                        Some(Ok(Message::Binary(_))) => self.refuse_binary().await?,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    }
                }
                event = events.recv() => self.pass_on(event).await?,
                refused = refusals.recv() => self.tell_refusal(refused).await?,
                _ = heartbeats.tick() => self.beat().await?,
                _ = pings.tick() => {
                    if heard_at.elapsed() > silence_max {
                        return Ok(());
                    }
                    self.send(Message::Ping(Bytes::new())).await?;
                }
                // A follower that has ended leaves nothing but its place.
                Some(_) = self.followers.join_next() => {
                    self.followed.retain(|_, follower| !follower.is_finished());
                }
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        self.out.send(message).await.map_err(|_| Gone)
    }

    async fn say(&self, message: FromWorker) -> Result<(), Gone> {
        self.send(text(&message)).await
    }

    async fn close(&self) -> Result<(), Gone> {
        let frame = CloseFrame {
            code: close_code::RESTART,
            reason: "the manager is stopping".into(),
        };
        self.send(Message::Close(Some(frame))).await
    }

    async fn welcome(&self) -> Result<(), Gone> {
        self.say(FromWorker::Welcome(Box::new(Welcome {
            worker_id: self.manager.clone(),
            worker_type: MANAGER.to_owned(),
            protocol_version: PROTOCOL_VERSION,
            capabilities: Capabilities::default(),
            isolation: Vec::new(),
            tasks: Vec::new(),
            timestamp: clock::unix_ms(),
        })))
        .await
    }

    async fn beat(&mut self) -> Result<(), Gone> {
        let now_ms = clock::unix_ms();
        let health = self.health.read(now_ms, self.api.started_at_ms);
        let current_task = self.followed.keys().next().cloned();
        self.say(FromWorker::Heartbeat(Heartbeat {
            worker_id: self.manager.clone(),
            timestamp: now_ms,
            status: match current_task {
                Some(_) => WorkerStatus::Busy,
                None => WorkerStatus::Idle,
            },
            health,
            current_task,
            tasks: Vec::new(),
            draining: false,
        }))
        .await
    }

    /// Blocks and progress of tasks that the client looks at.
    async fn pass_on(
        &self,
        event: Result<Arc<EventRecord>, broadcast::error::RecvError>,
    ) -> Result<(), Gone> {
        // One that is behind has missed progress; nothing depends on it.
        let Ok(event) = event else { return Ok(()) };
        let followed = event
            .task_id
            .as_ref()
            .is_some_and(|id| self.followed.contains_key(id));
        if !followed {
            return Ok(());
        }
        match serde_json::from_str(&event.json) {
            Ok(ManagerEvent::BlockDetected {
                task_id,
                worker_id,
                block_info,
            }) => {
                self.say(FromWorker::BlockDetected(Box::new(BlockDetected {
                    task_id,
                    worker_id,
                    block_info,
                    timestamp: event.timestamp_ms,
                    fence: None,
                })))
                .await
            }
            Ok(ManagerEvent::TaskProgress {
                task_id,
                worker_id,
                progress,
            }) => {
                self.say(FromWorker::ProgressUpdate(ProgressUpdate {
                    task_id,
                    worker_id,
                    progress,
                    timestamp: event.timestamp_ms,
                }))
                .await
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn hear(&mut self, frame: &str) -> Result<(), Gone> {
        match ToWorker::parse(frame) {
            Ok(message) => self.answer(message).await,
            Err(bad) => self.refuse_frame(&bad).await,
        }
    }

    async fn answer(&mut self, message: ToWorker) -> Result<(), Gone> {
        match message {
            ToWorker::ExecuteCommand(execute) => self.execute(*execute).await,
            ToWorker::Attach(Attach { task_id, from_seq }) => {
                let start = Start {
                    attempt: None,
                    from_seq,
                    lead_in: false,
                };
                match tasks::visible(&self.api, &self.caller, &task_id).await {
                    Ok(_) if self.reaches(&task_id) => self.follow(task_id, start).await,
                    Ok(_) => {
                        self.refuse(Some(task_id.clone()), Problem::no_such_task(&task_id))
                            .await
                    }
                    Err(problem) => self.refuse(Some(task_id), problem).await,
                }
            }
            ToWorker::TerminateTask(terminate) => {
                let grace = terminate.grace_ms.map(Duration::from_millis);
                let task_id = terminate.task_id;
                let result = async {
                    self.changeable(&task_id).await?;
                    Ok(self.api.tasks.cancel(&task_id, grace).await.map(drop)?)
                };
                match result.await {
                    Ok(()) => Ok(()),
                    Err(problem) => self.refuse(Some(task_id), problem).await,
                }
            }
            ToWorker::SendInput(ref input) => self.forward(input.task_id.clone(), message).await,
            ToWorker::ResizePty(ref resize) => self.forward(resize.task_id.clone(), message).await,
            ToWorker::SignalTask(ref signal) => self.forward(signal.task_id.clone(), message).await,
            ToWorker::Ping(ping) => {
                self.say(FromWorker::Pong(Pong {
                    worker_id: self.manager.clone(),
                    timestamp: ping.timestamp,
                    worker_timestamp: clock::unix_ms(),
                }))
                .await
            }
            ToWorker::ListTasks {} => self.list().await,
            ToWorker::DetectBlock(request) => {
                let problem = Problem::new(
                    StatusCode::CONFLICT,
                    error_code::NOT_APPLICABLE,
                    "a manager looks for blocks by worker",
                )
                .hint("ask with POST workers/{id}/detect-block");
                self.refuse(request.task_id, problem).await
            }
            ToWorker::Joined(_) | ToWorker::Acknowledge(_) | ToWorker::Drain {} => {
                let problem = Problem::new(
                    StatusCode::CONFLICT,
                    error_code::NOT_APPLICABLE,
                    "that is for a manager to say to a worker",
                );
                self.refuse(None, problem).await
            }
        }
    }

    fn reaches(&self, task_id: &TaskId) -> bool {
        self.only.as_ref().is_none_or(|only| only == task_id)
    }

    async fn changeable(&self, task_id: &TaskId) -> Result<(), Problem> {
        if !self.reaches(task_id) {
            return Err(Problem::no_such_task(task_id));
        }
        tasks::changeable(&self.api, &self.caller, task_id)
            .await
            .map(drop)
    }

    async fn execute(&mut self, execute: ExecuteCommand) -> Result<(), Gone> {
        let task_id = execute.task_id.clone();
        match self.submit(execute).await {
            Ok(()) => self.follow(task_id, Start::default()).await,
            Err(problem) => self.refuse(Some(task_id), problem).await,
        }
    }

    async fn submit(&self, execute: ExecuteCommand) -> Result<(), Problem> {
        if self.only.is_some() || !self.caller.may(Scope::Submit) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                error_code::NOT_APPLICABLE,
                "tasks cannot be submitted over this connection",
            )
            .hint("use `/api/sandbox/connect` with a token that may submit"));
        }
        let task_id = execute.task_id.clone();
        let request = TaskRequest {
            task_id: Some(execute.task_id),
            command: execute.command,
            ..TaskRequest::default()
        };
        match self.api.tasks.submit(request, &self.caller.name).await {
            Ok((_, true)) => return Ok(()),
            // A worker knows of no two requests that are the same.
            Ok((_, false)) | Err(TaskFailure::Refused(RequestError::TaskDiffers(_))) => {}
            Err(failure) => return Err(failure.into()),
        }
        Err(Problem::new(
            StatusCode::CONFLICT,
            error_code::TASK_EXISTS,
            format!("there is a task `{task_id}` already"),
        )
        .hint("`attach` follows it; another name makes another task"))
    }

    /// Begins to follow a task, from a place that may be another than before.
    async fn follow(&mut self, task_id: TaskId, start: Start) -> Result<(), Gone> {
        if let Some(before) = self.followed.remove(&task_id) {
            before.abort();
        }
        if self.followed.len() >= FOLLOWED_MAX {
            let problem = Problem::new(
                StatusCode::CONFLICT,
                error_code::AT_CAPACITY,
                format!("one connection follows {FOLLOWED_MAX} tasks at most"),
            );
            return self.refuse(Some(task_id), problem).await;
        }
        let form = if self.binary {
            self.last_handle += 1;
            Form::Binary(self.last_handle)
        } else {
            Form::Json
        };
        let outgoing = Outgoing::new(task_id.clone(), self.manager.clone(), form, start.from_seq);
        let start = Start {
            lead_in: form == Form::Json,
            ..start
        };
        let follower = follow(
            Arc::clone(&self.api),
            task_id.clone(),
            start,
            outgoing,
            self.out.clone(),
        );
        let follower = self.followers.spawn(follower);
        self.followed.insert(task_id, follower);
        Ok(())
    }

    /// Passes a message on to the worker that runs the task.
    async fn forward(&mut self, task_id: TaskId, message: ToWorker) -> Result<(), Gone> {
        let result = async {
            self.changeable(&task_id).await?;
            self.remember(&task_id);
            let request = ClientRequest::TaskConnection(task_id.clone());
            let connection = match self.api.handle.ask(request).await? {
                Answer::TaskConnection { connection, .. } => connection,
                Answer::Refused(error) => return Err(error.into()),
                answer => unexpected(&answer),
            };
            if self.api.connections.forward(connection, message).await {
                return Ok(());
            }
            Err(Problem::new(
                StatusCode::CONFLICT,
                error_code::NOT_APPLICABLE,
                "the worker's connection closed just now",
            )
            .hint("try again"))
        };
        match result.await {
            Ok(()) => Ok(()),
            Err(problem) => self.refuse(Some(task_id), problem).await,
        }
    }

    /// From here on, what the worker refuses for this task is told.
    fn remember(&mut self, task_id: &TaskId) {
        if self.fed.len() >= FOLLOWED_MAX {
            // Those that are not looked at any more have ended, as a rule.
            self.fed.retain(|fed| self.followed.contains_key(fed));
        }
        if self.fed.len() < FOLLOWED_MAX {
            self.fed.insert(task_id.clone());
        }
    }

    /// Tells what a worker refused, if it may have been this client's.
    async fn tell_refusal(
        &self,
        refused: Result<Arc<TaskError>, broadcast::error::RecvError>,
    ) -> Result<(), Gone> {
        match refused {
            Ok(error) => {
                let fed = error
                    .task_id
                    .as_ref()
                    .is_some_and(|id| self.fed.contains(id));
                if fed {
                    self.say(FromWorker::TaskError(TaskError::clone(&error)))
                        .await?;
                }
                Ok(())
            }
            Err(broadcast::error::RecvError::Lagged(_)) if !self.fed.is_empty() => {
                let problem = Problem::new(
                    StatusCode::CONFLICT,
                    error_code::INPUT_FULL,
                    "this client reads too slowly to be told which input was refused",
                );
                self.refuse(None, problem).await
            }
            Err(_) => Ok(()),
        }
    }

    async fn list(&self) -> Result<(), Gone> {
        let filter = TaskFilter {
            states: vec![TaskState::Leased, TaskState::Running],
            before: None,
            limit: Some(LISTED_MAX),
        };
        let listed = match self.api.tasks.list(filter).await {
            Ok(listed) => listed,
            Err(error) => return self.refuse(None, error.into()).await,
        };
        let seen = listed
            .into_iter()
            .map(|(_, task)| task)
            .filter(|task| self.caller.may_see(&task.submitter) && self.reaches(&task.task_id));
        let tasks = match task_list::briefs(&self.api.logs, seen.collect()).await {
            Ok(tasks) => tasks,
            Err(problem) => return self.refuse(None, problem).await,
        };
        self.say(FromWorker::TaskList(TaskList {
            worker_id: self.manager.clone(),
            tasks,
            timestamp: clock::unix_ms(),
        }))
        .await
    }

    async fn refuse(&self, task_id: Option<TaskId>, problem: Problem) -> Result<(), Gone> {
        self.say(refusal(self.manager.clone(), task_id, &problem))
            .await
    }

    async fn refuse_frame(&self, bad: &BadMessage) -> Result<(), Gone> {
        let problem = Problem::new(StatusCode::BAD_REQUEST, bad.code(), bad.to_string());
        self.refuse(bad.task_id().cloned(), problem).await
    }

    async fn refuse_binary(&self) -> Result<(), Gone> {
        let problem = Problem::new(
            StatusCode::BAD_REQUEST,
            error_code::BAD_MESSAGE,
            "messages to the manager are text",
        );
        self.refuse(None, problem).await
    }
}

fn refusal(manager: WorkerId, task_id: Option<TaskId>, problem: &Problem) -> FromWorker {
    FromWorker::TaskError(TaskError {
        task_id,
        worker_id: manager,
        error: problem.detail().to_owned(),
        code: Some(problem.code().to_owned()),
        hint: problem.hint_text().map(str::to_owned),
        timestamp: clock::unix_ms(),
        verdict: None,
        last_seq: None,
        fence: None,
    })
}

/// Tells a client of one task until its end.
async fn follow(
    api: Arc<Api>,
    task_id: TaskId,
    start: Start,
    mut outgoing: Outgoing,
    out: mpsc::Sender<Message>,
) {
    let result: Result<(), FollowFailure> = async {
        let mut follow = api.follows.follow(&task_id, start).await?;
        while let Some(told) = follow.next().await? {
            for message in outgoing.messages(told) {
                if out.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
    .await;
    if let Err(failure) = result {
        let problem = Problem::from(failure);
        let manager = MANAGER.parse().expect("it is a name");
        let _ = out
            .send(text(&refusal(manager, Some(task_id), &problem)))
            .await;
    }
}

impl From<FollowFailure> for Problem {
    fn from(failure: FollowFailure) -> Self {
        match failure {
            FollowFailure::Task(failure) => failure.into(),
            FollowFailure::Log(error) => Self::internal("failed to read the output", &error),
        }
    }
}

/// Writes to the socket what is queued, and flushes when nothing more is.
async fn write(
    mut sink: stream::SplitSink<WebSocket, Message>,
    mut queue: mpsc::Receiver<Message>,
) {
    while let Some(message) = queue.recv().await {
        if sink.feed(message).await.is_err() {
            return;
        }
        while let Ok(message) = queue.try_recv() {
            if sink.feed(message).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}
