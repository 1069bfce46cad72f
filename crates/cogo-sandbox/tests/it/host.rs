//! What the host shows of our execs: processes, control groups, mounts. And the way to wait for
//! it to change.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::fixture::Place;

/// Longest wait for a condition. Only a broken program gets near it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until the condition gives a value.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        // A machine with few cores should spend them on what is waited for.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || condition().then_some(()));
}

/// A process as `/proc/<pid>/stat` tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// `R`, `S`, `D`, `T` or `Z`.
    pub(crate) state: char,
    pub(crate) parent: i32,
}

/// The process of that id, zombies included.
pub(crate) fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some(Process {
        pid,
        name: before.split_once('(')?.1.to_owned(),
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}

/// Whether it runs. A zombie does not: its reaper may be a process that takes its time.
pub(crate) fn runs(pid: i32) -> bool {
    process(pid).is_some_and(|process| process.state != 'Z')
}

/// All processes of the host.
pub(crate) fn processes() -> Vec<Process> {
    let listing = fs::read_dir("/proc").expect("/proc");
    listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect()
}

/// Processes of that name, zombies included.
pub(crate) fn named(name: &str) -> Vec<Process> {
    let mut all = processes();
    all.retain(|process| process.name == name);
    all
}

/// Processes whose parent is that one.
pub(crate) fn children(parent: i32) -> Vec<Process> {
    let mut all = processes();
    all.retain(|process| process.parent == parent);
    all
}

/// Ids of this process's children, found without a look at every process of the host. Empty on a
/// kernel that does not list them.
pub(crate) fn own_children() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").expect("own threads");
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let ids = lists.flat_map(|list| {
        let ids: Vec<i32> = list
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect();
        ids
    });
    ids.collect()
}

/// Kills a process that is ours as a person with `kill -9` would.
pub(crate) fn kill_9(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    // It may have ended on its own.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Control groups left behind before these tests began. A host hands out process ids again, and
/// groups and ids of execs here are named after them.
static STALE_GROUPS: LazyLock<HashSet<PathBuf>> = LazyLock::new(|| all_groups("").collect());

/// Takes note of what was left behind. Call it before the first exec is started.
pub(crate) fn note_stale_groups() {
    LazyLock::force(&STALE_GROUPS);
}

/// Control groups of execs whose id starts so, in every hierarchy.
pub(crate) fn groups(id_prefix: &str) -> Vec<PathBuf> {
    all_groups(id_prefix)
        .filter(|group| !STALE_GROUPS.contains(group))
        .collect()
}

fn all_groups(id_prefix: &str) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    for mount in cgroup_mounts() {
        find_groups(&mount, &format!("cogo-{id_prefix}"), 4, &mut found);
    }
    found.into_iter()
}

fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let is_cgroup = |line: &&str| matches!(line.split(' ').nth(2), Some("cgroup" | "cgroup2"));
    let path = |line: &str| line.split(' ').nth(1).map(PathBuf::from);
    mounts.lines().filter(is_cgroup).filter_map(path).collect()
}

fn find_groups(dir: &Path, prefix: &str, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(listing) = fs::read_dir(dir) else {
        return;
    };
    for entry in listing.filter_map(Result::ok) {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        } else if depth > 0 {
            find_groups(&entry.path(), prefix, depth - 1, found);
        }
    }
}

/// What tests mount by themselves, on the host, goes by this name.
pub(crate) const TEST_DISK: &str = "cogo-test-disk";

/// The mounts of this process's namespace, but for what tests beside this one have mounted.
pub(crate) fn mounts() -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let of_a_test = format!(" - tmpfs {TEST_DISK} ");
    let kept = mounts.split_inclusive('\n');
    kept.filter(|line| !line.contains(&of_a_test)).collect()
}

/// A `sleep` under a name of its own, so that every process of it is found again, zombies too.
pub(crate) struct MarkedSleep {
    name: String,
    path: PathBuf,
}

impl MarkedSleep {
    /// Puts it into the place's workspace.
    pub(crate) fn new(place: &Place) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The kernel keeps 15 bytes of a name.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("life{}-{count}", std::process::id());
        let path = place.workspace.join(&name);
        fs::copy("/bin/sleep", &path).expect("a copy of sleep");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { name, path }
    }

    /// A script with every `SLEEP` in it replaced by this program and a long time.
    pub(crate) fn script(&self, script: &str) -> String {
        script.replace("SLEEP", &format!("{} 86400", self.path.display()))
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<Process> {
        named(&self.name)
    }

    /// Waits until that many of its processes run.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Process> {
        eventually("the marked processes run", || {
            let found = self.processes();
            (found.len() >= count).then_some(found)
        })
    }

    /// Fails if one of its processes is there, alive or as a zombie.
    #[track_caller]
    pub(crate) fn expect_none(&self) {
        let found = self.processes();
        assert!(found.is_empty(), "left over: {found:?}");
    }
}
