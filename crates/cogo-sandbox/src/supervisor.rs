//! The process that owns one exec: its sandbox, its output, its limits, its verdict.
//!
//! ```text
//! request ─▶ check ─▶ prepare (sandbox, log, sockets) ─▶ command runs ─▶ watch
//!                │                                                        │ ended, stopped,
//!                ▼                                                        ▼ or process 1 gone
//!             refusal                                end sandbox ─▶ drain ─▶ judge ─▶ verdict
//! ```
//!
//! It is single-threaded, belongs to nobody once the command runs, and holds the exec's lock
//! for as long as it lives. Everything it learns is on disk before anyone is told.

mod check;
mod clients;
mod clocks;
mod input;
mod judge;
pub(crate) mod orphans;
mod output;
mod prepare;
mod proxy_process;
mod reuse;
pub(crate) mod session;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use self::clients::Clients;
use self::clocks::{Clocks, Due};
use self::input::Input;
use self::judge::Facts;
use self::output::Outputs;
use self::prepare::Prepared;
pub(crate) use self::prepare::{design, sandbox_part};
pub(crate) use self::reuse::Counted;
use self::reuse::{MadeFor, Reusable};
use self::session::SessionRequest;
use crate::cgroup::{Cgroup, CgroupCapabilities, Cgroups};
use crate::control::{Notice, Request};
use crate::exec_dir::{ExecDir, ExecLock, KILL_MAX, unix_time_ms};
use crate::init::ExecReport;
use crate::message;
use crate::sandbox::{ExecChannel, Sandbox, failed};
use crate::spec::ExecSpec;
use crate::start::{Refusal, RefusalKind, Secret, StartAnswer, StartRequest};
use crate::sys::{self, ReapedUsage};
use crate::verdict::{BlockCause, ExitStatus, TimeoutClock, Verdict};

/// The supervisor's life. Its request comes over standard input.
pub(crate) fn main() -> ! {
    // Ctrl-C at the starter's terminal is not meant for us.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"cogo-supervisor");
    sys::ask_for_short_slices();
    let code = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => {
            release_stdin();
            i32::from(!serve_start(&socket, None))
        }
        Err(_) => 1,
    };
    std::process::exit(code)
}

/// A sandbox with its control group.
pub(crate) struct Parked {
    pub(crate) sandbox: Sandbox,
    pub(crate) cgroup: Option<Cgroup>,
    /// Whether it is bounded, furnished and sealed already.
    pub(crate) is_sealed: bool,
    /// What the group counted for others.
    pub(crate) before: Counted,
    /// What it was made for, if it has served already.
    made_for: Option<MadeFor>,
}

impl Parked {
    /// One that has served nobody.
    fn fresh(sandbox: Sandbox, cgroup: Option<Cgroup>) -> Self {
        Self {
            sandbox,
            cgroup,
            is_sealed: false,
            before: Counted::default(),
            made_for: None,
        }
    }
}

/// Serves the errand that comes over the socket. A zygote knows the control groups already.
pub(crate) fn serve_start(socket: &OwnedFd, cgroups: Option<Cgroups>) -> bool {
    let Some((errand, beside)) = receive_errand(socket) else {
        return false;
    };
    let cgroups = cgroups.unwrap_or_else(|| Cgroups::discover(errand.cgroup_base()));
    let make =
        |spec: &ExecSpec, exec: &ExecDir| prepare::make_sandbox(&design(spec), exec.id(), &cgroups);
    let finished = errand.see_through(socket, beside, make, cgroups.capabilities());
    let is_done = finished.is_done;
    serve_again(socket, finished, &cgroups);
    is_done
}

/// Serves errands for as long as the sandbox is fit for another.
fn serve_again(socket: &OwnedFd, mut finished: Finished, cgroups: &Cgroups) {
    while let Some(reusable) = finished.reusable {
        if message::send(socket.as_fd(), &Parting::Ready, &[]).is_err() {
            return;
        }
        let Some((errand, beside)) = receive_errand(socket) else {
            return;
        };
        let make = |spec: &ExecSpec, exec: &ExecDir| reusable.take(spec, exec, cgroups);
        finished = errand.see_through(socket, beside, make, cgroups.capabilities());
    }
}

/// What a supervisor says after an exec, to a starter that may want its sandbox for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Parting {
    /// The exec has ended. What became of the sandbox comes next: [`Self::Ready`], or nothing more.
    Ended,
    /// It is as good as new.
    Ready,
}

/// How an errand ended.
struct Finished {
    /// Whether it came to its proper end.
    is_done: bool,
    reusable: Option<Reusable>,
}

impl Finished {
    fn for_good(is_done: bool) -> Self {
        Self {
            is_done,
            reusable: None,
        }
    }
}

/// What a supervisor prepares before it knows its errand.
pub(crate) enum Preparation {
    /// A sandbox for a spec, of which the command is not looked at.
    Sandbox(Box<ExecSpec>),
    /// Namespaces for any design of the usual shape.
    Blank,
}

/// Prepares ahead of need, says so over the socket, and waits there for the errand that fits.
/// What could not be prepared refuses that errand.
pub(crate) fn park(socket: &OwnedFd, preparation: &Preparation, cgroups: &Cgroups) {
    match preparation {
        Preparation::Sandbox(spec) => {
            let ahead = prepare::Ahead::make(spec, cgroups);
            await_errand(socket, ahead, cgroups, |ahead, spec, exec| {
                ahead.take(spec, exec, cgroups)
            });
        }
        Preparation::Blank => {
            let blank = prepare::ParkedBlank::make(cgroups);
            await_errand(socket, blank, cgroups, |blank, spec, _| {
                blank.build(&design(spec))
            });
        }
    }
}

fn await_errand<T>(
    socket: &OwnedFd,
    prepared: Result<T, Refusal>,
    cgroups: &Cgroups,
    finish: impl FnOnce(T, &ExecSpec, &ExecDir) -> Result<Parked, Refusal>,
) {
    if message::send(socket.as_fd(), &prepared.as_ref().err(), &[]).is_err() {
        return;
    }
    if let Some((errand, beside)) = receive_errand(socket) {
        let make =
            |spec: &ExecSpec, exec: &ExecDir| prepared.and_then(|ready| finish(ready, spec, exec));
        let finished = errand.see_through(socket, beside, make, cgroups.capabilities());
        serve_again(socket, finished, cgroups);
    }
}

/// What a starter wants of a fresh supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Errand {
    /// Run one command.
    Start(StartRequest),
    /// Keep a sandbox in which many commands run.
    OpenSession(SessionRequest),
}

impl Errand {
    fn cgroup_base(&self) -> Option<&Path> {
        match self {
            Self::Start(request) => request.cgroup_base.as_deref(),
            Self::OpenSession(request) => request.cgroup_base.as_deref(),
        }
    }

    /// Does it, in a sandbox that `make` makes or hands over.
    fn see_through(
        self,
        socket: &OwnedFd,
        beside: Option<OwnedFd>,
        make: impl FnOnce(&ExecSpec, &ExecDir) -> Result<Parked, Refusal>,
        capabilities: &CgroupCapabilities,
    ) -> Finished {
        let Some(beside) = beside else {
            return Finished::for_good(false);
        };
        match self {
            Self::Start(request) => run(socket, || {
                let lock = ExecLock::from_fd(beside);
                prepare::prepare(request, lock, make, capabilities)
            }),
            Self::OpenSession(request) => {
                Finished::for_good(session::keep(socket, beside, &request, make, capabilities))
            }
        }
    }
}

/// Waits for an errand and what rides beside it: the exec's lock, or the queue of a session.
fn receive_errand(socket: &OwnedFd) -> Option<(Errand, Option<OwnedFd>)> {
    let (errand, beside) = message::receive(socket.as_fd()).ok()??;
    Some((errand, beside.into_iter().next()))
}

/// Ends a forked process without the destructors of what it shares with its parent.
fn exit_now() -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(0) }
}

/// Prepares a command, answers and, if it runs, stays with it to its end.
fn run(socket: &OwnedFd, prepare: impl FnOnce() -> Result<Prepared, Refusal>) -> Finished {
    let prepared = prepare();
    let answer = match &prepared {
        Ok(Prepared::Running(supervisor)) => StartAnswer::Running(supervisor.running.clone()),
        Ok(Prepared::Ended) => StartAnswer::Ended,
        Err(refusal) => StartAnswer::Refused(refusal.clone()),
    };
    // The starter may be gone; the exec does not depend on it.
    let _ = message::send(socket.as_fd(), &answer, &[]);
    match prepared {
        Ok(Prepared::Running(mut supervisor)) => {
            supervisor.watch();
            supervisor.finish(socket)
        }
        Ok(Prepared::Ended) => Finished::for_good(true),
        Err(_) => Finished::for_good(false),
    }
}

/// Standard input was the request socket; nothing may keep that open once it is answered.
pub(crate) fn release_stdin() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

/// A running exec.
pub(crate) struct Supervisor {
    exec: ExecDir,
    lock: ExecLock,
    spec: ExecSpec,
    running: crate::exec_dir::Running,
    sandbox: Option<Sandbox>,
    cgroup: Option<Cgroup>,
    /// Whether sandbox and group are shared with other execs.
    in_session: bool,
    channel: ExecChannel,
    command: Command,
    outputs: Outputs,
    input: Input,
    clients: Clients,
    clocks: Clocks,
    scratch: Option<OwnedFd>,
    /// What the sandbox was made for, if it may serve again.
    made_for: Option<MadeFor>,
    proxy: Option<proxy_process::ProxyProcess>,
    facts: Facts,
}

/// The command as the host sees it.
struct Command {
    /// Its process group; `None` if it had ended before we looked.
    group: Option<Pid>,
    #[expect(
        dead_code,
        reason = "held so that the process id cannot be reused while we signal it"
    )]
    pidfd: OwnedFd,
}

/// Why an exec is being stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    TimedOut {
        after: Duration,
        clock: TimeoutClock,
    },
    Blocked(BlockCause),
    Cancelled,
}

/// Whether the watch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    End,
}

/// What a poll found ready. The order is the order of service: output before the end.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Output(usize),
    Input,
    Listener,
    Client(usize),
    Proxy,
    Report,
    Init,
}

impl Supervisor {
    /// Serves everyone until the exec has to be ended.
    fn watch(&mut self) {
        loop {
            for ready in self.wait() {
                if self.serve(ready) == Flow::End {
                    return;
                }
            }
            if self.check_clocks() == Flow::End {
                return;
            }
            self.clients.announce(self.outputs.log_end());
        }
    }

    fn wait(&self) -> Vec<Ready> {
        let mut sources = Vec::with_capacity(8);
        let mut polled = Vec::with_capacity(8);
        let mut add = |source, fd, flags| {
            sources.push(source);
            polled.push(PollFd::from_borrowed_fd(fd, flags));
        };
        for (index, fd) in self.outputs.open() {
            add(Ready::Output(index), fd, PollFlags::IN);
        }
        if let Some(fd) = self.input.wants_to_write() {
            add(Ready::Input, fd, PollFlags::OUT);
        }
        add(Ready::Listener, self.clients.listener(), PollFlags::IN);
        for (index, fd, flags) in self.clients.connections(self.input.has_room()) {
            add(Ready::Client(index), fd, flags);
        }
        if let Some(fd) = self
            .proxy
            .as_ref()
            .and_then(proxy_process::ProxyProcess::events)
        {
            add(Ready::Proxy, fd, PollFlags::IN);
        }
        add(Ready::Report, self.channel.as_fd(), PollFlags::IN);
        if let Some(sandbox) = &self.sandbox {
            add(Ready::Init, sandbox.init_pidfd(), PollFlags::IN);
        }
        let timeout = self.clocks.next(self.outputs.flush_due()).map(|due| {
            Timespec::try_from(due.saturating_duration_since(Instant::now())).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            })
        });
        if poll(&mut polled, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let found = polled.iter().zip(sources);
        found
            .filter(|(fd, _)| !fd.revents().is_empty())
            .map(|(_, source)| source)
            .collect()
    }

    fn serve(&mut self, ready: Ready) -> Flow {
        match ready {
            Ready::Output(index) => {
                if self.outputs.read(index) {
                    self.clocks.output_seen();
                }
                self.sample_scratch();
                Flow::Continue
            }
            Ready::Input => {
                self.input.write();
                Flow::Continue
            }
            Ready::Listener => {
                self.clients.accept(self.outputs.log_end());
                Flow::Continue
            }
            Ready::Client(index) => self.serve_client(index),
            Ready::Proxy => {
                if let Some(proxy) = &mut self.proxy {
                    self.facts.network_refusals.add(proxy.read_events());
                }
                Flow::Continue
            }
            Ready::Report => self.hear_report(),
            Ready::Init => {
                // A report sent before the death is still in the channel.
                self.hear_report();
                Flow::End
            }
        }
    }

    fn serve_client(&mut self, index: usize) -> Flow {
        let Some(request) = self.clients.receive(index) else {
            return Flow::Continue;
        };
        match request {
            Request::Input(bytes) => self.input.push(&bytes),
            Request::Eof => self.input.end(),
            Request::Resize(size) => self.input.resize(size),
            Request::Signal(signal) => {
                if let Some(group) = self.command.group {
                    sys::signal_group(group, signal);
                }
            }
            Request::Stop { grace_period } => {
                return self.stop(StopCause::Cancelled, grace_period);
            }
            Request::StopBlocked {
                grace_period,
                block,
            } => return self.stop(StopCause::Blocked(block), grace_period),
        }
        Flow::Continue
    }

    /// Asks everything inside to end, and sets the clock of the kill.
    fn stop(&mut self, cause: StopCause, grace_period: Duration) -> Flow {
        self.facts.stop.get_or_insert(cause);
        if grace_period.is_zero() {
            return Flow::End;
        }
        if let Some(sandbox) = &self.sandbox {
            sandbox.signal_all(libc::SIGTERM);
            // A stopped process does not see the signal before it goes on.
            sandbox.signal_all(libc::SIGCONT);
        }
        self.clocks.kill_in(grace_period);
        Flow::Continue
    }

    fn check_clocks(&mut self) -> Flow {
        self.outputs.flush_if_due();
        match self.clocks.due() {
            None => Flow::Continue,
            Some(Due::Kill) => Flow::End,
            Some(Due::Timeout { after, clock }) => {
                self.stop(StopCause::TimedOut { after, clock }, self.spec.grace_period)
            }
        }
    }

    /// Hears how the command ended. Only called when a report or the channel's end is there.
    fn hear_report(&mut self) -> Flow {
        match self.channel.receive() {
            Ok(Some((ExecReport::Ended { status, usage }, _))) => {
                self.facts.status = Some(exit_status(status));
                self.facts.core_dumped = libc::WCOREDUMP(status);
                self.facts.command_usage = usage;
                Flow::End
            }
            Ok(Some((ExecReport::Started | ExecReport::NotStarted { .. }, _))) => Flow::Continue,
            Ok(None) | Err(_) => Flow::End,
        }
    }

    /// The program may empty a full disk before it ends, so fullness is looked for on the way.
    fn sample_scratch(&mut self) {
        if self.clocks.sample_due() {
            self.look_at_scratch();
        }
    }

    fn look_at_scratch(&mut self) {
        self.facts.disk_full |= self.scratch.as_ref().is_some_and(is_full);
    }

    /// Ends what is left, reads what was written, judges, and writes the verdict.
    fn finish(mut self, socket: &OwnedFd) -> Finished {
        self.look_at_scratch();
        // With nobody left inside but process 1, which starts nothing unasked, there is nothing
        // to end, and the verdict need not wait until the sandbox is taken down.
        self.facts.leftovers = self.count_leftovers();
        if self.facts.leftovers != Some(0) {
            self.end_tree();
        }
        // Whatever wrote is dead now, so what is in the pipes is all there will be.
        self.outputs.drain();
        if let Some(proxy) = self.proxy.take() {
            self.facts.network_refusals.add(proxy.end());
        }
        self.read_counters();
        self.facts.wall = self.clocks.since_start();
        self.facts.log = self.outputs.close();
        let verdict = self.judge();
        let written = self.exec.write_verdict(&verdict, &self.lock).is_ok();
        let _ = std::fs::remove_file(self.exec.control_path());
        // Before the end is told, so that whoever starts the next exec then knows of this.
        let serves_again = written
            && self.may_serve_again()
            && message::send(socket.as_fd(), &Parting::Ended, &[]).is_ok();
        if !serves_again {
            self.made_for = None;
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
        self.clients.tell_end(verdict.log_end);
        // Nothing of ours may be in the exec's folder once the lock is free.
        if prepare::has_overlay(&self.exec) {
            drop(self.sandbox.take());
            self.exec.remove_overlay();
        }
        self.lock.release();
        // Those who waited for the lock go first: what follows is nothing to wait for.
        rustix::thread::sched_yield();
        let reusable = match (self.made_for, self.sandbox, self.cgroup) {
            (Some(made_for), Some(sandbox), Some(cgroup)) => {
                let events = self.facts.before.events;
                Reusable::check(made_for, sandbox, cgroup, self.scratch, events)
            }
            (_, sandbox, cgroup) => {
                drop(sandbox);
                drop(cgroup);
                None
            }
        };
        Finished {
            is_done: written,
            reusable,
        }
    }

    /// Kills everything and waits until the kernel says that it is gone.
    fn end_tree(&mut self) {
        let reaped = self.sandbox.take().map(Sandbox::end);
        self.facts.tree_usage = reaped
            .and_then(Result::ok)
            .map_or(ReapedUsage::default(), |reaped| reaped.usage);
        if let Some(cgroup) = self.cgroup.as_ref().filter(|_| !self.in_session)
            && let Ok(killed) = cgroup.kill(KILL_MAX)
        {
            self.facts.survivors = u32::try_from(killed.survivors).unwrap_or(u32::MAX);
        }
    }

    /// How many processes outlived the command; `None` if it did not end by itself or nobody
    /// can tell. What an exec leaves in a session stays there, as in any machine.
    fn count_leftovers(&self) -> Option<u32> {
        self.facts.status?;
        // What a stop has reached and the kernel not yet taken away has outlived nothing.
        if self.facts.stop.is_some() {
            return None;
        }
        if self.in_session {
            return Some(0);
        }
        let pids = self.cgroup.as_ref()?.pids().ok()?;
        // Process 1 lives in the group too.
        Some(u32::try_from(pids.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    fn read_counters(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            // A session's counters are not this exec's alone.
            self.facts.cgroup_usage =
                (!self.in_session).then(|| cgroup.usage().since(&self.facts.before.usage));
            self.facts.events = cgroup.events().ok();
        }
    }

    fn judge(&self) -> Verdict {
        let (outcome, incidents) = self.facts.judge(&self.spec.limits);
        Verdict {
            outcome,
            incidents,
            usage: self.facts.usage(&self.running.enforced.cgroup),
            survivors: self.facts.survivors,
            log_end: self.facts.log.end.seq,
            ended_at_ms: unix_time_ms(),
        }
    }
}

/// `waitpid`'s status as data.
fn exit_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signaled(libc::WTERMSIG(status))
    } else {
        ExitStatus::Exited(libc::WEXITSTATUS(status))
    }
}

fn is_full(scratch: &OwnedFd) -> bool {
    rustix::fs::fstatfs(scratch).is_ok_and(|found| found.f_bavail == 0 || found.f_ffree == 0)
}

/// What a secret's value must never reach: the spec on disk. Kept apart from the start.
pub(crate) type Secrets = Vec<Secret>;

/// A request that asks for something impossible.
pub(crate) fn invalid(
    message: impl Into<String>,
    hint: impl Into<Option<&'static str>>,
) -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        message: message.into(),
        hint: hint.into().map(str::to_owned),
    }
}

/// A kernel step of the preparation that failed.
pub(crate) fn step<T, E: Into<io::Error>>(name: &str, result: Result<T, E>) -> Result<T, Refusal> {
    result.map_err(|e| failed(name, &e.into()))
}

/// Tells every client, and forgets those that went away.
impl Clients {
    fn tell_end(&mut self, log_end: u64) {
        self.announce(log_end);
        self.broadcast(Notice::Ended);
    }
}
