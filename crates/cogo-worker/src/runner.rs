//! Runs one task from its start to its end: talks with the exec's supervisor.
//!
//! ```text
//! table ──actions──▶ runner ──socket 1──▶ supervisor    stop, signals, size
//!                      │ └─────socket 2──▶              input
//!                      ◀──────notices─────
//!                      └──progress──▶ connections
//! ```
//!
//! Input has a socket of its own, because a program that does not read makes it fill up, and a
//! stop must still get through then. Output does not pass here: connections read the log.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cogo_protocol::command::{CommandRequest, StdinRequest};
use cogo_sandbox::control::{ControlClient, INPUT_MAX, Notice, Request};
use cogo_sandbox::exec_dir::{ExecDir, ExecState};
use cogo_sandbox::spec::PtySize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::block::{Attendant, InputEnd, Order, Watcher};
use crate::starter::{Begin, Starter, begun, unreadable};
use crate::task::{Begun, End, Phase, Progress, Task};
use crate::task_record::{InputRecord, PhaseRecord, TaskRecord, remove_workspace};

/// How often to look at an exec whose supervisor cannot be reached.
const WITHOUT_SUPERVISOR: Duration = Duration::from_millis(20);
/// Requests that wait for a busy supervisor. More wait in the queue of actions.
const OUTGOING_MAX: usize = 64;

/// What a client wants done with a running task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Write to standard input, then end it if asked to.
    Input { bytes: Vec<u8>, eof: bool },
    /// Tell the program its terminal's size.
    Resize(PtySize),
    /// Send a signal to the command's process group.
    Signal(i32),
    /// End the exec.
    Stop {
        grace_period: Duration,
        /// The polite signal, if it is to be another than SIGTERM.
        signal: Option<i32>,
    },
}

/// What a runner is given.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: Arc<Task>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) actions: mpsc::Receiver<Action>,
    /// Bytes of input that were taken from clients and not yet by the supervisor.
    pub(crate) input_pending: Arc<AtomicUsize>,
    pub(crate) kind: JobKind,
}

/// Where a runner begins.
#[derive(Debug)]
pub(crate) enum JobKind {
    /// Start a command, once the attempt that it replaces has ended.
    Start {
        request: Box<CommandRequest>,
        after: Option<watch::Receiver<Progress>>,
    },
    /// Watch an exec that an earlier worker started.
    Watch,
}

/// What all runners share.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) starter: Arc<Starter>,
    pub(crate) watcher: Arc<Watcher>,
    /// To be told when a task hangs, or hangs no more.
    pub(crate) blocks_changed: Arc<Notify>,
}

/// Runs the task. It has ended when this returns, and its fresh workspace is gone.
pub(crate) async fn run(job: Job, tools: Tools) {
    let record = &job.task.record;
    let span = info_span!("task", task_id = %record.task_id, attempt = record.attempt);
    let task = Arc::clone(&job.task);
    let runner = Runner {
        exec: task.exec.clone(),
        task: Arc::clone(&task),
        progress: job.progress,
        actions: job.actions,
        input_pending: job.input_pending,
        tools,
        attendant: None,
        unwatched: false,
        input: VecDeque::new(),
        kill_at: None,
        text: None,
    };
    runner.run(job.kind).instrument(span).await;
    blocking(move || remove_workspace(&task.record)).await;
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

struct Runner {
    task: Arc<Task>,
    exec: ExecDir,
    progress: watch::Sender<Progress>,
    actions: mpsc::Receiver<Action>,
    input_pending: Arc<AtomicUsize>,
    tools: Tools,
    /// Who watches the exec for blocks, once it runs.
    attendant: Option<Attendant>,
    /// Whether it cannot be watched.
    unwatched: bool,
    /// Input on its way to the supervisor.
    input: VecDeque<Request>,
    /// When a stop with a signal of the client's becomes a kill.
    kill_at: Option<Instant>,
    /// Whether the input is the request's own text, which must be on record until it is written.
    text: Option<TaskRecord>,
}

/// Why a supervisor is not listened to any more.
enum Parting {
    Ended,
    Lost,
}

impl Runner {
    async fn run(mut self, kind: JobKind) {
        let end = match kind {
            JobKind::Start { request, after } => {
                if let Some(after) = after {
                    wait_for_end(after).await;
                }
                self.start(request).await
            }
            JobKind::Watch => self.watch_again().await,
        };
        match &end {
            End::Verdict(verdict) => info!(outcome = ?verdict.outcome, "task ended"),
            End::Refused(refusal) => {
                info!(code = refusal.code, error = refusal.error, "task failed");
            }
        }
        self.attendant = None;
        let log_end = match &end {
            End::Verdict(verdict) => verdict.log_end,
            End::Refused(_) => 0,
        };
        self.progress.send_modify(|progress| {
            progress.log_end = progress.log_end.max(log_end);
            progress.phase = Phase::Ended(Arc::new(end));
        });
    }

    async fn start(&mut self, request: Box<CommandRequest>) -> End {
        if let StdinRequest::Text(text) = &request.stdin {
            self.take_input(text.as_bytes(), true);
            self.text = Some(self.task.record.clone());
        }
        let (starter, task) = (Arc::clone(&self.tools.starter), Arc::clone(&self.task));
        match blocking(move || starter.start(&task.record, &request)).await {
            Begin::Ended(end) => end,
            Begin::Running(begun) => {
                info!(pid = begun.pid, "task started");
                self.tell_running(begun);
                self.follow().await
            }
        }
    }

    async fn watch_again(&mut self) -> End {
        info!("found a task that an earlier worker started");
        if self.task.record.input == InputRecord::Text {
            // What was written of it is not known, and a program must not take a part for all.
            warn!("its input was lost with that worker; stopping it");
            self.kill_at = Some(Instant::now());
        }
        self.follow().await
    }

    fn tell_running(&self, begun: Begun) {
        self.progress.send_modify(|progress| {
            progress.phase = Phase::Running;
            progress.begun = Some(begun);
        });
    }

    /// Follows the exec until there is a verdict.
    async fn follow(&mut self) -> End {
        loop {
            self.attend().await;
            if let Ok(control) = self.connect().await
                && let Ok(parting) = self.listen(control).await
            {
                match parting {
                    Parting::Ended => debug!("the supervisor tells the end"),
                    Parting::Lost => debug!("the supervisor is gone, or turned us away"),
                }
            }
            let exec = self.exec.clone();
            match blocking(move || exec.state()).await {
                Ok(ExecState::Ended(verdict)) => {
                    self.note_begun();
                    return End::Verdict(Box::new(verdict));
                }
                Ok(ExecState::Running(running)) if self.progress.borrow().begun.is_none() => {
                    self.tell_running(begun(&running));
                }
                Ok(ExecState::Starting | ExecState::Running(_)) => {}
                Err(error) => return unreadable(&error),
            }
            self.progress.send_modify(|progress| progress.looks += 1);
            tokio::time::sleep(WITHOUT_SUPERVISOR).await;
        }
    }

    /// Has the exec watched for blocks from the moment it is known to run.
    async fn attend(&mut self) {
        let runs = self.progress.borrow().begun.is_some();
        if !runs || self.attendant.is_some() || self.unwatched {
            return;
        }
        let watcher = Arc::clone(&self.tools.watcher);
        let task = Arc::clone(&self.task);
        let input = match self.task.record.input {
            InputRecord::Open => InputEnd::Ahead,
            InputRecord::Closed | InputRecord::Text => InputEnd::Past,
        };
        self.attendant =
            blocking(move || Attendant::open(watcher, &task.exec, &task.record.block, input)).await;
        self.unwatched = self.attendant.is_none();
    }

    /// Does what is to be done about a block.
    fn obey(&mut self, order: Order, outgoing: &mut VecDeque<Request>) {
        match order {
            Order::Publish(blocks) => {
                self.progress
                    .send_modify(|progress| progress.blocks = blocks);
                self.tools.blocks_changed.notify_one();
            }
            Order::EndInput => {
                info!("it waits for input that nobody sends; ending its input");
                self.progress
                    .send_modify(|progress| progress.input_ended = true);
                self.queue_input(&[], true);
            }
            Order::End {
                block,
                grace_period,
            } => {
                info!(reason = block.reason.name(), "it is blocked; stopping it");
                outgoing.push_back(Request::StopBlocked {
                    grace_period,
                    block: block.cause(),
                });
            }
        }
    }

    async fn connect(&self) -> io::Result<AsyncFd<ControlClient>> {
        let exec = self.exec.clone();
        let client = blocking(move || ControlClient::connect(&exec)).await?;
        // The client owns its one descriptor for as long as it lives, which is all that is asked.
        #[expect(
            deprecated,
            reason = "the same with an `unsafe` promise, kept here too"
        )]
        AsyncFd::with_interest(client, Interest::READABLE | Interest::WRITABLE)
    }

    /// Passes on what is asked and what is told, until the supervisor parts.
    async fn listen(&mut self, control: AsyncFd<ControlClient>) -> io::Result<Parting> {
        let mut outgoing = VecDeque::new();
        let mut feed = None;
        loop {
            if !self.input.is_empty() && feed.is_none() {
                feed = Some(self.connect().await?);
            }
            let kill_at = self.kill_at.unwrap_or_else(Instant::now);
            tokio::select! {
                guard = control.readable() => {
                    let mut guard = guard?;
                    if let Some(parting) = self.hear(control.get_ref()) {
                        return Ok(parting);
                    }
                    guard.clear_ready();
                    self.attend().await;
                }
                guard = control.writable(), if !outgoing.is_empty() => {
                    let mut guard = guard?;
                    if send_all(control.get_ref(), &mut outgoing, |_| ())? == Sent::Part {
                        guard.clear_ready();
                    }
                }
                guard = writable(feed.as_ref()), if !self.input.is_empty() => {
                    let mut guard = guard?;
                    let pending = Arc::clone(&self.input_pending);
                    let sent = send_all(guard.get_inner(), &mut self.input, |request| {
                        pending.fetch_sub(length(request), Ordering::Relaxed);
                    })?;
                    match sent {
                        Sent::Part => guard.clear_ready(),
                        Sent::All => self.note_written(),
                    }
                }
                () = tokio::time::sleep_until(kill_at), if self.kill_at.is_some() => {
                    self.kill_at = None;
                    outgoing.push_back(Request::Stop { grace_period: Duration::ZERO });
                }
                order = next_order(self.attendant.as_mut()) => self.obey(order, &mut outgoing),
                Some(action) = self.actions.recv(), if outgoing.len() < OUTGOING_MAX => {
                    self.act(action, &mut outgoing);
                }
            }
        }
    }

    /// Takes in all notices that are there.
    fn hear(&self, control: &ControlClient) -> Option<Parting> {
        let mut log_end = None;
        let parting = loop {
            match control.try_receive() {
                Ok(Some(Notice::LogEnd(seq))) => log_end = Some(seq),
                Ok(Some(Notice::Running)) => {}
                Ok(Some(Notice::Ended)) => break Some(Parting::Ended),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Ok(None) | Err(_) => break Some(Parting::Lost),
            }
        };
        if let Some(seq) = log_end {
            self.progress.send_if_modified(|progress| {
                let grew = seq > progress.log_end;
                progress.log_end = progress.log_end.max(seq);
                grew
            });
        }
        self.note_begun();
        parting
    }

    /// Tells the command's start, if that is known and was not told.
    fn note_begun(&self) {
        if self.progress.borrow().begun.is_none()
            && let Ok(Some(running)) = self.exec.running()
        {
            self.tell_running(begun(&running));
        }
    }

    fn act(&mut self, action: Action, outgoing: &mut VecDeque<Request>) {
        match action {
            // Its bytes are counted as pending since they were taken from the client.
            Action::Input { bytes, eof } => {
                if let Some(attendant) = &mut self.attendant {
                    attendant.input_sent(eof);
                }
                self.queue_input(&bytes, eof);
            }
            Action::Resize(size) => outgoing.push_back(Request::Resize(size)),
            Action::Signal(signal) => outgoing.push_back(Request::Signal(signal)),
            Action::Stop {
                grace_period,
                signal: None,
            } => outgoing.push_back(Request::Stop { grace_period }),
            Action::Stop {
                grace_period,
                signal: Some(signal),
            } => {
                outgoing.push_back(Request::Signal(signal));
                self.kill_at = Some(Instant::now() + grace_period);
            }
        }
    }

    fn take_input(&mut self, bytes: &[u8], eof: bool) {
        self.input_pending.fetch_add(bytes.len(), Ordering::Relaxed);
        self.queue_input(bytes, eof);
    }

    fn queue_input(&mut self, bytes: &[u8], eof: bool) {
        let pieces = bytes.chunks(INPUT_MAX);
        self.input
            .extend(pieces.map(|piece| Request::Input(piece.to_vec())));
        if eof {
            self.input.push_back(Request::Eof);
        }
    }

    /// A text that is with the supervisor will reach the program, whatever becomes of the worker.
    fn note_written(&mut self) {
        let Some(record) = self.text.take() else {
            return;
        };
        let starter = Arc::clone(&self.tools.starter);
        let record = TaskRecord {
            input: InputRecord::Closed,
            phase: PhaseRecord::Started,
            ..record
        };
        // Nobody has to wait for it: without the note the task is stopped after a worker's death.
        drop(tokio::task::spawn_blocking(move || starter.write(&record)));
    }
}

/// What came of sending a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    /// There was no room for the rest.
    Part,
}

fn send_all(
    client: &ControlClient,
    queue: &mut VecDeque<Request>,
    mut sent: impl FnMut(&Request),
) -> io::Result<Sent> {
    while let Some(request) = queue.front() {
        match client.try_send(request) {
            Ok(()) => sent(request),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::Part),
            Err(error) => return Err(error),
        }
        queue.pop_front();
    }
    Ok(Sent::All)
}

/// Never ready for an exec that nobody watches.
async fn next_order(attendant: Option<&mut Attendant>) -> Order {
    match attendant {
        Some(attendant) => attendant.next().await,
        None => std::future::pending().await,
    }
}

/// Never ready without a socket.
async fn writable(
    socket: Option<&AsyncFd<ControlClient>>,
) -> io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, ControlClient>> {
    match socket {
        Some(socket) => socket.writable().await,
        None => std::future::pending().await,
    }
}

fn length(request: &Request) -> usize {
    match request {
        Request::Input(bytes) => bytes.len(),
        Request::Eof
        | Request::Resize(_)
        | Request::Signal(_)
        | Request::Stop { .. }
        | Request::StopBlocked { .. } => 0,
    }
}

async fn wait_for_end(mut progress: watch::Receiver<Progress>) {
    // A sender that is gone has nothing more to tell.
    let _ = progress.wait_for(|progress| progress.end().is_some()).await;
}
