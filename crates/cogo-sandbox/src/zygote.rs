//! The zygote: a small process that forks supervisors and keeps sandboxes ready.
//!
//! Forking a big process is what makes starting slow, so a worker starts one zygote early and
//! asks it for every exec. The zygote has one thread and little memory; it learns of an exec
//! only its design (network, root, ids), the rest goes straight to the supervisor.
//!
//! ```text
//! worker ──Start + socket──▶ zygote ──fork──▶ supervisor ──▶ sandbox      (cold)
//!                               └──socket──▶ parked supervisor, sandbox ready  (warm)
//! ```
//!
//! Supervisors do not depend on it: they go on when it dies, and those that still wait for
//! work end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::exec_dir::{ExecDir, ExecLock, StateDir};
use crate::message;
use crate::sandbox::{Design, Identity};
use crate::session::Session;
use crate::spec::{ExecSpec, Isolation, Network};
use crate::start::{
    Launcher, Refusal, Secret, Start, StartError, StartRequest, ask, remove_unstarted,
};
use crate::supervisor::{self, Host, orphans};
use crate::sys::{self, Cloned};
use crate::{launcher, network};

/// Time without requests after which the zygote makes things ahead of need: long enough that
/// the exec which was just started has the machine for itself.
const QUIET: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// A running zygote. It ends when this is dropped; execs that run go on.
#[derive(Debug)]
pub struct Zygote {
    socket: Mutex<OwnedFd>,
    process: Child,
    cgroup_base: Option<PathBuf>,
}

/// How many things a zygote keeps ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteOptions {
    /// Network namespaces made ahead of need. Default: 4.
    pub networks: usize,
}

impl Default for ZygoteOptions {
    fn default() -> Self {
        Self { networks: 4 }
    }
}

/// What a client asks of the zygote.
#[derive(Debug, Serialize, Deserialize)]
enum ZygoteRequest {
    Configure {
        options: ZygoteOptions,
        cgroup_base: Option<PathBuf>,
    },
    /// Serve the start request that comes over the socket beside.
    Start(Design),
    /// Keep so many sandboxes of this design parked; answered when they are ready.
    Keep { design: Design, count: usize },
}

/// What the zygote answers to all but `Start`.
#[derive(Debug, Serialize, Deserialize)]
enum ZygoteAnswer {
    Done,
    Refused(Refusal),
}

impl Zygote {
    /// Starts a zygote. Call it while the process is still small: it is forked from here.
    ///
    /// # Errors
    ///
    /// Fails when the process cannot be started or cannot prepare itself.
    pub fn start(launcher: &Launcher, options: ZygoteOptions) -> Result<Self, StartError> {
        let (ours, theirs) = message::pair().map_err(StartError::Spawn)?;
        let process = spawn(launcher, theirs).map_err(StartError::Spawn)?;
        let zygote = Self {
            socket: Mutex::new(ours),
            process,
            cgroup_base: launcher.cgroup_base.clone(),
        };
        let cgroup_base = launcher.cgroup_base.clone();
        zygote.ask(&ZygoteRequest::Configure {
            options,
            cgroup_base,
        })?;
        Ok(zygote)
    }

    /// Starts an exec, as [`crate::start::start`] does. A sandbox that is parked for its design
    /// is used; otherwise one is made.
    ///
    /// # Errors
    ///
    /// On every error nothing runs and no folder is left.
    pub fn start_exec(
        &self,
        state: &StateDir,
        id: &str,
        spec: &ExecSpec,
        secrets: &[Secret],
    ) -> Result<Start, StartError> {
        let (exec, lock) = state.create_exec(id)?;
        let result = self.start_in(&exec, lock, spec, secrets);
        if result.is_err() {
            remove_unstarted(&exec);
        }
        result
    }

    fn start_in(
        &self,
        exec: &ExecDir,
        lock: ExecLock,
        spec: &ExecSpec,
        secrets: &[Secret],
    ) -> Result<Start, StartError> {
        exec.write_spec(spec)?;
        let (ours, theirs) = message::pair().map_err(StartError::Spawn)?;
        let design = supervisor::design(spec);
        self.send(&ZygoteRequest::Start(design), &[theirs.as_fd()])?;
        drop(theirs);
        let request = StartRequest::new(exec, spec, secrets, self.cgroup_base.as_deref());
        ask(&ours, request, lock)?.into_start(exec)
    }

    /// Opens a session: a sandbox made by this spec, whose command is not looked at, in which
    /// commands run until the session is dropped.
    ///
    /// # Errors
    ///
    /// On every error no sandbox is left.
    pub fn open_session(
        &self,
        state: &StateDir,
        id: &str,
        spec: &ExecSpec,
    ) -> Result<Session, StartError> {
        let (ours, theirs) = message::pair().map_err(StartError::Spawn)?;
        self.send(
            &ZygoteRequest::Start(supervisor::design(spec)),
            &[theirs.as_fd()],
        )?;
        drop(theirs);
        Session::open(ours, state, id, spec, self.cgroup_base.clone())
    }

    /// Keeps `count` sandboxes parked that fit the spec, and returns when they are ready. One
    /// that is used is replaced. Zero forgets the design.
    ///
    /// # Errors
    ///
    /// Fails when a sandbox cannot be made.
    pub fn keep_warm(&self, spec: &ExecSpec, count: usize) -> Result<(), StartError> {
        self.ask(&ZygoteRequest::Keep {
            design: supervisor::design(spec),
            count,
        })
    }

    fn send(&self, request: &ZygoteRequest, beside: &[BorrowedFd<'_>]) -> Result<(), StartError> {
        let socket = self.socket.lock().expect("no holder of this lock panics");
        message::send(socket.as_fd(), request, beside).map_err(StartError::Spawn)
    }

    fn ask(&self, request: &ZygoteRequest) -> Result<(), StartError> {
        let socket = self.socket.lock().expect("no holder of this lock panics");
        message::send(socket.as_fd(), request, &[]).map_err(StartError::Spawn)?;
        match message::receive(socket.as_fd()).map_err(StartError::Spawn)? {
            Some((ZygoteAnswer::Done, _)) => Ok(()),
            Some((ZygoteAnswer::Refused(refusal), _)) => Err(StartError::Refused(refusal)),
            None => Err(StartError::SupervisorDied),
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        if let Ok(socket) = self.socket.get_mut() {
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
        }
        let _ = self.process.wait();
    }
}

fn spawn(launcher: &Launcher, socket: OwnedFd) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new(&launcher.program)
        .arg0(launcher::ZYGOTE)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// The zygote's life. Requests come over standard input.
pub(crate) fn main() -> ! {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"cogo-zygote");
    let code = match (
        io::stdin().as_fd().try_clone_to_owned(),
        sys::child_signals(),
    ) {
        (Ok(socket), Ok(signals)) => {
            supervisor::release_stdin();
            Server {
                socket,
                signals,
                host: Host::default(),
                pools: Vec::new(),
                networks: 0,
            }
            .serve()
        }
        _ => 1,
    };
    std::process::exit(code)
}

/// The zygote at work.
struct Server {
    socket: OwnedFd,
    signals: OwnedFd,
    host: Host,
    pools: Vec<Pool>,
    /// Network namespaces to keep ready.
    networks: usize,
}

/// Parked sandboxes of one design.
struct Pool {
    design: Design,
    count: usize,
    parked: Vec<OwnedFd>,
}

impl Server {
    fn serve(mut self) -> i32 {
        loop {
            let mut polled = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            let quiet = poll(&mut polled, self.refill_due().as_ref()) == Ok(0);
            let [request, child] = polled.map(|fd| !fd.revents().is_empty());
            if quiet {
                self.refill_one();
            }
            if child {
                sys::drain_child_signals(&self.signals);
                self.reap();
            }
            if request && !self.serve_one() {
                return 0;
            }
        }
    }

    /// A supervisor that was killed could not remove its control group.
    fn reap(&self) {
        while let Ok(Some(reaped)) = sys::reap_any() {
            if libc::WIFSIGNALED(reaped.status)
                && let Some(cgroups) = &self.host.cgroups
            {
                orphans::end_groups_made_by(reaped.pid.as_raw_nonzero().get(), cgroups);
            }
        }
    }

    /// Whether there was a request.
    fn serve_one(&mut self) -> bool {
        let Ok(Some((request, beside))) = message::receive(self.socket.as_fd()) else {
            return false;
        };
        let result = match request {
            ZygoteRequest::Start(design) => {
                if let Some(socket) = beside.into_iter().next() {
                    self.start(&design, socket);
                }
                return true;
            }
            ZygoteRequest::Configure {
                options,
                cgroup_base,
            } => {
                self.configure(options, cgroup_base.as_deref());
                Ok(())
            }
            ZygoteRequest::Keep { design, count } => self.keep(design, count),
        };
        let answer = result.map_or_else(ZygoteAnswer::Refused, |()| ZygoteAnswer::Done);
        message::send(self.socket.as_fd(), &answer, &[]).is_ok()
    }

    fn configure(&mut self, options: ZygoteOptions, cgroup_base: Option<&Path>) {
        let cgroups = Cgroups::discover(cgroup_base);
        orphans::sweep(&cgroups);
        self.host.cgroups = Some(cgroups);
        self.networks = options.networks;
        // Entered once, for all supervisors. A host that refuses refuses each exec with its
        // reason, except those that want no isolation.
        let _ = Identity::choose(0, 0).enter_holding_namespace();
    }

    fn start(&mut self, design: &Design, socket: OwnedFd) {
        let pool = self.pools.iter_mut().find(|pool| pool.design == *design);
        let parked = pool.and_then(|pool| {
            let parked = (!pool.parked.is_empty()).then(|| pool.parked.remove(0));
            parked.filter(|parked| message::send(parked.as_fd(), &(), &[socket.as_fd()]).is_ok())
        });
        if parked.is_none() {
            self.fork_supervisor(design, socket);
        }
    }

    fn fork_supervisor(&mut self, design: &Design, socket: OwnedFd) {
        let network = self.take_network(design);
        // SAFETY: the zygote is single-threaded.
        if let Ok(Cloned::Child) = unsafe { sys::clone_process(0, None) } {
            self.become_supervisor();
            self.host.network = network;
            let host = std::mem::take(&mut self.host);
            supervisor::serve_start(socket, host);
            std::process::exit(0);
        }
    }

    /// What every child of the zygote does first.
    fn become_supervisor(&mut self) {
        sys::unblock_signals();
        let _ = rustix::process::setsid();
        let _ = rustix::thread::set_name(c"cogo-supervisor");
        // The zygote's own ends: a child that held them would outlive its purpose.
        self.pools.clear();
        self.host.spare_networks.clear();
        if let Ok(null) = std::fs::File::open("/dev/null") {
            let null = OwnedFd::from(null);
            self.socket = null.try_clone().unwrap_or(null);
        }
    }

    fn keep(&mut self, design: Design, count: usize) -> Result<(), Refusal> {
        self.pools.retain(|pool| pool.design != design);
        if count == 0 {
            return Ok(());
        }
        self.pools.push(Pool {
            design,
            count,
            parked: Vec::new(),
        });
        self.fill_pool(self.pools.len() - 1);
        let pool = self.pools.last().expect("just pushed");
        for parked in &pool.parked {
            match message::receive::<Option<Refusal>>(parked.as_fd()) {
                Ok(Some((None, _))) => {}
                Ok(Some((Some(refusal), _))) => return Err(refusal),
                Ok(None) | Err(_) => {
                    let gone = io::ErrorKind::BrokenPipe.into();
                    return Err(crate::sandbox::failed("park a sandbox", &gone));
                }
            }
        }
        Ok(())
    }

    /// How long to wait for requests before something is made ahead of need; `None` if all is
    /// there.
    fn refill_due(&self) -> Option<Timespec> {
        let lacking = self.host.spare_networks.len() < self.networks
            || self.pools.iter().any(|pool| pool.parked.len() < pool.count);
        lacking.then_some(QUIET)
    }

    /// Makes one thing ahead of need, so that a request never waits for more than that.
    fn refill_one(&mut self) {
        let lacking = |pool: &Pool| pool.parked.len() < pool.count;
        if let Some(index) = self.pools.iter().position(lacking) {
            if let Some(parked) = self.park(index) {
                self.pools[index].parked.push(parked);
            }
        } else {
            self.spare_network();
        }
    }

    fn fill_pool(&mut self, index: usize) {
        while self.pools[index].parked.len() < self.pools[index].count {
            let Some(parked) = self.park(index) else {
                return;
            };
            self.pools[index].parked.push(parked);
        }
    }

    fn park(&mut self, index: usize) -> Option<OwnedFd> {
        let design = self.pools[index].design.clone();
        let network = self.take_network(&design);
        let (ours, theirs) = message::pair().ok()?;
        // SAFETY: the zygote is single-threaded.
        match unsafe { sys::clone_process(0, None) }.ok()? {
            Cloned::Child => {
                drop(ours);
                self.become_supervisor();
                self.host.network = network;
                supervisor::park(&theirs, &design, std::mem::take(&mut self.host));
                std::process::exit(0);
            }
            Cloned::Parent(_) => Some(ours),
        }
    }

    fn take_network(&mut self, design: &Design) -> Option<OwnedFd> {
        let own = design.isolation != Isolation::None && design.network != Network::Host;
        if own {
            self.host.spare_networks.pop()
        } else {
            None
        }
    }

    fn spare_network(&mut self) {
        match network::make() {
            Ok(network) => self.host.spare_networks.push(network),
            // Sandboxes make their own then, or say why they cannot.
            Err(_) => self.networks = 0,
        }
    }
}
