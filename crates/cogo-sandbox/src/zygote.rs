//! The zygote: a small process that forks supervisors and keeps some ready.
//!
//! Forking a big process is what makes starting slow, so a worker starts one zygote early and
//! asks it for every exec. The zygote has one thread and little memory; all it learns of an exec
//! is a socket, over which the supervisor it forks hears the rest.
//!
//! What takes long is done ahead of need, in supervisors that wait for their errand: *parked* ones
//! have a sandbox for a known spec, *blank* ones have the namespaces and the control group that
//! any usual design is built in. They are handed over through a queue, a socket from which the
//! worker takes the next one without waking the zygote.
//!
//! ```text
//! worker ──Start + socket──▶ zygote ──fork──▶ supervisor, sandbox to be made
//!    │ ◀── queue of a spec ──────┼──────────▶ parked supervisor, sandbox ready
//!    │ ◀── queue of blanks ──────┴──────────▶ blank supervisor, namespaces ready
//! ```
//!
//! Supervisors do not depend on it: they go on when it dies, and those that still wait for
//! work end with the queue.

mod used;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::exec_dir::{ExecDir, ExecLock, StateDir};
use crate::launcher;
use crate::message;
use crate::sandbox::{Design, Identity, Shape};
use crate::seccomp::Filter;
use crate::session::Session;
use crate::spec::ExecSpec;
use crate::start::{
    Asked, Launcher, Refusal, Secret, Start, StartError, StartRequest, remove_unstarted,
};
use crate::supervisor::{self, Preparation, orphans};
use crate::sys::{self, Cloned};

use self::used::Used;

/// Time without requests after which something is made ahead of need: long enough that the exec
/// which was just started has the machine for itself.
pub(crate) const QUIET: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// The pool of blanks, which is there from the start.
const BLANKS: u32 = 0;

/// A running zygote. It ends when this is dropped; execs that run go on.
#[derive(Debug)]
pub struct Zygote {
    socket: Mutex<OwnedFd>,
    process: Child,
    cgroup_base: Option<PathBuf>,
    pools: Mutex<Pools>,
    used: Mutex<Used>,
}

/// How many things a zygote keeps ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZygoteOptions {
    /// Supervisors with namespaces that any usual design can be built in. Default: 4.
    pub blanks: usize,
    /// Sandboxes that are kept for another command of the same kind, when the one that ran in them
    /// ended by itself and left no trace. Default: 0, each is used once.
    pub used: usize,
}

impl Default for ZygoteOptions {
    fn default() -> Self {
        Self { blanks: 4, used: 0 }
    }
}

/// Everything that is ready, as the worker sees it.
#[derive(Debug)]
struct Pools {
    blanks: Pool,
    parked: Vec<(Fit, Pool)>,
    /// Pools made so far; their numbers.
    made: u32,
}

/// What a parked sandbox has to fit: the owner of the workspace is in the design.
#[derive(Clone, Debug, PartialEq)]
struct Fit {
    design: Design,
    spec: ExecSpec,
}

impl Fit {
    fn of(spec: &ExecSpec) -> Self {
        Self {
            design: supervisor::design(spec),
            spec: supervisor::sandbox_part(spec),
        }
    }
}

/// Supervisors that were prepared alike.
#[derive(Debug)]
struct Pool {
    number: u32,
    queue: OwnedFd,
    /// Taken from the queue, and known to be ready.
    ready: VecDeque<OwnedFd>,
}

/// What a client asks of the zygote.
#[derive(Debug, Serialize, Deserialize)]
enum ZygoteRequest {
    /// The first request. Beside it rides the queue for blanks.
    Configure {
        blanks: usize,
        cgroup_base: Option<PathBuf>,
    },
    /// Have a supervisor serve the errand that comes over the socket beside.
    Start,
    /// Put so many sandboxes for this spec into the queue beside.
    Keep {
        pool: u32,
        spec: Box<ExecSpec>,
        count: usize,
    },
    /// One was taken from a pool.
    Taken { pool: u32 },
}

/// What the zygote answers to `Configure`.
#[derive(Debug, Serialize, Deserialize)]
struct Configured;

impl Zygote {
    /// Starts a zygote. Call it while the process is still small: it is forked from here.
    ///
    /// # Errors
    ///
    /// Fails when the process cannot be started or cannot prepare itself.
    pub fn start(launcher: &Launcher, options: ZygoteOptions) -> Result<Self, StartError> {
        let (ours, theirs) = message::pair().map_err(StartError::Spawn)?;
        let process = spawn(launcher, theirs).map_err(StartError::Spawn)?;
        let (blanks, queue) = Pool::new(BLANKS).map_err(StartError::Spawn)?;
        let zygote = Self {
            socket: Mutex::new(ours),
            process,
            cgroup_base: launcher.cgroup_base.clone(),
            pools: Mutex::new(Pools {
                blanks,
                parked: Vec::new(),
                made: BLANKS,
            }),
            used: Mutex::new(Used::new(options.used)),
        };
        let configure = ZygoteRequest::Configure {
            blanks: options.blanks,
            cgroup_base: launcher.cgroup_base.clone(),
        };
        zygote.send(&configure, &[queue.as_fd()])?;
        let answer = message::receive(zygote.lock_socket().as_fd()).map_err(StartError::Spawn)?;
        match answer {
            Some((Configured, _)) => Ok(zygote),
            None => Err(StartError::SupervisorDied),
        }
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
        let fit = Fit::of(spec);
        let (supervisor, pool) = self.supervisor_for(&fit)?;
        let reuse = self.lock_used().keeps();
        let request = StartRequest {
            reuse,
            ..StartRequest::new(exec, spec, secrets, self.cgroup_base.as_deref())
        };
        let asked = Asked::send(supervisor, request, lock)?;
        // Only now, so that the zygote does not take the CPU from the supervisor.
        self.tell_taken(pool);
        let (answer, supervisor) = asked.answer_and_socket()?;
        let start = answer.into_start(exec)?;
        if reuse && matches!(start, Start::Running(_)) {
            self.lock_used().lend(fit, supervisor);
        }
        Ok(start)
    }

    /// Ends the sandboxes that are kept for another command and were not used for so long.
    pub fn let_go_of_unused(&self, unused_for: Duration) {
        self.lock_used().let_go(unused_for);
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
        let (supervisor, pool) = self.unused_supervisor(&Fit::of(spec))?;
        self.tell_taken(pool);
        Session::open(supervisor, state, id, spec, self.cgroup_base.clone())
    }

    /// Keeps `count` sandboxes parked that fit the spec, whatever its command, and returns when
    /// they are ready. They show the workspace with the mounts below it as it is now. One that is
    /// used is replaced. Zero forgets them.
    ///
    /// # Errors
    ///
    /// Fails when a sandbox cannot be made.
    pub fn keep_warm(&self, spec: &ExecSpec, count: usize) -> Result<(), StartError> {
        let fit = Fit::of(spec);
        let (mut pool, queue) = {
            let mut pools = self.lock_pools();
            // Its sandboxes end with the queue.
            pools.parked.retain(|(known, _)| *known != fit);
            pools.made += 1;
            Pool::new(pools.made).map_err(StartError::Spawn)?
        };
        if count == 0 {
            return Ok(());
        }
        let keep = ZygoteRequest::Keep {
            pool: pool.number,
            spec: Box::new(fit.spec.clone()),
            count,
        };
        self.send(&keep, &[queue.as_fd()])?;
        drop(queue);
        pool.fill(count)?;
        self.lock_pools().parked.push((fit, pool));
        Ok(())
    }

    /// A supervisor to send an errand to, and the pool it was taken from: the best prepared one
    /// there is, or a new one.
    fn supervisor_for(&self, fit: &Fit) -> Result<(OwnedFd, Option<u32>), StartError> {
        let found = self.lock_used().take(fit);
        match found.and_then(used::Found::ready) {
            Some(supervisor) => Ok((supervisor, None)),
            None => self.unused_supervisor(fit),
        }
    }

    fn unused_supervisor(&self, fit: &Fit) -> Result<(OwnedFd, Option<u32>), StartError> {
        let (taken, dead) = self.lock_pools().take(fit)?;
        for pool in dead {
            self.tell_taken(Some(pool));
        }
        if let Some(taken) = taken {
            return Ok(taken);
        }
        let (ours, theirs) = message::pair().map_err(StartError::Spawn)?;
        self.send(&ZygoteRequest::Start, &[theirs.as_fd()])?;
        Ok((ours, None))
    }

    /// A zygote that is gone replaces nothing, which the next start without a supply will say.
    fn tell_taken(&self, pool: Option<u32>) {
        if let Some(pool) = pool {
            let _ = self.send(&ZygoteRequest::Taken { pool }, &[]);
        }
    }

    fn send(&self, request: &ZygoteRequest, beside: &[BorrowedFd<'_>]) -> Result<(), StartError> {
        message::send(self.lock_socket().as_fd(), request, beside).map_err(StartError::Spawn)
    }

    fn lock_socket(&self) -> MutexGuard<'_, OwnedFd> {
        self.socket.lock().expect("no holder of this lock panics")
    }

    fn lock_used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().expect("no holder of this lock panics")
    }

    fn lock_pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().expect("no holder of this lock panics")
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

/// A supervisor, and the pool it was taken from.
type Taken = (OwnedFd, Option<u32>);

impl Pools {
    /// The best prepared supervisor that fits, and the pools of those that were found dead.
    fn take(&mut self, fit: &Fit) -> Result<(Option<Taken>, Vec<u32>), StartError> {
        let mut dead = Vec::new();
        let parked = self.parked.iter_mut().find(|(known, _)| known == fit);
        let fits_blank = Shape::of(&fit.design) == Shape::USUAL;
        let candidates = parked
            .map(|(_, pool)| pool)
            .into_iter()
            .chain(fits_blank.then_some(&mut self.blanks));
        for pool in candidates {
            while let Some(supervisor) = pool.take()? {
                if !message::is_hung_up(&supervisor) {
                    return Ok((Some((supervisor, Some(pool.number))), dead));
                }
                dead.push(pool.number);
            }
        }
        Ok((None, dead))
    }
}

impl Pool {
    /// A pool, and the other end of its queue.
    fn new(number: u32) -> io::Result<(Self, OwnedFd)> {
        let (queue, theirs) = message::pair()?;
        let pool = Self {
            number,
            queue,
            ready: VecDeque::new(),
        };
        Ok((pool, theirs))
    }

    /// Waits until so many are ready.
    fn fill(&mut self, count: usize) -> Result<(), StartError> {
        let mut supervisors = Vec::with_capacity(count);
        for _ in 0..count {
            let supervisor = message::take(self.queue.as_fd()).map_err(StartError::Spawn)?;
            supervisors.push(supervisor.ok_or(StartError::SupervisorDied)?);
        }
        for supervisor in supervisors {
            hear_ready(&supervisor)?;
            self.ready.push_back(supervisor);
        }
        Ok(())
    }

    /// The next one, if there is one. It may have to be waited for, which is sooner than another
    /// could be made.
    fn take(&mut self) -> Result<Option<OwnedFd>, StartError> {
        if let Some(supervisor) = self.ready.pop_front() {
            return Ok(Some(supervisor));
        }
        match message::take_ready(self.queue.as_fd()).map_err(StartError::Spawn)? {
            None => Ok(None),
            Some(supervisor) => hear_ready(&supervisor).map(|()| Some(supervisor)),
        }
    }
}

/// Hears whether a supervisor could prepare.
fn hear_ready(supervisor: &OwnedFd) -> Result<(), StartError> {
    match message::receive::<Option<Refusal>>(supervisor.as_fd()).map_err(StartError::Spawn)? {
        Some((None, _)) => Ok(()),
        Some((Some(refusal), _)) => Err(StartError::Refused(refusal)),
        None => Err(StartError::SupervisorDied),
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
    sys::ask_for_short_slices();
    let code = match (
        io::stdin().as_fd().try_clone_to_owned(),
        sys::child_signals(),
    ) {
        (Ok(socket), Ok(signals)) => {
            supervisor::release_stdin();
            Server {
                socket: Some(socket),
                signals,
                cgroups: None,
                supplies: Vec::new(),
            }
            .serve()
        }
        _ => 1,
    };
    std::process::exit(code)
}

/// The zygote at work.
struct Server {
    /// `None` in children, which must not outlive their purpose by holding it.
    socket: Option<OwnedFd>,
    signals: OwnedFd,
    cgroups: Option<Cgroups>,
    supplies: Vec<Supply>,
}

/// A pool, as the zygote sees it.
struct Supply {
    pool: u32,
    preparation: Preparation,
    queue: OwnedFd,
    /// How many are to be put into the queue.
    lacking: usize,
}

impl Server {
    fn serve(mut self) -> i32 {
        while let Some(socket) = &self.socket {
            let mut polled = [
                PollFd::new(socket, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            let lacking = self.supplies.iter().any(|supply| supply.lacking > 0);
            let quiet = poll(&mut polled, lacking.then_some(&QUIET)) == Ok(0);
            let [request, child] = polled.map(|fd| !fd.revents().is_empty());
            if quiet {
                self.refill_one();
            }
            if child {
                sys::drain_child_signals(&self.signals);
                self.reap();
            }
            if request && !self.serve_one() {
                break;
            }
        }
        0
    }

    /// A supervisor that was killed could not remove its control group.
    fn reap(&self) {
        while let Ok(Some(reaped)) = sys::reap_any() {
            if libc::WIFSIGNALED(reaped.status)
                && let Some(cgroups) = &self.cgroups
            {
                orphans::end_groups_made_by(reaped.pid.as_raw_nonzero().get(), cgroups);
            }
        }
    }

    /// Whether there was a request.
    fn serve_one(&mut self) -> bool {
        let received = self
            .socket
            .as_ref()
            .and_then(|socket| message::receive(socket.as_fd()).ok()?);
        let Some((request, beside)) = received else {
            return false;
        };
        let beside = beside.into_iter().next();
        match (request, beside) {
            (ZygoteRequest::Start, Some(socket)) => self.fork_supervisor(&socket),
            (
                ZygoteRequest::Configure {
                    blanks,
                    cgroup_base,
                },
                Some(queue),
            ) => return self.configure(blanks, cgroup_base.as_deref(), queue),
            (ZygoteRequest::Keep { pool, spec, count }, Some(queue)) => {
                self.supplies.push(Supply {
                    pool,
                    preparation: Preparation::Sandbox(spec),
                    queue,
                    lacking: count,
                });
                self.fill(self.supplies.len() - 1);
            }
            (ZygoteRequest::Taken { pool }, _) => {
                let supply = self.supplies.iter_mut().find(|supply| supply.pool == pool);
                if let Some(supply) = supply {
                    supply.lacking += 1;
                }
            }
            // Our own client sends what belongs to a request.
            (_, None) => {}
        }
        true
    }

    fn configure(&mut self, blanks: usize, cgroup_base: Option<&Path>, queue: OwnedFd) -> bool {
        let cgroups = Cgroups::discover(cgroup_base);
        orphans::sweep(&cgroups);
        self.cgroups = Some(cgroups);
        // Compiled here, it is there in all children.
        Filter::shared();
        // Entered once, for all supervisors. A host that refuses refuses each exec with its
        // reason, except those that want no isolation.
        let _ = Identity::choose(0, 0).enter_holding_namespace();
        self.supplies.push(Supply {
            pool: BLANKS,
            preparation: Preparation::Blank,
            queue,
            lacking: blanks,
        });
        let socket = self.socket.as_ref().expect("only children have none");
        message::send(socket.as_fd(), &Configured, &[]).is_ok()
    }

    fn fork_supervisor(&mut self, socket: &OwnedFd) {
        // SAFETY: the zygote is single-threaded.
        if let Ok(Cloned::Child) = unsafe { sys::clone_process(0, None) } {
            self.become_supervisor();
            supervisor::serve_start(socket, self.cgroups.take());
            std::process::exit(0);
        }
    }

    /// What every child of the zygote does first.
    fn become_supervisor(&mut self) {
        sys::unblock_signals();
        let _ = rustix::process::setsid();
        let _ = rustix::thread::set_name(c"cogo-supervisor");
        sys::ask_for_short_slices();
        // The zygote's own ends: a child that held them would outlive its purpose.
        self.supplies.clear();
        self.socket = None;
    }

    /// Makes one thing ahead of need, so that a request never waits for more than that.
    fn refill_one(&mut self) {
        if let Some(index) = self.supplies.iter().position(|supply| supply.lacking > 0) {
            self.put(index);
        }
    }

    fn fill(&mut self, index: usize) {
        while self
            .supplies
            .get(index)
            .is_some_and(|supply| supply.lacking > 0)
        {
            self.put(index);
        }
    }

    /// Puts one more supervisor into a pool's queue. A pool that nobody takes from any more, and
    /// one that cannot be filled, is given up, which its other end notices.
    fn put(&mut self, index: usize) {
        if self.fork_prepared(index).is_err() {
            self.supplies.remove(index);
        } else {
            self.supplies[index].lacking -= 1;
        }
    }

    fn fork_prepared(&mut self, index: usize) -> io::Result<()> {
        let (ours, theirs) = message::pair()?;
        // SAFETY: the zygote is single-threaded.
        match unsafe { sys::clone_process(0, None) }? {
            Cloned::Child => {
                drop(ours);
                let supply = self.supplies.swap_remove(index);
                drop(supply.queue);
                self.become_supervisor();
                if let Some(cgroups) = &self.cgroups {
                    supervisor::park(&theirs, &supply.preparation, cgroups);
                }
                std::process::exit(0);
            }
            Cloned::Parent(_) => message::put(self.supplies[index].queue.as_fd(), ours.as_fd()),
        }
    }
}
