//! Process 1 of a sandbox: builds the file system, seals itself, starts commands, reaps.
//!
//! It is a fork of the supervisor and trusts it; everything it starts is hostile. It holds on
//! to three facts that keep it out of reach from inside: as process 1 it has no signal
//! handlers, so signals from inside do nothing; it is not dumpable, so nobody inside can trace
//! it or open its `/proc` files; and before the first command it seals itself, dropping what it
//! could do to the sandbox from then on. Every command inherits the seal.
//!
//! ```text
//! clone ─▶ blank, waiting for ids ─▶ root built ─▶ parked ──Attach──▶ parked ──Seal──▶ sealed ──Spawn─▶ …
//! ```
//!
//! When the supervisor goes away the channel hangs up and process 1 ends, and with it, by the
//! kernel's rule for pid namespaces, everything inside.

mod attach;
mod command;
mod root;
mod seal;
mod traces;
mod tree;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, Pid, Signal};
use serde::{Deserialize, Serialize};

pub(crate) use attach::{Attachment, AttachmentKind};
pub(crate) use root::{EntryKind, Root, RootEntry};
use seal::BegunSeal;
pub(crate) use seal::{ProcessLimits, Seal};
use traces::TraceFinder;

use crate::message;
use crate::spec::PtySize;
use crate::sys::{self, ReapedUsage};

/// What process 1 needs to know from its first instruction on.
pub(crate) struct InitPlan {
    /// The supervisor's requests and our replies.
    pub(crate) channel: OwnedFd,
    /// `cgroup.procs` files of the group to live in.
    pub(crate) join: Vec<OwnedFd>,
    /// Whether this is process 1 of namespaces of its own. Otherwise it is an ordinary process
    /// that adopts orphans.
    pub(crate) confined: bool,
    /// Whether the network namespace is new, so that its loopback has to be brought up.
    pub(crate) own_network: bool,
}

/// How to furnish fresh namespaces.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NamespacePlan {
    /// User and group id inside.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether supplementary groups can and must be dropped.
    pub(crate) drop_groups: bool,
    pub(crate) root: Root,
    /// Whether to open the listener of the filtering proxy.
    pub(crate) proxy_listener: bool,
}

/// What the supervisor asks of process 1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InitRequest {
    /// Identity is mapped; build the root, if there is one to build. Its trees ride beside.
    Build(Option<Box<NamespacePlan>>),
    /// Show these trees; one descriptor each rides beside.
    Attach(Vec<Attachment>),
    /// Give up everything not needed to start commands.
    Seal(Seal),
    /// Start a command. Beside it ride the report channel, then standard input, output and
    /// error, unless it gets a terminal.
    Spawn(SpawnRequest),
    /// Signal everything inside; over a link, the command started over it and its descendants.
    SignalAll(i32),
    /// Serve the channel beside as well: a link, over which one exec of a session is run.
    Link,
    /// Answer when all that was asked before is done.
    Settle,
    /// Tell whether the commands that ran left any trace.
    Inspect,
    /// Over a link: kill the command started over it and its descendants.
    KillTree,
}

/// One command to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpawnRequest {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: PathBuf,
    pub(crate) pty: Option<PtySize>,
    /// Whether standard input rides beside; end of file otherwise.
    pub(crate) stdin: bool,
}

/// What process 1 answers on its channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InitReply {
    /// The root is built. Beside ride the scratch space and, if there is one, the proxy's
    /// listener.
    Ready,
    /// All that was asked before is done.
    Done,
    /// Everything is as it was when the sandbox was sealed, or not.
    Inspected { untouched: bool },
    /// A step failed; process 1 has ended.
    Failed(StepFailure),
}

/// A step of the set-up that the kernel refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StepFailure {
    /// What was attempted, as a lowercase fragment.
    pub(crate) step: String,
    pub(crate) errno: i32,
}

/// What process 1 tells about one command, on the channel that came with its request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ExecReport {
    /// It runs. Beside it ride its pidfd and, if it has one, the terminal's master.
    Started,
    /// It could not be started.
    NotStarted { message: String, errno: i32 },
    /// It ended; `status` is `waitpid`'s.
    Ended { status: i32, usage: ReapedUsage },
}

/// Result of a set-up step, with what was attempted.
pub(crate) type Step<T> = Result<T, StepFailure>;

/// Names the step that an I/O result belongs to.
pub(crate) trait AtStep<T> {
    fn at(self, step: impl Into<String>) -> Step<T>;
}

impl<T, E: Into<io::Error>> AtStep<T> for Result<T, E> {
    fn at(self, step: impl Into<String>) -> Step<T> {
        self.map_err(|e| {
            let errno = e.into().raw_os_error().unwrap_or(libc::EIO);
            StepFailure {
                step: step.into(),
                errno,
            }
        })
    }
}

/// The life of process 1, in the child that was just cloned. Never returns.
pub(crate) fn run(plan: InitPlan) -> ! {
    let mut keep = plan.descriptors();
    sys::close_all_but(&mut keep);
    let InitPlan {
        channel,
        join,
        confined,
        own_network,
    } = plan;
    let channel = channel.as_fd();
    let result = prepare_process(join, confined, own_network)
        .and_then(|signals| Init::prepare(channel, confined, signals));
    match result {
        Ok(Some(mut init)) => init.serve(channel),
        // The supervisor is gone already.
        Ok(None) => end(),
        Err(failure) => {
            let _ = message::send(channel, &InitReply::Failed(failure), &[]);
            end()
        }
    }
}

/// Ends this process alone, without the supervisor's destructors and exit handlers.
fn end() -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(0) }
}

impl InitPlan {
    fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.channel.as_raw_fd()];
        all.extend(self.join.iter().map(AsRawFd::as_raw_fd));
        all
    }
}

/// Everything that can be done before the ids and the design are known.
fn prepare_process(join: Vec<OwnedFd>, confined: bool, own_network: bool) -> Step<OwnedFd> {
    rustix::thread::set_name(c"cogo-init").at("name the process")?;
    sys::ask_for_short_slices();
    for procs in join {
        rustix::io::write(procs, b"0").at("join the control group")?;
    }
    if own_network {
        sys::loopback_up().at("bring up loopback")?;
    }
    if confined {
        sys::set_host_name("cogo").at("set the host name")?;
    }
    sys::child_signals().at("read child signals")
}

/// Process 1 at work.
struct Init {
    signals: OwnedFd,
    guard: bool,
    /// The part of the seal that is done already, until the seal.
    begun_seal: Option<BegunSeal>,
    /// `None` without namespaces, where traces are the host's.
    traces: Option<TraceFinder>,
    /// Channels of the execs of a session.
    links: Vec<OwnedFd>,
    /// What the execs that are being stopped consisted of, by their links.
    stopping: Vec<(RawFd, tree::Members)>,
    running: Vec<RunningCommand>,
}

/// A command that was started and not reaped.
struct RunningCommand {
    pid: Pid,
    /// Where its end is to be reported.
    report: OwnedFd,
    /// The link it was started over; `None` for the main channel.
    link: Option<RawFd>,
}

impl Init {
    /// Waits for the ids, builds the root and says so. `None` if the supervisor went away.
    fn prepare(channel: BorrowedFd<'_>, confined: bool, signals: OwnedFd) -> Step<Option<Self>> {
        if !confined {
            rustix::process::set_child_subreaper(Pid::from_raw(1))
                .at("become the reaper of orphans")?;
        }
        let Some((InitRequest::Build(plan), trees)) =
            message::receive(channel).at("receive a request")?
        else {
            return Ok(None);
        };
        let mut begun_seal = None;
        let mut traces = None;
        let mut beside = Vec::new();
        if let Some(plan) = plan {
            become_inside_user(&plan)?;
            let listener = plan.proxy_listener.then(listen_for_proxy).transpose()?;
            plan.root.build(trees)?;
            begun_seal = Some(BegunSeal::begin(&plan.root.home)?);
            traces = Some(TraceFinder::new(&plan.root.home));
            beside.push(open_scratch()?);
            beside.extend(listener);
        }
        let beside: Vec<_> = beside.iter().map(AsFd::as_fd).collect();
        message::send(channel, &InitReply::Ready, &beside).at("answer")?;
        Ok(Some(Self {
            signals,
            guard: !confined,
            begun_seal,
            traces,
            links: Vec::new(),
            stopping: Vec::new(),
            running: Vec::new(),
        }))
    }

    fn serve(&mut self, channel: BorrowedFd<'_>) -> ! {
        loop {
            let [request, child, links @ ..] = &*self.wait(channel) else {
                continue;
            };
            if *child {
                sys::drain_child_signals(&self.signals);
                self.reap();
            }
            // From the back, because serving a link may remove it.
            for (index, _) in links.iter().enumerate().rev().filter(|(_, ready)| **ready) {
                self.handle_link(index);
            }
            if *request {
                self.handle_request(channel);
            }
        }
    }

    /// Which of these are ready: the channel, child signals, then the links.
    fn wait(&self, channel: BorrowedFd<'_>) -> Vec<bool> {
        let mut polled = vec![
            PollFd::from_borrowed_fd(channel, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        polled.extend(
            self.links
                .iter()
                .map(|link| PollFd::new(link, PollFlags::IN)),
        );
        let _ = poll(&mut polled, None);
        polled.iter().map(|fd| !fd.revents().is_empty()).collect()
    }

    fn handle_request(&mut self, channel: BorrowedFd<'_>) {
        let Ok(Some((request, descriptors))) = message::receive(channel) else {
            self.end_everything()
        };
        let result = match request {
            InitRequest::Attach(attachments) => attach::attach_all(&attachments, descriptors),
            InitRequest::Seal(seal) if self.guard => seal.apply_to_guard(),
            InitRequest::Seal(seal) => self
                .begun_seal
                .take()
                .ok_or(io::Error::from_raw_os_error(libc::EALREADY))
                .at("seal the sandbox")
                .and_then(|begun| seal.apply(begun))
                .map(|()| self.remember_traces()),
            InitRequest::Spawn(spawn) => {
                self.spawn(&spawn, descriptors, None);
                return;
            }
            InitRequest::SignalAll(signal) => {
                self.signal_all(signal);
                return;
            }
            InitRequest::Link => {
                self.links.extend(descriptors.into_iter().next());
                return;
            }
            InitRequest::Settle => {
                let _ = message::send(channel, &InitReply::Done, &[]);
                return;
            }
            InitRequest::Inspect => {
                let untouched = self.is_untouched();
                let _ = message::send(channel, &InitReply::Inspected { untouched }, &[]);
                return;
            }
            // The root is built already, and only links have trees.
            InitRequest::Build(_) | InitRequest::KillTree => return,
        };
        if let Err(failure) = result {
            let _ = message::send(channel, &InitReply::Failed(failure), &[]);
            self.end_everything();
        }
    }

    /// Serves the supervisor of one exec of a session. When it is gone, so is its exec.
    fn handle_link(&mut self, index: usize) {
        let link = self.links[index].as_raw_fd();
        let Ok(Some((request, descriptors))) = message::receive(self.links[index].as_fd()) else {
            self.kill_tree(link);
            self.links.remove(index);
            return;
        };
        match request {
            InitRequest::Spawn(spawn) => self.spawn(&spawn, descriptors, Some(link)),
            InitRequest::SignalAll(signal) => self.signal_tree(link, signal),
            InitRequest::KillTree => {
                self.kill_tree(link);
                let _ = message::send(self.links[index].as_fd(), &InitReply::Done, &[]);
            }
            // What concerns the whole sandbox is not a link's to ask.
            InitRequest::Build(_)
            | InitRequest::Attach(_)
            | InitRequest::Seal(_)
            | InitRequest::Settle
            | InitRequest::Inspect
            | InitRequest::Link => {}
        }
    }

    fn remember_traces(&mut self) {
        if let Some(traces) = &mut self.traces {
            traces.remember();
        }
    }

    /// Whether the sandbox is as it was when no command had run in it.
    fn is_untouched(&mut self) -> bool {
        self.reap();
        let idle = self.running.is_empty() && self.links.is_empty();
        idle && self.traces.as_ref().is_some_and(TraceFinder::finds_none)
    }

    fn started_over(&self, link: RawFd) -> Vec<Pid> {
        let over_link = |command: &&RunningCommand| command.link == Some(link);
        self.running
            .iter()
            .filter(over_link)
            .map(|command| command.pid)
            .collect()
    }

    /// Signals an exec of a session, and keeps in mind what it consisted of: the command may end
    /// by the signal and leave children that are deaf to it.
    fn signal_tree(&mut self, link: RawFd, signal: i32) {
        let mut members = tree::Members::default();
        for command in self.started_over(link) {
            members.add_descendants(command);
            tree::signal(command, signal);
        }
        self.stopping.push((link, members));
    }

    fn kill_tree(&mut self, link: RawFd) {
        for command in self.started_over(link) {
            tree::kill(command);
        }
        for (_, members) in self
            .stopping
            .extract_if(.., |(stopped, _)| *stopped == link)
        {
            members.kill();
        }
        self.reap();
    }

    fn signal_all(&self, signal: i32) {
        if self.guard {
            tree::signal_descendants(signal);
        } else {
            sys::signal_all(signal);
        }
    }

    /// The end of process 1 is the end of its pid namespace. Without one, every descendant has
    /// to be found and killed first.
    fn end_everything(&self) -> ! {
        if self.guard {
            tree::kill_descendants();
        }
        end()
    }

    fn spawn(&mut self, request: &SpawnRequest, descriptors: Vec<OwnedFd>, link: Option<RawFd>) {
        let mut descriptors = descriptors.into_iter();
        let Some(report) = descriptors.next() else {
            return;
        };
        match command::start(request, descriptors) {
            Ok((child, master)) => {
                let mut beside = vec![child.pidfd.as_fd()];
                beside.extend(master.as_ref().map(AsFd::as_fd));
                let _ = message::send(report.as_fd(), &ExecReport::Started, &beside);
                self.running.push(RunningCommand {
                    pid: child.pid,
                    report,
                    link,
                });
            }
            Err(failure) => {
                let report_text = ExecReport::NotStarted {
                    message: failure.step,
                    errno: failure.errno,
                };
                let _ = message::send(report.as_fd(), &report_text, &[]);
            }
        }
    }

    fn reap(&mut self) {
        while let Ok(Some(reaped)) = sys::reap_any() {
            let is_reaped = |command: &RunningCommand| command.pid == reaped.pid;
            let Some(index) = self.running.iter().position(is_reaped) else {
                continue;
            };
            let RunningCommand { report, .. } = self.running.swap_remove(index);
            let ended = ExecReport::Ended {
                status: reaped.status,
                usage: reaped.usage,
            };
            let _ = message::send(report.as_fd(), &ended, &[]);
        }
    }
}

/// Takes on the inside ids. The user namespace maps nothing else, so there is no way back.
fn become_inside_user(plan: &NamespacePlan) -> Step<()> {
    use rustix::process::{Gid, Uid};
    let gid = Gid::from_raw(plan.gid);
    let uid = Uid::from_raw(plan.uid);
    if plan.drop_groups {
        rustix::thread::set_thread_groups(&[]).at("drop supplementary groups")?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).at("become the inside group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at("become the inside user")?;
    // Both are cleared by a change of ids, so they come after it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at("become undumpable")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at("tie the sandbox to its supervisor")
}

fn listen_for_proxy() -> Step<OwnedFd> {
    let address = (std::net::Ipv4Addr::LOCALHOST, crate::sandbox::PROXY_PORT);
    let listener = std::net::TcpListener::bind(address).at("listen for the proxy")?;
    Ok(listener.into())
}

/// A way for the supervisor to ask how full the scratch space is.
fn open_scratch() -> Step<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    open("/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at("open the scratch space")
}
