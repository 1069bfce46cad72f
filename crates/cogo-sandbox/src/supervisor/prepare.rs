//! From a request to a running command.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::Pid;

use super::clients::Clients;
use super::clocks::Clocks;
use super::input::{Input, Sink};
use super::judge::Facts;
use super::output::{Outputs, READ_MAX};
use super::proxy_process::ProxyProcess;
use super::{
    Command, Counted, MadeFor, Parked, Secrets, Supervisor, check, invalid, orphans, step,
};
use crate::cgroup::{Cgroup, CgroupCapabilities, CgroupLimits, CgroupVersion, Cgroups};
use crate::exec_dir::{ExecDir, ExecLock, Running, unix_time_ms};
use crate::init::{ExecReport, ProcessLimits, Seal, SpawnRequest};
use crate::log::{LogOptions, LogWriter, Stream};
use crate::proxy::{AllowList, proxy_env};
use crate::redact::Redactor;
use crate::sandbox::{
    Blank, Design, ExecChannel, Furnishing, PROXY_PORT, SCRATCH_DEFAULT, Sandbox, Shape, failed_by,
};
use crate::spec::{ExecSpec, Isolation, Limits, Network, Stdin, WorkspaceMode};
use crate::start::{Refusal, StartRequest};
use crate::verdict::{Outcome, Usage, Verdict};

/// How a preparation came out.
pub(super) enum Prepared {
    Running(Box<Supervisor>),
    /// The program could not be executed; the verdict says why.
    Ended,
}

/// Prepares everything, in a sandbox that `make` makes or hands over, and starts the command.
pub(super) fn prepare(
    request: StartRequest,
    lock: ExecLock,
    make: impl FnOnce(&ExecSpec, &ExecDir) -> Result<Parked, Refusal>,
    capabilities: &CgroupCapabilities,
) -> Result<Prepared, Refusal> {
    let StartRequest {
        exec,
        spec,
        secrets,
        reuse,
        ..
    } = request;
    let exec = ExecDir::at(exec);
    check::check_spec(&spec, &secrets)?;
    check::check_host(spec.isolation, &spec.limits, capabilities)?;
    let mut parked = make(&spec, &exec)?;
    if !parked.is_sealed {
        fit(&mut parked, &exec, &spec, capabilities)?;
    }
    if reuse && secrets.is_empty() {
        let made_for = parked.made_for.take();
        parked.made_for = made_for.or_else(|| MadeFor::of(&spec, &exec, parked.cgroup.as_ref()));
    } else {
        parked.made_for = None;
    }
    start_command(exec, lock, spec, secrets, parked, capabilities)
}

/// What an exec of a session is bounded by: the session's limits, shared with its other execs.
pub(crate) struct SessionShare {
    pub(crate) sandbox: Sandbox,
    pub(crate) spec: ExecSpec,
    pub(crate) cgroup: Option<Cgroup>,
}

/// Starts a command in a session's sandbox.
pub(super) fn prepare_in_session(
    request: StartRequest,
    lock: ExecLock,
    share: SessionShare,
    capabilities: &CgroupCapabilities,
) -> Result<Prepared, Refusal> {
    let StartRequest {
        exec,
        mut spec,
        secrets,
        ..
    } = request;
    check::check_spec(&spec, &secrets)?;
    check::check_share(&spec, &share.spec)?;
    let session = share.spec.limits;
    spec.limits = Limits {
        memory: session.memory,
        pids: session.pids,
        disk: session.disk,
        ..spec.limits
    };
    // Read before the command can hit a limit. What the session used is not this exec's.
    let events = share
        .cgroup
        .as_ref()
        .and_then(|cgroup| cgroup.events().ok());
    let parked = Parked {
        before: Counted {
            events: events.unwrap_or_default(),
            ..Counted::default()
        },
        ..Parked::fresh(share.sandbox, share.cgroup)
    };
    start_command(ExecDir::at(exec), lock, spec, secrets, parked, capabilities)
}

/// Bounds a sandbox, furnishes it and seals it.
fn fit(
    parked: &mut Parked,
    folder: &ExecDir,
    spec: &ExecSpec,
    capabilities: &CgroupCapabilities,
) -> Result<(), Refusal> {
    if let Some(cgroup) = &mut parked.cgroup {
        limit_group(cgroup, spec)?;
    }
    furnish(&parked.sandbox, folder, spec)?;
    parked.sandbox.seal(seal(spec, capabilities))
}

/// Furnishes and seals a sandbox in which many commands will run.
pub(super) fn furnish_session(
    exec: &ExecDir,
    spec: &ExecSpec,
    parked: &mut Parked,
    capabilities: &CgroupCapabilities,
) -> Result<Option<ProxyProcess>, Refusal> {
    if !parked.is_sealed {
        fit(parked, exec, spec, capabilities)?;
        parked.sandbox.settle()?;
    }
    Ok(start_proxy(&mut parked.sandbox, &spec.network)?.0)
}

/// What of a spec decides about its sandbox; the rest is as for no command at all. Specs that are
/// equal in this can use each other's sandboxes.
pub(crate) fn sandbox_part(spec: &ExecSpec) -> ExecSpec {
    ExecSpec {
        argv: Vec::new(),
        cwd: None,
        env: Vec::new(),
        stdin: Stdin::Closed,
        pty: None,
        limits: Limits {
            timeout: None,
            silence_timeout: None,
            log: None,
            ..spec.limits
        },
        grace_period: Duration::ZERO,
        ..spec.clone()
    }
}

/// A sandbox made for a spec ahead of need.
pub(super) struct Ahead {
    parked: Parked,
    workspace: Option<DirectoryId>,
}

impl Ahead {
    /// Makes it as ready as can be: what an overlay on disk needs is known with the exec only.
    pub(super) fn make(spec: &ExecSpec, cgroups: &Cgroups) -> Result<Self, Refusal> {
        let capabilities = cgroups.capabilities();
        check::check_host(spec.isolation, &spec.limits, capabilities)?;
        let workspace = DirectoryId::of(&spec.workspace.path);
        let mut parked = make_sandbox(&design(spec), "parked", cgroups)?;
        if !has_overlay_on_disk(spec) {
            fit(&mut parked, &ExecDir::at(""), spec, capabilities)?;
            parked.sandbox.settle()?;
            parked.is_sealed = true;
        }
        Ok(Self { parked, workspace })
    }

    /// The sandbox; another one if the workspace is not what it was when this one was made, or
    /// if the exec's state directory, which was not known then, has to be hidden in it.
    pub(super) fn take(
        self,
        spec: &ExecSpec,
        exec: &ExecDir,
        cgroups: &Cgroups,
    ) -> Result<Parked, Refusal> {
        let same = self.workspace == DirectoryId::of(&spec.workspace.path);
        if same && !shows(spec, exec.state_path()) {
            return Ok(self.parked);
        }
        drop(self.parked);
        make_sandbox(&design(spec), exec.id(), cgroups)
    }
}

/// Whether a directory lies in what a sandbox for this spec is shown of the host.
fn shows(spec: &ExecSpec, directory: &Path) -> bool {
    let directory = std::fs::canonicalize(directory);
    let shown = spec.read_only_paths.iter().chain([&spec.workspace.path]);
    directory.is_ok_and(|directory| {
        shown
            .filter_map(|path| std::fs::canonicalize(path).ok())
            .any(|path| directory.starts_with(path))
    })
}

/// Tells a directory from another one that was put in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DirectoryId {
    device: u64,
    inode: u64,
}

impl DirectoryId {
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// Makes a sandbox and the group it lives in.
pub(super) fn make_sandbox(
    design: &Design,
    name: &str,
    cgroups: &Cgroups,
) -> Result<Parked, Refusal> {
    let cgroup = make_group(name, cgroups)?;
    let sandbox = Blank::create(Shape::of(design), cgroup.as_ref())?.build(design)?;
    Ok(Parked::fresh(sandbox, cgroup))
}

/// A sandbox of the usual shape that is not built yet, with the group it lives in.
pub(super) struct ParkedBlank {
    blank: Blank,
    cgroup: Option<Cgroup>,
}

impl ParkedBlank {
    pub(super) fn make(cgroups: &Cgroups) -> Result<Self, Refusal> {
        let cgroup = make_group("blank", cgroups)?;
        let mut blank = Blank::create(Shape::USUAL, cgroup.as_ref())?;
        blank.look_around()?;
        Ok(Self { blank, cgroup })
    }

    pub(super) fn build(self, design: &Design) -> Result<Parked, Refusal> {
        let sandbox = self.blank.build(design)?;
        Ok(Parked::fresh(sandbox, self.cgroup))
    }
}

fn make_group(name: &str, cgroups: &Cgroups) -> Result<Option<Cgroup>, Refusal> {
    match cgroups.capabilities().version {
        CgroupVersion::None => Ok(None),
        CgroupVersion::V1 | CgroupVersion::Hybrid | CgroupVersion::V2 => {
            let group = cgroups.create(&orphans::group_name(name));
            group.map(Some).map_err(|e| failed_by(&e))
        }
    }
}

/// The part of a spec that a sandbox must be made for.
pub(crate) fn design(spec: &ExecSpec) -> Design {
    let owner = std::fs::metadata(&spec.workspace.path);
    let privileged = rustix::process::geteuid().is_root();
    let (uid, gid) = match owner {
        Ok(owner) if privileged => {
            use std::os::unix::fs::MetadataExt;
            (owner.uid(), owner.gid())
        }
        _ => (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
    };
    Design {
        isolation: spec.isolation,
        network: spec.network.clone(),
        rootfs: spec.rootfs.clone(),
        home: inside_home(&spec.home),
        scratch_size: spec.limits.disk.unwrap_or(SCRATCH_DEFAULT),
        uid,
        gid,
    }
}

/// A home that is no place of its own gets one.
fn inside_home(home: &Path) -> PathBuf {
    const SYSTEM: [&str; 6] = ["/usr", "/etc", "/dev", "/proc", "/sys", "/bin"];
    let usable = home.is_absolute()
        && home != Path::new("/")
        && !SYSTEM.iter().any(|system| home.starts_with(system));
    if usable {
        home.to_owned()
    } else {
        PathBuf::from("/home/cogo")
    }
}

fn limit_group(cgroup: &mut Cgroup, spec: &ExecSpec) -> Result<(), Refusal> {
    let limits = CgroupLimits {
        memory: spec.limits.memory,
        cpus: spec.limits.cpus,
        // Process 1 lives in the group too.
        pids: spec.limits.pids.map(|pids| pids.saturating_add(1)),
    };
    cgroup.set_limits(&limits).map_err(|e| failed_by(&e))
}

fn furnish(sandbox: &Sandbox, exec: &ExecDir, spec: &ExecSpec) -> Result<(), Refusal> {
    let on_disk = has_overlay_on_disk(spec);
    let overlay = exec.overlay_dir();
    if on_disk {
        step(
            "make the overlay",
            std::fs::DirBuilder::new().mode(0o700).create(&overlay),
        )?;
    }
    let outside_workspace =
        |path: &&PathBuf| !path.starts_with(&spec.workspace.path) && path.is_absolute();
    let read_only_paths: Vec<PathBuf> = spec
        .read_only_paths
        .iter()
        .filter(outside_workspace)
        .cloned()
        .collect();
    sandbox.furnish(&Furnishing {
        workspace: &spec.workspace,
        read_only_paths: &read_only_paths,
        overlay_on_disk: on_disk.then_some(overlay.as_path()),
        hidden: exec.state_path(),
    })
}

/// A bound on the disk is kept by the scratch space; without one there is more room on disk.
fn has_overlay_on_disk(spec: &ExecSpec) -> bool {
    spec.workspace.mode == WorkspaceMode::Copy && spec.limits.disk.is_none()
}

/// Whether changes of a copied workspace are kept on disk.
pub(super) fn has_overlay(exec: &ExecDir) -> bool {
    exec.overlay_dir().exists()
}

fn seal(spec: &ExecSpec, cgroups: &CgroupCapabilities) -> Seal {
    let writable = match spec.workspace.mode {
        WorkspaceMode::ReadOnly => Vec::new(),
        WorkspaceMode::Direct | WorkspaceMode::Copy => vec![spec.workspace.path.clone()],
    };
    let rlimits = (cgroups.version == CgroupVersion::None).then(|| ProcessLimits {
        address_space: spec.limits.memory,
        processes: spec.limits.pids.map(u64::from),
    });
    Seal {
        writable,
        landlock_required: spec.isolation == Isolation::Strict,
        cpus: spec.limits.cpus.map_or_else(Vec::new, choose_cpus),
        rlimits,
        meminfo: spec.limits.memory.and_then(limited_meminfo),
    }
}

/// As many CPUs as the quota can fill, so that programs which count CPUs start as many threads
/// as will run. Which ones depends on the process id, to spread execs over the machine.
fn choose_cpus(cpus: f64) -> Vec<usize> {
    let wanted = cpus.ceil() as usize;
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return Vec::new();
    };
    let allowed: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect();
    if wanted >= allowed.len() {
        return Vec::new();
    }
    let first = std::process::id() as usize % allowed.len();
    allowed
        .iter()
        .cycle()
        .skip(first)
        .take(wanted)
        .copied()
        .collect()
}

/// What `/proc/meminfo` says to programs that size themselves by it. `None` if the host has less
/// memory than the limit.
fn limited_meminfo(limit: u64) -> Option<String> {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit);
    let limit_kib = limit / 1024;
    if limit_kib >= info.totalram * unit / 1024 {
        return None;
    }
    let free_kib = limit_kib.min(info.freeram * unit / 1024);
    let line = |name: &str, kib: u64| format!("{:<16}{kib:>8} kB\n", format!("{name}:"));
    let amounts = [
        ("MemTotal", limit_kib),
        ("MemFree", free_kib),
        ("MemAvailable", free_kib),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
    ];
    Some(amounts.iter().map(|(name, kib)| line(name, *kib)).collect())
}

fn start_command(
    exec: ExecDir,
    lock: ExecLock,
    spec: ExecSpec,
    secrets: Secrets,
    parked: Parked,
    capabilities: &CgroupCapabilities,
) -> Result<Prepared, Refusal> {
    let Parked {
        mut sandbox,
        cgroup,
        before,
        made_for,
        ..
    } = parked;
    let redactor = redactor(&secrets)?;
    let (proxy, proxy_variables) = start_proxy(&mut sandbox, &spec.network)?;
    let pipes = step("make pipes", Pipes::new(&spec))?;
    let request = spawn_request(&spec, secrets, proxy_variables);
    let channel = sandbox.spawn(request, &pipes.theirs())?;
    let now = Instant::now();
    // The folder is filled while process 1 starts the command: its output waits in the pipes, and
    // a file that cannot be made ends the command with the sandbox.
    exec.write_spec(&spec).map_err(|e| failed_by(&e))?;
    let options = LogOptions {
        bytes_max: spec.limits.log,
        ..LogOptions::default()
    };
    let log = LogWriter::create(&exec.log_dir(), options).map_err(|e| failed_by(&e))?;
    let clients = step("open the control socket", Clients::listen(&exec))?;
    let mut outputs = Outputs::new(log, now);
    let (pidfd, input) = match hear_start(&sandbox, &channel)? {
        Start::Running { pidfd, master } => {
            let input = step(
                "connect the command",
                pipes.connect(&mut outputs, master, &redactor),
            )?;
            (pidfd, input)
        }
        Start::Failed { message, errno } => {
            // A session's group is not this process's to remove, which drop knows.
            drop(sandbox);
            drop(cgroup);
            exec.remove_overlay();
            write_not_started(&exec, &lock, &message, errno)?;
            return Ok(Prepared::Ended);
        }
    };
    let group = step("find the command's process id", host_pid(&pidfd))?;
    let running = Running {
        supervisor_pid: std::process::id() as i32,
        command_pid: group.map(|pid| pid.as_raw_nonzero().get()),
        started_at_ms: unix_time_ms(),
        enforced: sandbox.enforced(version_name(capabilities.version)),
        // A session's group holds other execs too; whoever buries this one must leave it.
        cgroup: cgroup
            .as_ref()
            .filter(|_| !sandbox.is_link())
            .map(Cgroup::record),
    };
    exec.write_running(&running).map_err(|e| failed_by(&e))?;
    let facts = Facts {
        before,
        scratch_size: spec.limits.disk.unwrap_or(SCRATCH_DEFAULT),
        ..Facts::default()
    };
    Ok(Prepared::Running(Box::new(Supervisor {
        in_session: sandbox.is_link(),
        clocks: Clocks::start(&spec.limits, now),
        scratch: sandbox.scratch.take(),
        made_for,
        sandbox: Some(sandbox),
        command: Command { group, pidfd },
        exec,
        lock,
        spec,
        running,
        cgroup,
        channel,
        outputs,
        input,
        clients,
        proxy,
        facts,
    })))
}

/// How a version is written in `running.json`.
fn version_name(version: CgroupVersion) -> &'static str {
    match version {
        CgroupVersion::None => "none",
        CgroupVersion::V1 => "v1",
        CgroupVersion::Hybrid => "hybrid",
        CgroupVersion::V2 => "v2",
    }
}

fn redactor(secrets: &Secrets) -> Result<Redactor, Refusal> {
    let values = secrets
        .iter()
        .map(|secret| secret.value.as_bytes().to_vec())
        .collect();
    Redactor::new(values).map_err(|e| invalid(e.to_string(), "choose a longer secret"))
}

/// Environment variables, as names and values.
type Variables = Vec<(String, String)>;

/// Starts the proxy on the sandbox's listener, which a link to a session has not, and tells the
/// variables that lead programs to it.
fn start_proxy(
    sandbox: &mut Sandbox,
    network: &Network,
) -> Result<(Option<ProxyProcess>, Variables), Refusal> {
    let Network::Allow(domains) = network else {
        return Ok((None, Vec::new()));
    };
    let allow = AllowList::parse(domains).map_err(|e| invalid(e.to_string(), None))?;
    let variables = proxy_env(PROXY_PORT, &allow);
    let listener = sandbox.proxy_listener.take();
    let proxy = listener
        .map(|listener| ProxyProcess::start(listener, &allow))
        .transpose();
    Ok((step("start the proxy", proxy)?, variables))
}

fn spawn_request(spec: &ExecSpec, secrets: Secrets, proxy_variables: Variables) -> SpawnRequest {
    let mut env = default_env(spec);
    env.extend(proxy_variables);
    env.extend(spec.env.iter().cloned());
    env.extend(
        secrets
            .into_iter()
            .map(|secret| (secret.name, secret.value)),
    );
    SpawnRequest {
        argv: spec.argv.clone(),
        env: last_wins(env),
        cwd: spec
            .cwd
            .clone()
            .unwrap_or_else(|| spec.workspace.path.clone()),
        pty: spec.pty,
        stdin: spec.stdin == Stdin::Open && spec.pty.is_none(),
    }
}

fn default_env(spec: &ExecSpec) -> Variables {
    const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let home = match spec.isolation {
        Isolation::None => spec.home.clone(),
        Isolation::Strict | Isolation::Standard => inside_home(&spec.home),
    };
    let home = home.display().to_string();
    [
        ("PATH", PATH),
        ("HOME", home.as_str()),
        ("LANG", "C.UTF-8"),
        ("SHELL", "/bin/sh"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn last_wins(env: Variables) -> Variables {
    let mut kept: Variables = Vec::with_capacity(env.len());
    for (name, value) in env {
        match kept.iter_mut().find(|(earlier, _)| *earlier == name) {
            Some(earlier) => earlier.1 = value,
            None => kept.push((name, value)),
        }
    }
    kept
}

/// How the sandbox answered a spawn.
enum Start {
    Running {
        pidfd: OwnedFd,
        master: Option<OwnedFd>,
    },
    Failed {
        message: String,
        errno: i32,
    },
}

fn hear_start(sandbox: &Sandbox, channel: &ExecChannel) -> Result<Start, Refusal> {
    match step("hear from the sandbox", channel.receive())? {
        Some((ExecReport::Started, beside)) => {
            let mut beside = beside.into_iter();
            let pidfd = beside
                .next()
                .ok_or_else(|| invalid("the sandbox sent no pidfd", None))?;
            Ok(Start::Running {
                pidfd,
                master: beside.next(),
            })
        }
        Some((ExecReport::NotStarted { message, errno }, _)) => {
            Ok(Start::Failed { message, errno })
        }
        Some((ExecReport::Ended { .. }, _)) | None => Err(sandbox.why_gone()),
    }
}

/// The process id behind a pidfd, as this process sees it (`proc_pid_fdinfo(5)`). `None` if the
/// process was reaped already.
fn host_pid(pidfd: &OwnedFd) -> io::Result<Option<Pid>> {
    use std::os::fd::AsRawFd;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    Ok(pid.filter(|pid: &i32| *pid > 0).and_then(Pid::from_raw))
}

fn write_not_started(
    exec: &ExecDir,
    lock: &ExecLock,
    message: &str,
    errno: i32,
) -> Result<(), Refusal> {
    let message = format!(
        "failed to {message}: {}",
        io::Error::from_raw_os_error(errno)
    );
    let verdict = Verdict {
        outcome: Outcome::NotStarted { errno, message },
        incidents: Vec::new(),
        usage: Usage::default(),
        survivors: 0,
        log_end: 0,
        ended_at_ms: unix_time_ms(),
    };
    let _ = std::fs::remove_file(exec.control_path());
    exec.write_verdict(&verdict, lock)
        .map_err(|e| failed_by(&e))
}

/// Both ends of the command's standard streams, until it has its own.
struct Pipes {
    stdin: Option<(OwnedFd, OwnedFd)>,
    /// Output and error; none with a terminal.
    outputs: Option<[(OwnedFd, OwnedFd); 2]>,
}

impl Pipes {
    fn new(spec: &ExecSpec) -> io::Result<Self> {
        if spec.pty.is_some() {
            return Ok(Self {
                stdin: None,
                outputs: None,
            });
        }
        let stdin = match spec.stdin {
            Stdin::Closed => None,
            Stdin::Open => Some(pipe_with(PipeFlags::CLOEXEC)?),
        };
        Ok(Self {
            stdin,
            outputs: Some([output_pipe()?, output_pipe()?]),
        })
    }

    /// The ends that the command gets.
    fn theirs(&self) -> Vec<BorrowedFd<'_>> {
        let stdin = self.stdin.iter().map(|(read, _)| read.as_fd());
        stdin
            .chain(
                self.outputs
                    .iter()
                    .flatten()
                    .map(|(_, write)| write.as_fd()),
            )
            .collect()
    }

    /// Keeps our ends and closes the command's, which has them now.
    fn connect(
        self,
        outputs: &mut Outputs,
        master: Option<OwnedFd>,
        redactor: &Redactor,
    ) -> io::Result<Input> {
        if let Some(master) = master {
            rustix::io::ioctl_fionbio(&master, true)?;
            outputs.add(master.try_clone()?, Stream::Stdout, redactor.clone());
            return Ok(Input::new(Sink::Terminal(master)));
        }
        for ((read, _), stream) in self
            .outputs
            .into_iter()
            .flatten()
            .zip([Stream::Stdout, Stream::Stderr])
        {
            rustix::io::ioctl_fionbio(&read, true)?;
            outputs.add(read, stream, redactor.clone());
        }
        let Some((_, write)) = self.stdin else {
            return Ok(Input::new(Sink::Closed));
        };
        rustix::io::ioctl_fionbio(&write, true)?;
        Ok(Input::new(Sink::Pipe(write)))
    }
}

/// A pipe that holds as much as is read at once, so that a flood costs few wake-ups.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // An unprivileged user's total is bounded; the default size works too.
    let _ = fcntl_setpipe_size(&write, READ_MAX);
    Ok((read, write))
}
