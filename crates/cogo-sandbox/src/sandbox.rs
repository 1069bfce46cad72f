//! A sandbox as its supervisor sees it: made, furnished, sealed, ended.

mod identity;
mod layout;
mod tree;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};

pub(crate) use identity::Identity;
use layout::Entries;

use crate::cgroup::Cgroup;
use crate::exec_dir::Enforced;
use crate::init::{
    self, Attachment, AttachmentKind, ExecReport, InitPlan, InitReply, InitRequest, NamespacePlan,
    Seal, SpawnRequest, StepFailure,
};
use crate::message;
use crate::spec::{Isolation, Network, Workspace, WorkspaceMode};
use crate::start::{Refusal, RefusalKind};
use crate::sys::{self, ChildProcess, Cloned, Reaped};

/// Port of the filtering proxy on the sandbox's loopback.
pub(crate) const PROXY_PORT: u16 = 3128;

/// Size of the private places when no bound is asked for.
pub(crate) const SCRATCH_DEFAULT: u64 = 1 << 30;

/// What makes a sandbox before it is known what will run in it. Sandboxes of equal design can
/// stand in for each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Design {
    pub(crate) isolation: Isolation,
    pub(crate) network: Network,
    /// An unpacked root file system; the host's otherwise.
    pub(crate) rootfs: Option<PathBuf>,
    pub(crate) home: PathBuf,
    /// Bytes of the private places.
    pub(crate) scratch_size: u64,
    /// User and group id seen inside.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A live sandbox. Dropping it kills everything inside.
pub(crate) struct Sandbox {
    init: Option<ChildProcess>,
    /// For a link: process 1 of the session's sandbox, which is not ours to end.
    session_init: Option<OwnedFd>,
    channel: OwnedFd,
    user_namespace: Option<OwnedFd>,
    identity: Identity,
    isolation: Isolation,
    network: Network,
    /// Tells how full the private places are.
    pub(crate) scratch: Option<OwnedFd>,
    /// The proxy's listener in the sandbox's network, until the proxy takes it.
    pub(crate) proxy_listener: Option<OwnedFd>,
}

/// What is shown in a sandbox for one use of it.
pub(crate) struct Furnishing<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) read_only_paths: &'a [PathBuf],
    /// Where an overlay keeps changes on disk; on the scratch space otherwise.
    pub(crate) overlay_on_disk: Option<&'a Path>,
    /// A directory that stays hidden wherever one of these is above it.
    pub(crate) hidden: &'a Path,
}

/// Namespaces in which nothing is built yet. They are the costly part of a sandbox, and know
/// nothing of its design but the two facts of [`Shape`].
pub(crate) struct Blank {
    shape: Shape,
    init: ChildProcess,
    channel: OwnedFd,
    /// What the host's root shows, where it was looked up ahead of need.
    host: Option<Entries>,
}

/// What of a design is decided when process 1 is cloned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Whether it is in namespaces at all.
    pub(crate) confined: bool,
    /// Whether the network is among them.
    pub(crate) own_network: bool,
}

impl Shape {
    /// The most usual one.
    pub(crate) const USUAL: Self = Self {
        confined: true,
        own_network: true,
    };

    pub(crate) fn of(design: &Design) -> Self {
        let confined = design.isolation != Isolation::None;
        Self {
            confined,
            own_network: confined && design.network != Network::Host,
        }
    }
}

impl Blank {
    /// Makes the namespaces, with a process 1 that waits for what to build.
    ///
    /// The calling process must be single-threaded; it becomes the sandbox's life line.
    pub(crate) fn create(shape: Shape, cgroup: Option<&Cgroup>) -> Result<Self, Refusal> {
        // The ids inside do not matter yet.
        let identity = Identity::choose(0, 0);
        if shape.confined && !identity.privileged {
            identity
                .enter_holding_namespace()
                .map_err(|e| no_user_namespace(&e))?;
        }
        let Entrance { cgroup, join } =
            Entrance::of(cgroup).map_err(|e| failed("open the control group", &e))?;
        let (channel, theirs) = message::pair().map_err(|e| failed("make a channel", &e))?;
        let plan = InitPlan {
            channel: theirs,
            join,
            confined: shape.confined,
            own_network: shape.own_network,
        };
        let init = clone_init(plan, shape, cgroup.as_ref())?;
        Ok(Self {
            shape,
            init,
            channel,
            host: None,
        })
    }

    /// Looks up ahead of need what the host's root shows.
    pub(crate) fn look_around(&mut self) -> Result<(), Refusal> {
        self.host = Some(Entries::of_host()?);
        Ok(())
    }

    /// Builds a sandbox of a design that has this shape.
    pub(crate) fn build(self, design: &Design) -> Result<Sandbox, Refusal> {
        let identity = Identity::choose(design.uid, design.gid);
        let mut sandbox = Sandbox {
            init: Some(self.init),
            session_init: None,
            channel: self.channel,
            user_namespace: None,
            identity,
            isolation: design.isolation,
            network: design.network.clone(),
            scratch: None,
            proxy_listener: None,
        };
        if !self.shape.confined {
            sandbox.request(&InitRequest::Build(None), &[])?;
            return sandbox.await_ready().map(|_| sandbox);
        }
        let (root, trees) = layout::root(design, self.host)?;
        let plan = NamespacePlan {
            uid: design.uid,
            gid: design.gid,
            drop_groups: sandbox.identity.privileged,
            root,
            proxy_listener: matches!(design.network, Network::Allow(_)),
        };
        let init = sandbox.init.as_ref().expect("just created").pid;
        let namespace = sandbox.identity.map_into(init);
        sandbox.user_namespace = Some(namespace.map_err(|e| failed("map user ids", &e))?);
        let beside: Vec<_> = trees.iter().map(AsFd::as_fd).collect();
        sandbox.request(&InitRequest::Build(Some(Box::new(plan))), &beside)?;
        let mut beside = sandbox.await_ready()?.into_iter();
        sandbox.scratch = beside.next();
        sandbox.proxy_listener = beside.next();
        Ok(sandbox)
    }
}

impl Sandbox {
    fn await_ready(&self) -> Result<Vec<OwnedFd>, Refusal> {
        match self.reply()? {
            (InitReply::Ready, beside) => Ok(beside),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Shows the workspace and what else this use needs. A failure ends process 1, see
    /// [`Sandbox::why_gone`].
    pub(crate) fn furnish(&self, furnishing: &Furnishing<'_>) -> Result<(), Refusal> {
        if self.isolation == Isolation::None {
            return Ok(());
        }
        let mut attachments = Vec::new();
        let mut trees = Vec::new();
        for path in furnishing.read_only_paths {
            let Some((tree, directory)) = tree::read_only(path)? else {
                continue;
            };
            let kind = if directory {
                AttachmentKind::Directory
            } else {
                AttachmentKind::File
            };
            attachments.push(Attachment {
                target: path.clone(),
                kind,
            });
            trees.push(tree);
            attachments.extend(cover(path, furnishing.hidden));
        }
        self.furnish_workspace(furnishing, &mut attachments, &mut trees)?;
        attachments.extend(cover(&furnishing.workspace.path, furnishing.hidden));
        let beside: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        self.request(&InitRequest::Attach(attachments), &beside)
    }

    fn furnish_workspace(
        &self,
        furnishing: &Furnishing<'_>,
        attachments: &mut Vec<Attachment>,
        trees: &mut Vec<OwnedFd>,
    ) -> Result<(), Refusal> {
        let workspace = furnishing.workspace;
        let ids = self
            .user_namespace
            .as_ref()
            .filter(|_| self.identity.shifted());
        let writable = workspace.mode == WorkspaceMode::Direct;
        trees.push(tree::workspace(&workspace.path, writable, ids)?);
        let kind = match (workspace.mode, furnishing.overlay_on_disk) {
            (WorkspaceMode::Direct | WorkspaceMode::ReadOnly, _) => AttachmentKind::Directory,
            (WorkspaceMode::Copy, None) => AttachmentKind::OverlayOnScratch,
            (WorkspaceMode::Copy, Some(upper)) => {
                self.identity
                    .give(upper)
                    .map_err(|e| failed("prepare the overlay", &e))?;
                trees.push(tree::upper(upper)?);
                AttachmentKind::OverlayOnDisk
            }
        };
        attachments.push(Attachment {
            target: workspace.path.clone(),
            kind,
        });
        Ok(())
    }

    /// Takes from everything inside what it does not need; see `init::seal`. A
    /// failure ends process 1, see [`Sandbox::why_gone`].
    pub(crate) fn seal(&self, seal: Seal) -> Result<(), Refusal> {
        self.request(&InitRequest::Seal(seal), &[])
    }

    /// Starts a command; its reports come over the returned channel.
    pub(crate) fn spawn(
        &self,
        request: SpawnRequest,
        stdio: &[BorrowedFd<'_>],
    ) -> Result<ExecChannel, Refusal> {
        if self.isolation != Isolation::None {
            for pipe in stdio {
                self.identity
                    .give_pipe(*pipe)
                    .map_err(|e| failed("hand over the pipes", &e))?;
            }
        }
        let (ours, theirs) = message::pair().map_err(|e| failed("make a channel", &e))?;
        let beside: Vec<_> = [theirs.as_fd()].iter().chain(stdio).copied().collect();
        self.request(&InitRequest::Spawn(request), &beside)?;
        Ok(ExecChannel { socket: ours })
    }

    /// A way for one exec into a session's sandbox. Ending it ends that exec alone.
    pub(crate) fn link(&self) -> Result<Self, Refusal> {
        let (ours, theirs) = message::pair().map_err(|e| failed("make a channel", &e))?;
        let init = self.init_pidfd().try_clone_to_owned();
        let init = init.map_err(|e| failed("link to the session", &e))?;
        // Small enough to be one piece in the socket, whoever else sends at the same time.
        self.request(&InitRequest::Link, &[theirs.as_fd()])?;
        Ok(Self {
            init: None,
            session_init: Some(init),
            channel: ours,
            user_namespace: None,
            identity: self.identity.clone(),
            isolation: self.isolation,
            network: self.network.clone(),
            scratch: self
                .scratch
                .as_ref()
                .and_then(|scratch| scratch.try_clone().ok()),
            proxy_listener: None,
        })
    }

    /// Whether this is a link to a session's sandbox.
    pub(crate) fn is_link(&self) -> bool {
        self.session_init.is_some()
    }

    /// Waits until all that was asked is done.
    pub(crate) fn settle(&self) -> Result<(), Refusal> {
        self.request(&InitRequest::Settle, &[])?;
        match self.reply()?.0 {
            InitReply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether the commands that ran are gone and left nothing behind, as process 1 sees it.
    pub(crate) fn is_untouched(&self) -> bool {
        let asked = self.request(&InitRequest::Inspect, &[]);
        let reply = asked.and_then(|()| self.reply());
        matches!(reply, Ok((InitReply::Inspected { untouched: true }, _)))
    }

    /// Why process 1 ended: the step that failed, if it told one.
    pub(crate) fn why_gone(&self) -> Refusal {
        match self.reply() {
            Err(refusal) => refusal,
            Ok((reply, _)) => unexpected(&reply),
        }
    }

    /// Signals every process inside but process 1; over a link, the exec's own.
    pub(crate) fn signal_all(&self, signal: i32) {
        // A sandbox that is gone needs no signal.
        let _ = self.request(&InitRequest::SignalAll(signal), &[]);
    }

    /// Ends everything inside and waits until the kernel says that it is gone: `waitpid` on
    /// process 1 returns only after every process of its pid namespace was reaped
    /// (`zap_pid_ns_processes` in the kernel). The guard of `isolation: none` kills its
    /// descendants before it ends.
    pub(crate) fn end(mut self) -> io::Result<Reaped> {
        if self.is_link() {
            self.kill_tree()?;
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.end_init().expect("a sandbox is ended once")
    }

    fn kill_tree(&self) -> io::Result<()> {
        message::send(self.channel.as_fd(), &InitRequest::KillTree, &[])?;
        message::receive::<InitReply>(self.channel.as_fd()).map(drop)
    }

    fn end_init(&mut self) -> Option<io::Result<Reaped>> {
        let init = self.init.take()?;
        if self.isolation == Isolation::None {
            let _ = rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Both);
        } else {
            let _ = pidfd_send_signal(&init.pidfd, Signal::KILL);
        }
        Some(sys::wait_child(init.pid))
    }

    /// Becomes readable when process 1 has ended.
    pub(crate) fn init_pidfd(&self) -> BorrowedFd<'_> {
        let own = self.init.as_ref().map(|init| init.pidfd.as_fd());
        own.or_else(|| self.session_init.as_ref().map(AsFd::as_fd))
            .expect("a live sandbox has a process 1")
    }

    /// What holds the commands, as it was applied.
    pub(crate) fn enforced(&self, cgroup: &str) -> Enforced {
        let confined = self.isolation != Isolation::None;
        let mut namespaces: Vec<String> = Vec::new();
        if confined {
            namespaces.extend(["user", "pid", "mnt", "ipc", "uts", "cgroup"].map(String::from));
            if self.network != Network::Host {
                namespaces.push("net".to_owned());
            }
        }
        Enforced {
            isolation: self.isolation,
            namespaces,
            seccomp: confined,
            landlock_abi: if confined {
                crate::landlock::landlock_abi()
            } else {
                None
            },
            cgroup: cgroup.to_owned(),
            unused_uid: confined && self.identity.shifted(),
        }
    }

    /// Asks for something. Success is not answered where it can be told later: a failure ends
    /// process 1, which says why on its way.
    fn request(&self, request: &InitRequest, beside: &[BorrowedFd<'_>]) -> Result<(), Refusal> {
        match message::send(self.channel.as_fd(), request, beside) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(self.why_gone()),
            other => other.map_err(|e| failed("talk to the sandbox", &e)),
        }
    }

    fn reply(&self) -> Result<(InitReply, Vec<OwnedFd>), Refusal> {
        match message::receive(self.channel.as_fd()) {
            Ok(Some((InitReply::Failed(failure), _))) => Err(refused_step(&failure)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(failed(
                "set up the sandbox",
                &io::ErrorKind::BrokenPipe.into(),
            )),
            Err(e) => Err(failed("talk to the sandbox", &e)),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.end_init();
    }
}

/// The reports of one command.
pub(crate) struct ExecChannel {
    socket: OwnedFd,
}

impl ExecChannel {
    /// Waits for the next report; `None` when process 1 is gone.
    pub(crate) fn receive(&self) -> io::Result<Option<(ExecReport, Vec<OwnedFd>)>> {
        message::receive(self.socket.as_fd())
    }
}

impl AsFd for ExecChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Keeps a directory hidden that lies below a path that is shown.
fn cover(shown: &Path, hidden: &Path) -> Option<Attachment> {
    let inside = std::fs::canonicalize(hidden).ok()?;
    let inside = inside
        .strip_prefix(std::fs::canonicalize(shown).ok()?)
        .ok()?;
    Some(Attachment {
        target: shown.join(inside),
        kind: AttachmentKind::Cover,
    })
}

/// How process 1 gets into its control group.
#[derive(Default)]
struct Entrance {
    /// The group's directory, to be born in.
    cgroup: Option<OwnedFd>,
    /// Files to enter by, where one cannot be born in all hierarchies.
    join: Vec<OwnedFd>,
}

impl Entrance {
    fn of(cgroup: Option<&Cgroup>) -> io::Result<Self> {
        let Some(cgroup) = cgroup else {
            return Ok(Self::default());
        };
        let join = cgroup.join_files()?;
        match cgroup.unified_dir() {
            Some(directory) if join.len() == 1 => {
                let directory = std::fs::File::open(directory)?;
                Ok(Self {
                    cgroup: Some(directory.into()),
                    join: Vec::new(),
                })
            }
            Some(_) | None => Ok(Self { cgroup: None, join }),
        }
    }
}

fn clone_init(
    plan: InitPlan,
    shape: Shape,
    cgroup: Option<&OwnedFd>,
) -> Result<ChildProcess, Refusal> {
    let mut flags = 0;
    if shape.confined {
        flags |= libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
    }
    if shape.own_network {
        flags |= libc::CLONE_NEWNET;
    }
    // SAFETY: launcher processes are single-threaded from start to end.
    match unsafe { sys::clone_process(flags, cgroup.map(AsFd::as_fd)) } {
        Ok(Cloned::Child) => init::run(plan),
        Ok(Cloned::Parent(init)) => Ok(init),
        Err(e) if flags != 0 => Err(no_user_namespace(&e)),
        Err(e) => Err(failed("fork", &e)),
    }
}

fn no_user_namespace(error: &io::Error) -> Refusal {
    Refusal {
        kind: RefusalKind::Unsupported,
        message: format!("this host does not allow new namespaces: {error}"),
        hint: Some("`cogo doctor` says what is missing and how to allow it".to_owned()),
    }
}

/// A step of ours that the kernel refused.
pub(crate) fn failed(step: &str, error: &io::Error) -> Refusal {
    Refusal {
        kind: RefusalKind::Failed,
        message: format!("failed to {step}: {error}"),
        hint: Some("`cogo doctor` says what this host can enforce".to_owned()),
    }
}

/// A step of ours whose error tells the whole story.
pub(crate) fn failed_by(error: &dyn std::error::Error) -> Refusal {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Refusal {
        kind: RefusalKind::Failed,
        message,
        hint: Some("`cogo doctor` says what this host can enforce".to_owned()),
    }
}

fn refused_step(failure: &StepFailure) -> Refusal {
    failed(&failure.step, &io::Error::from_raw_os_error(failure.errno))
}

fn unexpected(reply: &InitReply) -> Refusal {
    failed(
        "set up the sandbox",
        &io::Error::other(format!("unexpected answer {reply:?}")),
    )
}
