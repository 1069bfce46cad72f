//! The state directory: one folder per exec, which outlives every process of ours.
//!
//! ```text
//! <state>/execs/<id>/
//!   lock           held (flock) by the supervisor for as long as it lives
//!   spec.json      what was asked, without secrets; appears while the command is started
//!   running.json   who runs it and what is enforced; appears when the command runs
//!   log/           the output, see `log`
//!   control.sock   the supervisor's socket, see `control`; gone at the end
//!   overlay/       changes of a copied workspace; gone at the end
//!   verdict.json   how it ended; appears once, durably, and never changes
//! ```
//!
//! The lock tells life from death without guessing about process ids: a free lock and no
//! verdict mean that the supervisor died, and whoever notices first buries the exec.

mod spare;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::rootfs::removal;
use crate::spec::{ExecSpec, Isolation};
use crate::supervisor::orphans;
use crate::verdict::{Outcome, Usage, Verdict};

use self::spare::Spares;

/// Longest wait for killed processes to be gone. They are as good as gone; this is for the
/// kernel to finish their exit, which can take long when they hold much memory.
pub(crate) const KILL_MAX: Duration = Duration::from_secs(10);

/// The file that says what was asked.
const SPEC: &str = "spec.json";
/// The file that says who runs an exec.
const RUNNING: &str = "running.json";
/// The file that says how an exec ended.
const VERDICT: &str = "verdict.json";

/// Why a state or exec directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file operation failed.
    #[error("failed to {action} `{path}`")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of ours does not parse.
    #[error("failed to read `{path}`: it is not what cogo wrote")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where it went wrong.
        source: serde_json::Error,
    },
    /// An exec of that name is there already.
    #[error("exec `{0}` exists already")]
    Exists(String),
    /// The name cannot be a folder of ours.
    #[error("`{0}` is not an exec id")]
    InvalidId(String),
}

/// The folder under which everything of ours lives.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    spares: Option<Arc<Spares>>,
}

impl StateDir {
    /// Opens the folder, making it (mode 0700) where it is missing.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be made.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let path = std::path::absolute(path).map_err(|e| io_error("resolve", path, e))?;
        make_private_dir(&path.join("execs"))?;
        Ok(Self { path, spares: None })
    }

    /// Has so many folders of retired execs handed on to new ones. For one process that owns the
    /// state directory.
    ///
    /// # Errors
    ///
    /// Fails when the place for them cannot be made.
    pub fn with_spares(self, max: usize) -> Result<Self, StateError> {
        let folder = self.path.join("spare");
        let spares = Spares::open(folder.clone(), max);
        let spares = spares.map_err(|e| io_error("create", &folder, e))?;
        Ok(Self {
            spares: Some(Arc::new(spares)),
            ..self
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder of a new exec and locks it for the caller, who hands the lock on to
    /// the supervisor.
    ///
    /// # Errors
    ///
    /// Fails when the id is taken or unusable, or the folder cannot be made.
    pub fn create_exec(&self, id: &str) -> Result<(ExecDir, ExecLock), StateError> {
        check_id(id)?;
        let dir = ExecDir {
            path: self.path.join("execs").join(id),
        };
        match self.make_exec_folder(&dir.path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StateError::Exists(id.to_owned()));
            }
            Err(e) => return Err(io_error("create", &dir.path, e)),
        }
        let lock = dir
            .try_lock()?
            .ok_or_else(|| StateError::Exists(id.to_owned()))?;
        Ok((dir, lock))
    }

    fn make_exec_folder(&self, path: &Path) -> io::Result<()> {
        if let Some(spares) = &self.spares
            && spares.become_exec(path)?
        {
            return Ok(());
        }
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    /// Removes an exec that is over, as [`ExecDir::remove`] does. What its folder is made of may
    /// serve another exec.
    ///
    /// # Errors
    ///
    /// As [`ExecDir::remove`].
    pub fn retire(&self, exec: ExecDir) -> Result<(), StateError> {
        let Some(spares) = &self.spares else {
            return exec.remove();
        };
        let _lock = exec.lock_to_remove()?;
        if spares.take(&exec.path) {
            return Ok(());
        }
        fs::remove_dir_all(&exec.path).map_err(|e| io_error("remove", &exec.path, e))
    }

    /// The exec of that id, if there is one.
    pub fn exec(&self, id: &str) -> Option<ExecDir> {
        check_id(id).ok()?;
        let path = self.path.join("execs").join(id);
        path.is_dir().then_some(ExecDir { path })
    }

    /// All execs, oldest first where ids are ordered by time.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be listed.
    pub fn execs(&self) -> Result<Vec<ExecDir>, StateError> {
        let execs = self.path.join("execs");
        let mut found: Vec<ExecDir> = fs::read_dir(&execs)
            .map_err(|e| io_error("list", &execs, e))?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| ExecDir { path: entry.path() })
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}

/// The folder of one exec.
#[derive(Clone, Debug)]
pub struct ExecDir {
    path: PathBuf,
}

/// The right to write an exec's verdict: its supervisor's while that lives.
#[derive(Debug)]
pub struct ExecLock(File);

impl ExecLock {
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(File::from(fd))
    }

    /// Gives the right up, now that the verdict is written.
    pub(crate) fn release(self) {
        release(&self.0);
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

/// Where an exec stands.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecState {
    /// A supervisor has it, but the command does not run yet.
    Starting,
    /// The command runs.
    Running(Running),
    /// It ended.
    Ended(Verdict),
}

/// What is known of a running exec: the content of `running.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Process id of the supervisor.
    pub supervisor_pid: i32,
    /// Process id of the command, as the host sees it; `None` if it ended at once.
    pub command_pid: Option<i32>,
    /// Unix time of the start, in milliseconds.
    pub started_at_ms: u64,
    /// What holds the command.
    pub enforced: Enforced,
    /// The control groups, for whoever must clean up after a dead supervisor.
    pub cgroup: Option<crate::cgroup::CgroupRecord>,
}

/// The mechanisms that hold a running exec, as they were really applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// The tier that was asked for and is met.
    pub isolation: Isolation,
    /// Namespaces that are the exec's own, by kernel name.
    pub namespaces: Vec<String>,
    /// Whether the system call filter is on.
    pub seccomp: bool,
    /// The Landlock version in force.
    pub landlock_abi: Option<u32>,
    /// `v2`, `v1`, `hybrid` or `none`.
    pub cgroup: String,
    /// Whether the command runs under a user id that owns nothing on the host.
    pub unused_uid: bool,
}

impl ExecDir {
    /// Opens the folder of an exec by its path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The exec's id: the folder's name.
    pub fn id(&self) -> &str {
        self.path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }

    /// The state directory it is in.
    pub(crate) fn state_path(&self) -> &Path {
        let state = self.path.parent().and_then(Path::parent);
        state.unwrap_or(&self.path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the log's segments.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The supervisor's socket.
    pub fn control_path(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Where changes of a copied workspace are kept while the exec runs.
    pub(crate) fn overlay_dir(&self) -> PathBuf {
        self.path.join("overlay")
    }

    /// Throws the changes of a copied workspace away, once the sandbox that mounts them is gone.
    pub(crate) fn remove_overlay(&self) {
        // What cannot be removed now goes with the whole folder.
        let _ = removal::remove(rustix::fs::CWD, self.overlay_dir().as_path());
    }

    /// What was asked.
    ///
    /// # Errors
    ///
    /// Fails when the file is missing or damaged.
    pub fn spec(&self) -> Result<ExecSpec, StateError> {
        read_json(&self.path.join(SPEC))?
            .ok_or_else(|| io_error("open", &self.path, io::ErrorKind::NotFound.into()))
    }

    /// Who runs it, once the command runs.
    ///
    /// # Errors
    ///
    /// Fails when the file is damaged.
    pub fn running(&self) -> Result<Option<Running>, StateError> {
        read_json(&self.path.join(RUNNING))
    }

    /// Where the exec stands. An exec whose supervisor died is buried on the way: what is left
    /// of it is killed, and its verdict becomes [`Outcome::Unknown`].
    ///
    /// # Errors
    ///
    /// Fails when a file is damaged or cannot be read or written.
    pub fn state(&self) -> Result<ExecState, StateError> {
        if let Some(verdict) = self.verdict()? {
            return Ok(ExecState::Ended(verdict));
        }
        if let Some(lock) = self.try_lock()? {
            // The verdict may have been written between the two looks.
            let verdict = match self.verdict()? {
                Some(verdict) => Ok(verdict),
                None => match self.recover_verdict()? {
                    Some(verdict) => Ok(verdict),
                    None => self.bury(&lock),
                },
            };
            release(&lock.0);
            return verdict.map(ExecState::Ended);
        }
        Ok(self
            .running()?
            .map_or(ExecState::Starting, ExecState::Running))
    }

    /// Waits until the supervisor is gone, then tells the verdict. Blocks the thread.
    ///
    /// # Errors
    ///
    /// As [`ExecDir::state`].
    pub fn wait(&self) -> Result<Verdict, StateError> {
        loop {
            if let ExecState::Ended(verdict) = self.state()? {
                return Ok(verdict);
            }
            let file = self.open_lock()?;
            self.lock_blocking(&file, FlockOperation::LockShared)?;
            release(&file);
        }
    }

    /// Removes the folder with everything in it.
    ///
    /// # Errors
    ///
    /// Fails when the exec still runs or the folder cannot be removed.
    pub fn remove(self) -> Result<(), StateError> {
        let _lock = self.lock_to_remove()?;
        fs::remove_dir_all(&self.path).map_err(|e| io_error("remove", &self.path, e))
    }

    /// The lock of an exec that is over.
    fn lock_to_remove(&self) -> Result<ExecLock, StateError> {
        match self.try_lock()? {
            Some(lock) => Ok(lock),
            // Its supervisor is about to go, and will not be long.
            None if self.verdict()?.is_some() => {
                let file = self.open_lock()?;
                self.lock_blocking(&file, FlockOperation::LockExclusive)?;
                Ok(ExecLock(file))
            }
            None => {
                let busy = io::Error::from(io::ErrorKind::ResourceBusy);
                Err(io_error("remove the running exec", &self.path, busy))
            }
        }
    }

    /// The verdict, once there is one. Does not bury.
    pub(crate) fn verdict(&self) -> Result<Option<Verdict>, StateError> {
        self.read_verdict(&self.path.join(VERDICT))
    }

    /// A verdict of this exec. After a power loss a folder that was handed on may have the old
    /// one's.
    fn read_verdict(&self, path: &Path) -> Result<Option<Verdict>, StateError> {
        let found: Option<VerdictFile<Verdict>> = read_json(path)?;
        Ok(found
            .filter(|found| found.exec.as_deref().is_none_or(|exec| exec == self.id()))
            .map(|found| found.verdict))
    }

    pub(crate) fn write_spec(&self, spec: &ExecSpec) -> Result<(), StateError> {
        self.write_json(SPEC, spec, Durability::ProcessDeath)
    }

    pub(crate) fn write_running(&self, running: &Running) -> Result<(), StateError> {
        self.write_json(RUNNING, running, Durability::ProcessDeath)
    }

    /// Writes the verdict. The lock shows that nobody else does. On a full disk it takes the
    /// place of `running.json`, whose news is old by now.
    pub(crate) fn write_verdict(&self, verdict: &Verdict, _: &ExecLock) -> Result<(), StateError> {
        let file = VerdictFile {
            exec: Some(self.id().to_owned()),
            verdict,
        };
        let write = || self.write_json(VERDICT, &file, Durability::PowerLoss);
        write().or_else(|error| {
            fs::remove_file(self.path.join(RUNNING)).map_err(|_| error)?;
            write()
        })
    }

    fn open_lock(&self) -> Result<File, StateError> {
        let path = self.path.join("lock");
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| io_error("open", &path, e))
    }

    fn try_lock(&self) -> Result<Option<ExecLock>, StateError> {
        let file = self.open_lock()?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(ExecLock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(io_error("lock", &self.path, e.into())),
        }
    }

    fn lock_blocking(&self, file: &File, operation: FlockOperation) -> Result<(), StateError> {
        loop {
            match flock(file, operation) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(io_error("lock", &self.path, e.into())),
            }
        }
    }

    /// Gives a verdict its name whose supervisor, or whose machine, stopped between the sync and
    /// the rename. A torn one is no verdict. The caller holds the lock.
    fn recover_verdict(&self) -> Result<Option<Verdict>, StateError> {
        let beside = self.beside(VERDICT);
        let Ok(Some(verdict)) = self.read_verdict(&beside) else {
            return Ok(None);
        };
        // The group was empty, but nobody removed it.
        self.end_leftovers()?;
        let path = self.path.join(VERDICT);
        File::open(&beside)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|e| io_error("write", &path, e))?;
        self.remove_working_files();
        Ok(Some(verdict))
    }

    /// Kills what a dead supervisor left running, and tells how much of it could not be killed.
    fn end_leftovers(&self) -> Result<u32, StateError> {
        let mut survivors = 0;
        let running = self.running()?;
        if running.is_none() {
            // It died on the way to the command. What it had made so far is not recorded.
            orphans::end_groups_of(self.id(), &Cgroups::discover(None));
        }
        if let Some(record) = running.and_then(|running| running.cgroup)
            && let Ok(cgroup) = crate::cgroup::Cgroup::reopen(&record)
        {
            survivors = u32::from(cgroup.kill(KILL_MAX).is_err());
            // A group that cannot be removed now holds nothing that runs.
            let _ = cgroup.remove();
        }
        Ok(survivors)
    }

    /// Ends what a dead supervisor left behind and says openly that the end is not known.
    fn bury(&self, lock: &ExecLock) -> Result<Verdict, StateError> {
        let survivors = self.end_leftovers()?;
        self.remove_working_files();
        let verdict = Verdict {
            outcome: Outcome::Unknown {
                reason: "the supervisor died before it could see the end".to_owned(),
            },
            incidents: Vec::new(),
            usage: Usage::default(),
            survivors,
            log_end: crate::log::log_end(&self.log_dir()).map_or(0, |end| end.seq),
            ended_at_ms: unix_time_ms(),
        };
        self.write_verdict(&verdict, lock)?;
        Ok(verdict)
    }

    /// Removes what only a live supervisor has a use for.
    fn remove_working_files(&self) {
        let _ = fs::remove_file(self.control_path());
        for name in [SPEC, RUNNING, VERDICT] {
            let _ = fs::remove_file(self.beside(name));
        }
        self.remove_overlay();
    }

    /// Where a file is written before it gets its name.
    fn beside(&self, name: &str) -> PathBuf {
        beside(&self.path, name)
    }

    /// Writes beside and renames, so that a reader sees all of it or nothing. What has to survive
    /// a power loss is synchronised before the rename, and nobody is told of it or can see it
    /// earlier. The rename itself may be lost; see [`Self::recover_verdict`].
    fn write_json<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        durability: Durability,
    ) -> Result<(), StateError> {
        let path = self.path.join(name);
        let beside = self.beside(name);
        let text = serde_json::to_vec(value).map_err(|source| StateError::Corrupt {
            path: path.clone(),
            source,
        })?;
        write_file(&beside, &path, &text, durability).map_err(|e| io_error("write", &path, e))
    }
}

/// A verdict as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct VerdictFile<V> {
    /// Whose it is.
    exec: Option<String>,
    #[serde(flatten)]
    verdict: V,
}

/// Where a file of an exec is written before it gets its name.
fn beside(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.new"))
}

/// Frees a lock now. Closing alone would not do: a process that another thread forks at this
/// moment has a copy of the descriptor until it executes its program.
fn release(file: &File) {
    // It can only fail for a descriptor that is none.
    let _ = flock(file, FlockOperation::Unlock);
}

/// What a written file has to survive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    ProcessDeath,
    PowerLoss,
}

fn write_file(beside: &Path, path: &Path, text: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(beside)?;
    file.write_all(text)?;
    match durability {
        Durability::ProcessDeath => {}
        // A new file's content and its name beside; the rename needs no commit of its own.
        Durability::PowerLoss => file.sync_all()?,
    }
    fs::rename(beside, path)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    match fs::read(path) {
        // The folder was handed on meanwhile, so the text may be another exec's.
        Ok(_) if fs::symlink_metadata(path).is_err() => Ok(None),
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| StateError::Corrupt {
                path: path.to_owned(),
                source,
            }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("read", path, e)),
    }
}

/// Ids become folder and cgroup names, so they are short and plain.
fn check_id(id: &str) -> Result<(), StateError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || id.len() > 64 || !id.chars().all(plain) {
        return Err(StateError::InvalidId(id.to_owned()));
    }
    Ok(())
}

fn make_private_dir(path: &Path) -> Result<(), StateError> {
    private_dir_builder()
        .create(path)
        .map_err(|e| io_error("create", path, e))
}

fn private_dir_builder() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_time_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exec whose supervisor died when the verdict's file held `text` and had no name yet.
    fn state_after(text: &[u8]) -> ExecState {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let (exec, lock) = state.create_exec("some").unwrap();
        fs::write(exec.beside(VERDICT), text).unwrap();
        lock.release();
        let seen = exec.state().unwrap();
        assert_eq!(exec.state().unwrap(), seen, "what was said once stays");
        assert!(exec.verdict().unwrap().is_some());
        seen
    }

    fn whole() -> Verdict {
        Verdict {
            outcome: Outcome::Exited { code: 3 },
            incidents: Vec::new(),
            usage: Usage::default(),
            survivors: 0,
            log_end: 7,
            ended_at_ms: 1,
        }
    }

    #[test]
    fn a_verdict_that_lost_its_name_is_the_verdict() {
        let text = serde_json::to_vec(&whole()).unwrap();
        assert_eq!(state_after(&text), ExecState::Ended(whole()));
    }

    #[test]
    fn a_torn_verdict_is_none() {
        let text = serde_json::to_vec(&whole()).unwrap();
        for length in [0, 1, text.len() - 1] {
            let state = state_after(&text[..length]);
            let ExecState::Ended(verdict) = state else {
                panic!("{state:?}")
            };
            assert!(matches!(verdict.outcome, Outcome::Unknown { .. }));
        }
    }
}
