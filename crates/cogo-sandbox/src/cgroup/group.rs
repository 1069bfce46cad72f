//! One group: its directories, its limits, what it counted, and its end.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::kill::{self, Killed, Method};
use super::record::{CgroupRecord, DirectoryRecord};
use super::{
    CPUS_MIN, CgroupError, CgroupEvents, CgroupLimits, CgroupUsage, Controller, GROUP_PREFIX,
    Gauge, LimitEvent, MEMORY_MIN, Need, PIDS_MIN, Place, Version, file, v1, v2,
};

/// How long dropping a group may wait for its processes to die.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a removal waits for processes that have been killed to be gone.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often processes are moved before giving up on those that fork faster.
const MOVE_ROUNDS: usize = 100;

/// A control group: one directory in each hierarchy it needs.
///
/// The process that made it owns it: dropping it kills what is inside and removes it. A forked
/// copy and a group that was reopened do nothing when dropped.
#[derive(Debug)]
pub struct Cgroup {
    directories: Vec<Directory>,
    /// What the kernel was told last; `None` when that is not known.
    limits: Option<CgroupLimits>,
    /// The process whose drop removes the group.
    owner: Option<u32>,
    /// Refused forks that our own kill caused.
    own_pids_limit_hits: Cell<u64>,
    /// Highest memory seen, for kernels that keep no peak.
    memory_peak_seen: Cell<u64>,
}

/// The group's directory in one hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) version: Version,
    pub(super) path: PathBuf,
    controllers: Vec<Controller>,
    base: PathBuf,
    need: Need,
    is_made: bool,
}

impl Cgroup {
    pub(super) fn create(places: &[Place], name: &str) -> Result<Self, CgroupError> {
        check_name(name)?;
        let directories = places.iter().map(|place| Directory {
            version: place.version,
            path: place.base.join(format!("{GROUP_PREFIX}{name}")),
            controllers: place.controllers.clone(),
            base: place.base.clone(),
            need: place.need,
            is_made: false,
        });
        let mut group = Self::owned(directories.collect());
        for directory in &mut group.directories {
            if directory.need == Need::Always {
                directory.make()?;
            }
        }
        Ok(group)
    }

    /// Without any directory yet: an error on the way drops it, and with it what was made so far.
    fn owned(directories: Vec<Directory>) -> Self {
        Self {
            directories,
            limits: Some(CgroupLimits::default()),
            owner: Some(std::process::id()),
            own_pids_limit_hits: Cell::new(0),
            memory_peak_seen: Cell::new(0),
        }
    }

    /// Makes a child group, for one exec (or the init) of a session. The parent's limits bound
    /// all its children together. The parent must hold no process itself: v2 forbids it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Enable`] when the parent holds processes (v2), [`CgroupError::Create`] when
    /// the child exists.
    pub fn child(&self, name: &str) -> Result<Self, CgroupError> {
        check_name(name)?;
        for directory in self.made() {
            directory.open_to_children()?;
        }
        let directories = self.directories.iter().map(|directory| Directory {
            path: directory.path.join(name),
            is_made: false,
            ..directory.clone()
        });
        let mut child = Self::owned(directories.collect());
        for (directory, parent) in child.directories.iter_mut().zip(&self.directories) {
            if parent.is_made {
                directory.make()?;
            }
        }
        Ok(child)
    }

    /// Sets the group's limits; `None` takes one away. May be called again at any time; what has
    /// not changed costs nothing. After an error the limits are a mixture of old and new.
    ///
    /// A first cpu limit can bring a further directory: processes in the group are moved there,
    /// but descriptors from an earlier [`Self::join_files`] do not lead to it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::LimitTooLow`]; [`CgroupError::Unenforceable`] when the host lacks what is
    /// needed; [`CgroupError::Write`] when the kernel refuses, such as a v1 memory limit below
    /// what is in use and cannot be reclaimed.
    pub fn set_limits(&mut self, limits: &CgroupLimits) -> Result<(), CgroupError> {
        check_limits(limits)?;
        let known = self.limits.take();
        let is_new = |same: fn(&CgroupLimits, &CgroupLimits) -> bool| {
            known.as_ref().is_none_or(|known| !same(known, limits))
        };
        if is_new(|a, b| a.memory == b.memory) {
            self.set_memory(limits.memory)?;
        }
        if is_new(|a, b| a.pids == b.pids) {
            self.set_pids(limits.pids)?;
        }
        if is_new(|a, b| a.cpus == b.cpus) {
            self.set_cpus(limits.cpus)?;
        }
        self.limits = Some(limits.clone());
        Ok(())
    }

    fn set_memory(&self, limit: Option<u64>) -> Result<(), CgroupError> {
        match self.made_with(Controller::Memory) {
            Some(Directory {
                version: Version::V2,
                path,
                ..
            }) => v2::set_memory(path, limit),
            Some(Directory {
                version: Version::V1,
                path,
                ..
            }) => v1::set_memory(path, limit),
            None => unenforceable_if(limit.is_some(), "memory"),
        }
    }

    fn set_pids(&self, limit: Option<u32>) -> Result<(), CgroupError> {
        match self.made_with(Controller::Pids) {
            Some(directory) => v2::set_pids(&directory.path, limit),
            None => unenforceable_if(limit.is_some(), "pids"),
        }
    }

    fn set_cpus(&mut self, cpus: Option<f64>) -> Result<(), CgroupError> {
        let has_cpu = |directory: &Directory| directory.controllers.contains(&Controller::Cpu);
        let Some(index) = self.directories.iter().position(has_cpu) else {
            return unenforceable_if(cpus.is_some(), "cpu");
        };
        let directory = &mut self.directories[index];
        match directory.version {
            Version::V2 => {
                if !directory.path.join("cpu.max").exists() {
                    if cpus.is_none() {
                        return Ok(());
                    }
                    directory.enable_cpu()?;
                }
                v2::set_cpus(&directory.path, cpus)
            }
            Version::V1 => {
                let is_first = !directory.is_made;
                if is_first {
                    if cpus.is_none() {
                        return Ok(());
                    }
                    directory.make()?;
                }
                let path = directory.path.clone();
                v1::set_cpus(&path, cpus)?;
                if is_first {
                    self.move_all_into(&path)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Moves the group's processes into a directory that was made after they had joined.
    fn move_all_into(&self, path: &Path) -> Result<(), CgroupError> {
        let members = path.join("cgroup.procs");
        for _ in 0..MOVE_ROUNDS {
            let there = procs(path).map_err(CgroupError::read(members.clone()))?;
            let mut missing = self.pids_everywhere()?;
            missing.retain(|pid| !there.contains(pid));
            if missing.is_empty() {
                return Ok(());
            }
            for pid in missing {
                // One that has ended is no loss; any other failure shows in the next round.
                let _ = file::write(&members, &pid.to_string());
            }
        }
        Err(CgroupError::Moving {
            path: path.to_owned(),
        })
    }

    /// Opens `cgroup.procs` of each directory for writing. A forked process joins the group by
    /// writing `0` to each of them, from whatever namespaces it is in by then: the kernel checks
    /// the rights of the opener. The descriptors do not pass an `execve`.
    ///
    /// After some idle time the first join on the machine waits for the kernel to synchronise
    /// (5 to 15 ms), so a process that is to start fast joins ahead of time.
    ///
    /// # Errors
    ///
    /// Fails when the group was removed or descriptors are short.
    pub fn join_files(&self) -> io::Result<Vec<OwnedFd>> {
        let members = self.member_directories();
        members
            .map(|path| file::open(&path.join("cgroup.procs"), OFlags::WRONLY))
            .collect()
    }

    /// Moves a process, with all its threads, into the group.
    ///
    /// # Errors
    ///
    /// Fails when the process is gone, or when the caller may not move it.
    pub fn add(&self, pid: i32) -> io::Result<()> {
        self.member_directories()
            .try_for_each(|path| file::write(&path.join("cgroup.procs"), &pid.to_string()))
    }

    /// Where members go: the group's directories, and for a child without its own cpu directory
    /// that of its parent, whose cpu limit would not hold otherwise.
    fn member_directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().filter_map(|directory| {
            let own_or_parents = directory
                .path
                .ancestors()
                .skip(usize::from(!directory.is_made));
            own_or_parents
                .take_while(|path| *path != directory.base)
                .find(|path| directory.is_made || path.exists())
        })
    }

    /// The group's directory in the cgroup2 mount: for `CLONE_INTO_CGROUP`, and for pressure files
    /// such as `memory.pressure`, which are there without any controller.
    pub fn unified_dir(&self) -> Option<&Path> {
        self.made()
            .find(|found| found.version == Version::V2)
            .map(|found| found.path.as_path())
    }

    /// What the group used so far.
    pub fn usage(&self) -> CgroupUsage {
        let mut usage = CgroupUsage::default();
        for Directory {
            version,
            path,
            controllers,
            ..
        } in self.made()
        {
            match version {
                Version::V2 => v2::read_usage(path, controllers, &mut usage),
                Version::V1 => v1::read_usage(path, controllers, &mut usage),
            }
        }
        if let Some(memory) = usage.memory {
            self.memory_peak_seen
                .set(self.memory_peak_seen.get().max(memory));
            usage.memory_peak = usage.memory_peak.or(Some(self.memory_peak_seen.get()));
        }
        usage
    }

    /// What the group used so far, with peaks that begin anew where the kernel can do that. For
    /// [`CgroupUsage::since`].
    pub(crate) fn usage_from_here(&self) -> CgroupUsage {
        self.memory_peak_seen.set(0);
        if let Some(Directory {
            version: Version::V1,
            path,
            ..
        }) = self.made_with(Controller::Memory)
        {
            // Refused, the old peak is known and not told again.
            let _ = file::write(&path.join("memory.max_usage_in_bytes"), "0");
        }
        self.usage()
    }

    /// How often limits were hit so far.
    ///
    /// # Errors
    ///
    /// Fails when the group was removed: zeros would be a lie then.
    pub fn events(&self) -> Result<CgroupEvents, CgroupError> {
        let mut events = CgroupEvents::default();
        if let Some(Directory { version, path, .. }) = self.made_with(Controller::Memory) {
            let kills = match version {
                Version::V2 => v2::oom_kills(path),
                Version::V1 => v1::oom_kills(path),
            };
            events.oom_kills = kills.map_err(CgroupError::read(path.clone()))?;
        }
        if let Some(Directory { path, .. }) = self.made_with(Controller::Pids) {
            let hits = v2::pids_limit_hits(path).map_err(CgroupError::read(path.clone()))?;
            events.pids_limit_hits = hits.saturating_sub(self.own_pids_limit_hits.get());
        }
        Ok(events)
    }

    /// A descriptor that wakes when the kernel may have killed for memory. `None` without a memory
    /// controller. On v1 an OOM at a child's own limit wakes the child's descriptor only.
    pub fn oom_event(&self) -> Option<LimitEvent> {
        let Directory { version, path, .. } = self.made_with(Controller::Memory)?;
        match version {
            Version::V2 => LimitEvent::watch(&path.join("memory.events")).ok(),
            Version::V1 => LimitEvent::watch_v1_oom(path).ok(),
        }
    }

    /// A descriptor that wakes when a fork may have been refused at a pids limit. `None` without a
    /// pids controller, and on v1, which counts but since Linux 6.11 tells nobody: read
    /// [`Self::events`] now and then instead.
    pub fn pids_event(&self) -> Option<LimitEvent> {
        let directory = self.made_with(Controller::Pids)?;
        let tells = directory.version == Version::V2;
        tells
            .then(|| LimitEvent::watch(&directory.path.join("pids.events")).ok())
            .flatten()
    }

    /// The file that counts the processes and threads of the group's parent with all its groups.
    pub fn crowd_file(&self) -> Option<PathBuf> {
        let directory = self.made_with(Controller::Pids)?;
        Some(directory.path.parent()?.join("pids.current"))
    }

    /// Opens the group's counters for many looks at a fast pace.
    pub fn gauge(&self) -> Gauge {
        let made = self.made();
        Gauge::open(made.map(|found| (found.version, &*found.path, &*found.controllers)))
    }

    /// The processes in the group and its children, zombies left out, in ascending order.
    ///
    /// # Errors
    ///
    /// Fails when a listing cannot be read. A group that is gone has no processes.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        // The cgroup2 mount lists fastest; any hierarchy would do.
        let is_v2 = |directory: &&Directory| directory.version == Version::V2;
        let best = self.made().find(is_v2).or_else(|| self.made().next());
        collect_pids(best.into_iter())
    }

    /// The processes found in any hierarchy: more than [`Self::pids`] while one is moved in.
    pub(super) fn pids_everywhere(&self) -> Result<Vec<i32>, CgroupError> {
        collect_pids(self.made())
    }

    /// Kills everything in the group and its children, forks in flight included, and returns when
    /// no hierarchy lists a process any more, or when `within` has passed. Zombies stay until
    /// their parent reaps them; they hold nothing of the group.
    ///
    /// # Errors
    ///
    /// [`CgroupError::OwnGroup`] when the caller is in the group; otherwise when a control file
    /// does not work. Survivors at the deadline are told in the answer.
    pub fn kill(&self, within: Duration) -> Result<Killed, CgroupError> {
        self.kill_by(kill::best_method(self), within)
    }

    pub(super) fn kill_by(&self, method: Method, within: Duration) -> Result<Killed, CgroupError> {
        kill::kill(self, method, within)
    }

    pub(super) fn forget_pids_limit_hits(&self, hits: u64) {
        self.own_pids_limit_hits
            .set(self.own_pids_limit_hits.get() + hits);
    }

    /// Removes the group and its children from all hierarchies. Waits up to a second for processes
    /// that are about to end; kill them first.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Remove`] when something is left. The group is then dropped, which kills what
    /// is inside and tries once more.
    pub fn remove(mut self) -> Result<(), CgroupError> {
        self.remove_directories(REMOVE_TIMEOUT)?;
        self.owner = None;
        Ok(())
    }

    fn remove_directories(&mut self, within: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + within;
        let mut first_error = Ok(());
        for directory in &mut self.directories {
            if directory.is_made {
                let path = directory.path.as_path();
                let removed = remove_tree(path, deadline);
                directory.is_made = removed.is_err();
                let removed = removed.map_err(|source| CgroupError::Remove {
                    path: path.to_owned(),
                    source,
                });
                first_error = first_error.and(removed);
            }
        }
        first_error
    }

    /// Where the group is, for [`Self::reopen`].
    pub fn record(&self) -> CgroupRecord {
        let directories = self.directories.iter().map(|directory| DirectoryRecord {
            version: directory.version,
            controllers: directory.controllers.clone(),
            base: directory.base.clone(),
            path: directory.path.clone(),
        });
        CgroupRecord {
            directories: directories.collect(),
        }
    }

    /// Gives the group up without removing it: another process will, by its record.
    #[must_use = "the record is the only way back to the group"]
    pub fn release(mut self) -> CgroupRecord {
        self.owner = None;
        self.record()
    }

    /// Finds a group again, such as that of a dead supervisor. What is gone by now is left out, so
    /// that a half-removed group can be killed and removed. Dropping it does nothing.
    ///
    /// # Errors
    ///
    /// [`CgroupError::ForeignRecord`] when a directory is not a group of ours.
    pub fn reopen(record: &CgroupRecord) -> Result<Self, CgroupError> {
        let mut directories = Vec::with_capacity(record.directories.len());
        for found in &record.directories {
            found.check()?;
            directories.push(Directory {
                version: found.version,
                path: found.path.clone(),
                controllers: found.controllers.clone(),
                base: found.base.clone(),
                need: found.need(),
                is_made: found.path.exists(),
            });
        }
        let mut group = Self::owned(directories);
        group.limits = None;
        group.owner = None;
        Ok(group)
    }

    pub(super) fn made(&self) -> impl Iterator<Item = &Directory> {
        self.directories
            .iter()
            .filter(|directory| directory.is_made)
    }

    pub(super) fn made_with(&self, controller: Controller) -> Option<&Directory> {
        self.made()
            .find(|directory| directory.controllers.contains(&controller))
    }

    /// The group's file of this name, in whichever hierarchy has it.
    pub(super) fn path_with(&self, name: &str) -> PathBuf {
        let found = self
            .made()
            .map(|directory| directory.path.join(name))
            .find(|path| path.exists());
        found.unwrap_or_else(|| self.some_path().join(name))
    }

    /// A directory that names the group in messages.
    pub(super) fn some_path(&self) -> PathBuf {
        self.directories
            .first()
            .map(|directory| directory.path.clone())
            .unwrap_or_default()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A forked copy must not end the group of the process it was copied from.
        if self.owner != Some(std::process::id()) {
            return;
        }
        // Nobody is left to tell: whoever wants to know calls `kill` and `remove`.
        let _ = self.kill(DROP_TIMEOUT);
        let _ = self.remove_directories(DROP_TIMEOUT);
    }
}

impl Directory {
    fn make(&mut self) -> Result<(), CgroupError> {
        let mut made = fs::create_dir(&self.path);
        if made
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            self.make_parents()?;
            made = fs::create_dir(&self.path);
        }
        made.map_err(|source| CgroupError::Create {
            path: self.path.clone(),
            source,
        })?;
        self.is_made = true;
        Ok(())
    }

    /// The base is made with the first group in it, and again should someone have removed it.
    fn make_parents(&self) -> Result<(), CgroupError> {
        let Some(parent) = self.path.parent() else {
            return Ok(());
        };
        fs::create_dir_all(parent).map_err(|source| CgroupError::Create {
            path: parent.to_owned(),
            source,
        })?;
        for dir in parent
            .ancestors()
            .take_while(|dir| dir.starts_with(&self.base))
        {
            match self.version {
                Version::V1 => v1::count_children(dir),
                // A failure shows when a limit is set.
                Version::V2 => drop(v2::enable(dir, &without_cpu(v2::controllers(dir)))),
            }
        }
        Ok(())
    }

    /// Lets children have controllers of their own.
    fn open_to_children(&self) -> Result<(), CgroupError> {
        match self.version {
            Version::V1 => {
                if self.controllers.contains(&Controller::Memory) {
                    v1::count_children(&self.path);
                }
                Ok(())
            }
            Version::V2 => enable_or_explain(&self.path, &v2::controllers(&self.path)),
        }
    }

    /// Enables the v2 cpu controller for this group, from the base down.
    fn enable_cpu(&self) -> Result<(), CgroupError> {
        let parents = self
            .path
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(&self.base));
        let parents: Vec<_> = parents.collect();
        let mut downward = parents.into_iter().rev();
        downward.try_for_each(|dir| enable_or_explain(dir, &[Controller::Cpu]))
    }
}

fn enable_or_explain(dir: &Path, controllers: &[Controller]) -> Result<(), CgroupError> {
    v2::enable(dir, controllers).map_err(|source| CgroupError::Enable {
        path: dir.join("cgroup.subtree_control"),
        hint: match Errno::from_io_error(&source) {
            Some(Errno::BUSY) => "it holds processes; they belong in a child group",
            Some(Errno::NOENT) => "its parent does not give them",
            _ => "the kernel refused",
        },
        source,
    })
}

fn without_cpu(mut controllers: Vec<Controller>) -> Vec<Controller> {
    controllers.retain(|controller| *controller != Controller::Cpu);
    controllers
}

fn collect_pids<'a>(
    directories: impl Iterator<Item = &'a Directory>,
) -> Result<Vec<i32>, CgroupError> {
    let mut pids = Vec::new();
    for directory in directories {
        collect_tree(&directory.path, &mut pids)
            .map_err(CgroupError::read(directory.path.join("cgroup.procs")))?;
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn collect_tree(dir: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    pids.extend(procs(dir)?);
    for child in children(dir)? {
        collect_tree(&child, pids)?;
    }
    Ok(())
}

/// The processes of one directory; none when it was removed meanwhile.
fn procs(dir: &Path) -> io::Result<Vec<i32>> {
    match file::read(&dir.join("cgroup.procs")) {
        Ok(text) => Ok(file::parse_pids(&text).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NODEV)
    )
}

/// Child groups of a directory.
fn children(dir: &Path) -> io::Result<Vec<PathBuf>> {
    // Two links and one for each child: most groups have none, and their dozens of control files
    // need not be listed to know it.
    match rustix::fs::stat(dir) {
        Ok(found) if found.st_nlink <= 2 => return Ok(Vec::new()),
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_tree(dir: &Path, deadline: Instant) -> io::Result<()> {
    for child in children(dir)? {
        remove_tree(&child, deadline)?;
    }
    let mut last = Ok(());
    kill::wait_for(deadline, || {
        last = match rustix::fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        };
        let is_busy = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::BUSY);
        Ok(!last.as_ref().is_err_and(is_busy))
    });
    last
}

fn check_name(name: &str) -> Result<(), CgroupError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_dotted = name.starts_with('.');
    // Kernel files are `<controller>.<name>`; a group of that name could not be made.
    if name.is_empty() || name.len() > 128 || is_dotted || !name.bytes().all(is_allowed) {
        return Err(CgroupError::InvalidName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn check_limits(limits: &CgroupLimits) -> Result<(), CgroupError> {
    let too_low = |limit, value: String, minimum: String| {
        Err(CgroupError::LimitTooLow {
            limit,
            value,
            minimum,
        })
    };
    match limits {
        CgroupLimits {
            memory: Some(memory),
            ..
        } if *memory < MEMORY_MIN => too_low("memory", memory.to_string(), MEMORY_MIN.to_string()),
        CgroupLimits {
            pids: Some(pids), ..
        } if *pids < PIDS_MIN => too_low("pids", pids.to_string(), PIDS_MIN.to_string()),
        CgroupLimits {
            cpus: Some(cpus), ..
        } if !(cpus.is_finite() && *cpus >= CPUS_MIN) => {
            too_low("cpu", cpus.to_string(), CPUS_MIN.to_string())
        }
        CgroupLimits { .. } => Ok(()),
    }
}

fn unenforceable_if(is_limited: bool, limit: &'static str) -> Result<(), CgroupError> {
    if !is_limited {
        return Ok(());
    }
    let reason = "its controller is not available to this group";
    Err(CgroupError::Unenforceable { limit, reason })
}
