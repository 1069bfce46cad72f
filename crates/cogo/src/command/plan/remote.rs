//! Steps as tasks of a server. The attempt's key is the task's name, so submitting it again after
//! our own death finds the task that is there.

use std::path::PathBuf;
use std::time::Duration;

use cogo_plan::dispatch::{Cancel, Dispatch, DispatchError, Progress, Work};
use cogo_plan::document::StepNetwork;
use cogo_protocol::command::{CommandRequest, WorkspaceRequest};
use cogo_protocol::exec::{Isolation, Limits, Network, WorkspaceMode};
use cogo_protocol::frame::OutputHeader;
use cogo_protocol::message::{FromWorker, SUBPROTOCOL_BINARY};
use cogo_protocol::task::{TaskId, TaskRequest, TaskStatus};
use cogo_protocol::verdict::Outcome;
use futures_util::StreamExt;
use hyper::Method;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Wire, block_on, encoded};
use crate::failure::Failure;
use crate::isolation::IsolationOption;

/// How long a server may be gone before its tasks are given up here.
const GONE_MAX: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_millis(250);
/// How soon a request to cancel is noticed.
const CANCEL_PACE: Duration = Duration::from_millis(50);

pub(super) struct Remote {
    client: Client,
    workspace: PathBuf,
    isolation: Isolation,
}

/// Where the view of a task is.
#[derive(Default)]
struct Place {
    attempt: Option<u32>,
    next_seq: u64,
    /// How often the end was asked for.
    stops: u32,
}

impl Remote {
    pub(super) fn new(client: Client, workspace: PathBuf, isolation: IsolationOption) -> Self {
        Self {
            client,
            workspace,
            isolation: isolation.into(),
        }
    }

    fn request(&self, work: &Work) -> Result<TaskRequest, Failure> {
        let limits = &work.limits;
        Ok(TaskRequest {
            task_id: Some(work.key.parse()?),
            command: CommandRequest {
                argv: Some(work.argv.clone()),
                workspace: Some(WorkspaceRequest::Tree {
                    path: self.workspace.to_string_lossy().into_owned(),
                    mode: WorkspaceMode::Direct,
                }),
                cwd: Some(work.cwd.to_string_lossy().into_owned()),
                env: work.env.clone(),
                timeout: work
                    .timeout
                    .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                limits: Limits {
                    memory_bytes: limits.memory.map(cogo_protocol::units::Bytes::get),
                    cpus: limits.cpus.map(cogo_protocol::units::Cpus::cores),
                    pids: limits.pids.map(std::num::NonZeroU32::get),
                    disk_bytes: limits.disk.map(cogo_protocol::units::Bytes::get),
                    ..Limits::default()
                },
                network: match &work.network {
                    StepNetwork::None => Network::None,
                    StepNetwork::Host => Network::Host,
                    StepNetwork::Allow(domains) => Network::Allow(domains.clone()),
                },
                isolation: self.isolation,
                ..CommandRequest::default()
            },
            priority: work.priority,
            ..TaskRequest::default()
        })
    }

    /// Follows a task to its end, over as many connections as it takes.
    async fn follow(
        &self,
        task_id: &TaskId,
        tell: &mut dyn FnMut(Progress<'_>),
        cancel: &Cancel,
    ) -> Result<Outcome, Failure> {
        let mut place = Place::default();
        let mut seen_at = Instant::now();
        loop {
            match self.connect(task_id, &place).await {
                Ok(mut socket) => {
                    let mut connection = Watch {
                        remote: self,
                        task_id,
                        place: &mut place,
                        tell,
                        cancel,
                    };
                    if connection.watch(&mut socket).await? {
                        return self.outcome(task_id).await;
                    }
                    seen_at = Instant::now();
                }
                Err(failure) if seen_at.elapsed() > GONE_MAX => return Err(failure),
                Err(_) => {}
            }
            sleep(RETRY).await;
        }
    }

    async fn connect(
        &self,
        task_id: &TaskId,
        place: &Place,
    ) -> Result<WebSocketStream<Wire>, Failure> {
        let attempt = place
            .attempt
            .map_or_else(String::new, |attempt| format!("&attempt={attempt}"));
        let path = format!(
            "{}/stream?fromSeq={}{attempt}",
            path(task_id),
            place.next_seq
        );
        self.client.web_socket(&path, SUBPROTOCOL_BINARY).await
    }

    async fn outcome(&self, task_id: &TaskId) -> Result<Outcome, Failure> {
        let task: TaskStatus = self.client.get(&path(task_id)).await?;
        match (task.verdict, task.error) {
            (Some(verdict), _) => Ok(verdict.outcome),
            (None, Some(error)) => Err(Failure::new(error)),
            (None, None) => Err(Failure::new("the task ended without a verdict")),
        }
    }

    async fn stop(&self, task_id: &TaskId, grace: &str) -> Result<(), Failure> {
        let path = format!("{}{grace}", path(task_id));
        self.client
            .send(Method::DELETE, &path, None::<&()>)
            .await
            .map(drop)
    }
}

fn path(task_id: &TaskId) -> String {
    format!("/tasks/{}", encoded(task_id.as_str()))
}

/// One connection that shows a task.
struct Watch<'a> {
    remote: &'a Remote,
    task_id: &'a TaskId,
    place: &'a mut Place,
    tell: &'a mut dyn FnMut(Progress<'_>),
    cancel: &'a Cancel,
}

impl Watch<'_> {
    /// Whether the task is over; otherwise the connection is.
    async fn watch(&mut self, socket: &mut WebSocketStream<Wire>) -> Result<bool, Failure> {
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(frame))) => self.output(&frame)?,
                    Some(Ok(Message::Text(text))) => {
                        if self.hear(&text) {
                            return Ok(true);
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Ok(false),
                },
                () = sleep(CANCEL_PACE) => self.stop_if_asked().await?,
            }
        }
    }

    async fn stop_if_asked(&mut self) -> Result<(), Failure> {
        if self.cancel.is_asked() && self.place.stops == 0 {
            self.place.stops = 1;
            self.remote.stop(self.task_id, "").await?;
        }
        if self.cancel.is_insisted() && self.place.stops == 1 {
            self.place.stops = 2;
            self.remote.stop(self.task_id, "?graceMs=0").await?;
        }
        Ok(())
    }

    fn output(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let (header, bytes) = OutputHeader::decode(frame)?;
        self.place.next_seq = header.seq + 1;
        (self.tell)(Progress::Output(header.stream, bytes));
        Ok(())
    }

    /// Takes a message; true at the end of the task.
    fn hear(&mut self, text: &str) -> bool {
        // A newer server may say things that are not known here.
        match serde_json::from_str(text) {
            Ok(FromWorker::ExecutionStarted(started)) => {
                if self.place.attempt.is_some() && self.place.attempt != started.attempt {
                    self.place.next_seq = 0;
                }
                self.place.attempt = started.attempt;
                false
            }
            Ok(FromWorker::TaskComplete(_)) => true,
            Ok(FromWorker::TaskError(error)) => error.last_seq.is_some(),
            Ok(_) | Err(_) => false,
        }
    }
}

impl Dispatch for Remote {
    fn run(
        &self,
        work: &Work,
        tell: &mut dyn FnMut(Progress<'_>),
        cancel: &Cancel,
    ) -> Result<Outcome, DispatchError> {
        let outcome = self.request(work).and_then(|request| {
            block_on(async {
                let post = Method::POST;
                let task: TaskStatus = self.client.ask(post, "/execute", Some(&request)).await?;
                tell(Progress::Handle(task.task_id.as_str()));
                self.follow(&task.task_id, tell, cancel).await
            })
        });
        outcome.map_err(Failure::into_dispatch)
    }
}
