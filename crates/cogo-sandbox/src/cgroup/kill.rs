//! Ends every process of a group, and proves that none is left.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, SeekFrom};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::group::Cgroup;
use super::{CgroupError, Controller, Version, file, v2};

/// How a kill went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Processes seen alive in the group.
    pub seen: usize,
    /// Processes still there at the deadline: stuck in the kernel, or the group is broken.
    pub survivors: usize,
}

/// How a kill deals with processes that fork meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// `cgroup.kill`: the kernel signals forks in flight, too.
    Atomic,
    /// `cgroup.freeze` (v2 before 5.14): nothing runs between the listing and the signals.
    FreezeV2,
    /// `freezer.state` of v1, likewise.
    FreezeV1,
    /// Signals again and again; with a pids controller forks are forbidden meanwhile.
    Signals,
}

/// The first pause when waiting for a change; each later one is twice as long.
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// Longest wait for a group to freeze: a process stuck in the kernel may never do.
const FREEZE_TIMEOUT: Duration = Duration::from_millis(500);

/// Up to this many processes are waited for one by one, which tells at once when the last is gone.
const FEW: usize = 32;

/// Most pidfds held at once; the rest of a larger group waits for the next round.
const PIDFDS_MAX: usize = 256;

/// Kills the group until nothing is left in any hierarchy, or until `within` has passed.
pub(super) fn kill(
    group: &Cgroup,
    method: Method,
    within: Duration,
) -> Result<Killed, CgroupError> {
    let deadline = Instant::now() + within;
    let alive = group.pids_everywhere()?;
    if alive.is_empty() {
        return Ok(Killed::default());
    }
    refuse_suicide(group, &alive)?;
    let fence = if method == Method::Atomic {
        None
    } else {
        ForkFence::raise(group)
    };
    let result = strike_until_empty(group, method, fence.is_some(), alive, deadline);
    if let Some(fence) = fence {
        group.forget_pids_limit_hits(fence.lower());
    }
    result
}

fn strike_until_empty(
    group: &Cgroup,
    method: Method,
    is_fenced: bool,
    mut alive: Vec<i32>,
    deadline: Instant,
) -> Result<Killed, CgroupError> {
    let mut seen = alive.clone();
    let mut result = Ok(());
    while !alive.is_empty() && result.is_ok() && Instant::now() < deadline {
        result = strike(group, method, &alive, is_fenced, deadline);
        alive = group.pids_everywhere()?;
        seen.extend_from_slice(&alive);
        seen.sort_unstable();
        seen.dedup();
    }
    // A control file that failed does not matter if nothing is left, as when two clean up at once.
    if !alive.is_empty() {
        result?;
    }
    Ok(Killed {
        seen: seen.len(),
        survivors: alive.len(),
    })
}

fn refuse_suicide(group: &Cgroup, alive: &[i32]) -> Result<(), CgroupError> {
    if alive.contains(&std::process::id().cast_signed()) {
        return Err(CgroupError::OwnGroup {
            path: group.some_path(),
        });
    }
    Ok(())
}

/// One round: signals what is alive and waits until that has had its effect.
fn strike(
    group: &Cgroup,
    method: Method,
    alive: &[i32],
    is_fenced: bool,
    deadline: Instant,
) -> Result<(), CgroupError> {
    let dir = |name: &str| group.path_with(name);
    match method {
        Method::Atomic => strike_atomic(group, &dir("cgroup.kill"), alive, deadline),
        Method::FreezeV2 => {
            let freeze = dir("cgroup.freeze");
            v2::write_value(&freeze, "1")?;
            wait_for(deadline.min(soon(FREEZE_TIMEOUT)), || {
                let events = file::read(&freeze.with_file_name("cgroup.events"))?;
                Ok(file::keyed_number(&events, "frozen") == Some(1))
            });
            // v2 lets a frozen process die.
            let killed = signal_listed(group, deadline);
            v2::write_value(&freeze, "0").and(killed)
        }
        Method::FreezeV1 => {
            let state = dir("freezer.state");
            v2::write_value(&state, "FROZEN")?;
            wait_for(deadline.min(soon(FREEZE_TIMEOUT)), || {
                Ok(file::read(&state)?.starts_with("FROZEN"))
            });
            // A frozen process dies when it is thawed, so the wait comes after that.
            let pids = group.pids_everywhere();
            let signalled = pids.map(|pids| signal(&pids, still_in(group)));
            v2::write_value(&state, "THAWED")?;
            wait_for_exits(&signalled?, deadline);
            Ok(())
        }
        Method::Signals if is_fenced => signal_listed(group, deadline),
        Method::Signals => {
            // Any wait would give a fork bomb time to grow back.
            signal(alive, still_in(group));
            rustix::thread::sched_yield();
            Ok(())
        }
    }
}

/// Signals and waits. Lists again, since more may have been forked until the freeze.
fn signal_listed(group: &Cgroup, deadline: Instant) -> Result<(), CgroupError> {
    let pidfds = signal(&group.pids_everywhere()?, still_in(group));
    wait_for_exits(&pidfds, deadline);
    Ok(())
}

fn strike_atomic(
    group: &Cgroup,
    kill: &Path,
    alive: &[i32],
    deadline: Instant,
) -> Result<(), CgroupError> {
    let events = kill.with_file_name("cgroup.events");
    if !file::read(&events).is_ok_and(|events| v2::is_populated(&events)) {
        // What is alive joined the other hierarchies only: it was stopped on its way in.
        return signal_listed(group, deadline);
    }
    let pidfds = if alive.len() <= FEW {
        pin(alive)
    } else {
        Vec::new()
    };
    v2::write_value(kill, "1")?;
    if pidfds.is_empty() {
        wait_until_unpopulated(&events, deadline);
    } else {
        // Not for long: one of them may be on its way in, and not signalled yet.
        wait_for_exits(
            pidfds.iter().map(|(_, pidfd)| pidfd),
            deadline.min(soon(PAUSE_MAX)),
        );
    }
    Ok(())
}

/// Lists the group anew, to tell whether an id still belongs to it.
fn still_in(group: &Cgroup) -> impl Fn() -> Vec<i32> {
    || group.pids_everywhere().unwrap_or_default()
}

/// Sends `SIGKILL` to processes of the group, and returns descriptors that tell of their end.
///
/// A pid may be reused between the listing and the signal. A pidfd pins it; if a listing made
/// after that has the pid still, then the pidfd is of a process of the group.
fn signal(pids: &[i32], list: impl Fn() -> Vec<i32>) -> Vec<OwnedFd> {
    let mut pidfds = pin(pids);
    let listed = list();
    pidfds.retain(|(pid, _)| listed.binary_search(pid).is_ok());
    for (_, pidfd) in &pidfds {
        // It can only fail for one that has ended.
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
    // The rest of a large group, and all where descriptors are short, by id: killing many at once
    // matters more there than the unlikely reuse within microseconds.
    for pid in listed {
        let is_done = pidfds.iter().any(|(done, _)| *done == pid);
        if let Some(pid) = Pid::from_raw(pid).filter(|_| !is_done) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    pidfds.into_iter().map(|(_, pidfd)| pidfd).collect()
}

/// Opens a pidfd for each process that is still there, up to a bound.
fn pin(pids: &[i32]) -> Vec<(i32, OwnedFd)> {
    let open = |pid: &i32| {
        let pidfd = pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()?;
        Some((*pid, pidfd))
    };
    pids.iter().take(PIDFDS_MAX).filter_map(open).collect()
}

/// Waits until each process has ended, or until the deadline.
fn wait_for_exits<'a>(pidfds: impl IntoIterator<Item = &'a OwnedFd>, deadline: Instant) {
    for pidfd in pidfds {
        wait_readable(
            pidfd,
            PollFlags::IN,
            deadline.saturating_duration_since(Instant::now()),
        );
    }
}

fn soon(pause: Duration) -> Instant {
    Instant::now() + pause
}

/// Waits for `populated 0`.
pub(super) fn wait_until_unpopulated(events: &Path, deadline: Instant) {
    let Ok(events) = file::open(events, OFlags::RDONLY) else {
        return;
    };
    let mut pause = PAUSE_MIN;
    loop {
        let text = rustix::fs::seek(&events, SeekFrom::Start(0)).map_err(io::Error::from);
        let text = text.and_then(|_| file::read_to_end(&events));
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !text.is_ok_and(|text| v2::is_populated(&text)) {
            return;
        }
        // The kernel tells of changes, but holds the news back for 10 ms after the last ones, so a
        // group that has just been filled is looked at more often.
        wait_readable(&events, PollFlags::PRI, pause.min(left));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Asks again and again, with growing pauses, until the answer is yes, an error, or too late.
pub(super) fn wait_for(deadline: Instant, mut is_done: impl FnMut() -> io::Result<bool>) {
    let mut pause = PAUSE_MIN;
    while is_done().is_ok_and(|done| !done) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let _ = poll(&mut [], Some(&timespec(pause.min(left))));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn wait_readable(fd: impl AsFd, flags: PollFlags, timeout: Duration) {
    // An interrupted wait is a short one; callers look at the state, not at the answer.
    let _ = poll(&mut [PollFd::new(&fd, flags)], Some(&timespec(timeout)));
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Forbids forks in a group by a pids limit of zero, which leaves running processes alone.
struct ForkFence {
    dir: PathBuf,
    limit: String,
    hits: u64,
}

impl ForkFence {
    fn raise(group: &Cgroup) -> Option<Self> {
        let dir = group.made_with(Controller::Pids)?.path.clone();
        let path = dir.join("pids.max");
        let limit = file::read(&path).ok()?.trim().to_owned();
        let hits = v2::pids_limit_hits(&dir).unwrap_or(0);
        file::write(&path, "0").ok()?;
        Some(Self { dir, limit, hits })
    }

    /// Restores the limit and returns how many forks were refused meanwhile.
    fn lower(self) -> u64 {
        // A group that cannot be restored is about to be removed.
        let _ = file::write(&self.dir.join("pids.max"), &self.limit);
        v2::pids_limit_hits(&self.dir)
            .unwrap_or(self.hits)
            .saturating_sub(self.hits)
    }
}

/// The best method that the group's hierarchies offer.
pub(super) fn best_method(group: &Cgroup) -> Method {
    let v2 = group
        .made()
        .find(|directory| directory.version == Version::V2);
    match v2 {
        Some(directory) if directory.path.join("cgroup.kill").exists() => Method::Atomic,
        Some(directory) if directory.path.join("cgroup.freeze").exists() => Method::FreezeV2,
        Some(_) | None if group.made_with(Controller::Freezer).is_some() => Method::FreezeV1,
        Some(_) | None => Method::Signals,
    }
}
