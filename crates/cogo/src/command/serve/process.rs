//! The process of one local worker.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use cogo_protocol::worker::{CreateWorker, WorkerId};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::pool::PoolSettings;

/// Holds the process id of the worker that uses a directory, and when that process started.
const PID_FILE: &str = "pid";
/// What the worker says on stderr.
const LOG_FILE: &str = "worker.log";
/// Bytes of a log that is begun anew at the next start.
const LOG_MAX: u64 = 4 << 20;

/// A worker's process, a child of ours or of an earlier manager.
pub(super) struct WorkerProcess {
    pidfd: OwnedFd,
    child: Mutex<Option<Child>>,
}

impl WorkerProcess {
    /// Finds the process that an earlier manager started for this worker, or starts one.
    pub(super) fn find_or_start(
        settings: &PoolSettings,
        worker_id: &WorkerId,
        request: &CreateWorker,
    ) -> io::Result<Self> {
        let directory = settings.directory.join(directory_name(worker_id));
        fs::create_dir_all(&directory)?;
        match find(&directory) {
            Some(process) => Ok(process),
            None => spawn(settings, worker_id, request, &directory),
        }
    }

    /// Waits for its end, and tells how that was.
    pub(super) fn wait(&self) -> String {
        loop {
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match child.as_mut().map(Child::wait) {
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => format!("nobody saw how: {error}"),
            None => "it ended; an earlier server had started it".to_owned(),
        }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once. What it runs goes on.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // One that has ended already needs none.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), signal);
    }
}

/// A worker's name as the name of a directory.
pub(super) fn directory_name(worker_id: &WorkerId) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if worker_id.as_str().chars().all(plain) && worker_id.as_str().len() <= 64 {
        return worker_id.to_string();
    }
    let digits: Vec<_> = worker_id
        .as_str()
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.concat()
}

fn spawn(
    settings: &PoolSettings,
    worker_id: &WorkerId,
    request: &CreateWorker,
    directory: &Path,
) -> io::Result<WorkerProcess> {
    let log = directory.join(LOG_FILE);
    let keep = fs::metadata(&log).is_ok_and(|log| log.len() < LOG_MAX);
    let log = File::options()
        .create(true)
        .write(true)
        .append(keep)
        .truncate(!keep)
        .open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--state-dir")
        .arg(directory)
        .args(["worker", "--handover", "--id", worker_id.as_str()])
        .args(["--join", &settings.join])
        .arg("--token-file")
        .arg(&settings.token_file);
    if let Some(kind) = &request.kind {
        command.args(["--type", kind]);
    }
    for (key, value) in &request.labels {
        command.arg("--label").arg(format!("{key}={value}"));
    }
    if let Some(slots) = settings.slots {
        command.args(["--slots", &slots.to_string()]);
    }
    command.args(&settings.blocks);
    // Away from the terminal: Ctrl-C is for the manager, which knows what to do about workers.
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    write_pid(directory, pid)?;
    Ok(WorkerProcess {
        pidfd,
        child: Mutex::new(Some(child)),
    })
}

fn write_pid(directory: &Path, pid: Pid) -> io::Result<()> {
    let started = start_time(pid).unwrap_or_default();
    let new = directory.join("pid.new");
    fs::write(&new, format!("{} {started}\n", pid.as_raw_nonzero()))?;
    fs::rename(new, directory.join(PID_FILE))
}

/// The process that is in the file, if it is still the same one.
fn find(directory: &Path) -> Option<WorkerProcess> {
    let text = fs::read_to_string(directory.join(PID_FILE)).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let pid = Pid::from_raw(pid.parse().ok()?)?;
    // First the descriptor, then the check: from here on it cannot become another process.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (start_time(pid)?.to_string() == started).then(|| WorkerProcess {
        pidfd,
        child: Mutex::new(None),
    })
}

/// When a process started, in the kernel's ticks since boot.
fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let state = rest.split_whitespace().next()?;
    // A zombie has ended.
    if state == "Z" {
        return None;
    }
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_directories() {
        let name = |id: &str| directory_name(&id.parse().unwrap());
        assert_eq!(name("local-1"), "local-1");
        assert_eq!(name("../x"), "2e2e2f78");
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = rustix::process::getpid();
        let place = tempfile::tempdir().unwrap();
        assert!(find(place.path()).is_none());
        write_pid(place.path(), own).unwrap();
        assert!(find(place.path()).is_some());
        fs::write(
            place.path().join(PID_FILE),
            format!("{} 1\n", own.as_raw_nonzero()),
        )
        .unwrap();
        assert!(find(place.path()).is_none());
    }
}
