//! Finds where groups may be made, and prepares v2 for it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::mounts::Hierarchy;
use super::{
    CgroupCapabilities, CgroupVersion, Cgroups, Controller, Mounts, Need, Place, Version, file, v2,
};

/// Where root makes groups when its own group is not its to divide.
const ROOT_BASE: &str = "cogo";

/// The child that takes our own processes; the name systemd's `DelegateSubgroup=` docs use, too.
const SUPERVISOR: &str = "supervisor";

const HINT: &str = "start cogo with `systemd-run --user --scope -p Delegate=yes`, or as root";

/// How often processes are moved out of the base before giving up on those that keep coming.
const VACATE_ROUNDS: usize = 8;

pub(super) fn discover(mounts: &Mounts, base: Option<&Path>) -> Cgroups {
    let mut places = Vec::new();
    let mut reasons = Vec::new();
    if mounts.hierarchies.is_empty() {
        reasons.push("no control group file system is mounted at a place this process sees".into());
    }
    for hierarchy in &mounts.hierarchies {
        match find_place(hierarchy, base, &mut reasons) {
            Ok(place) => places.push(place),
            Err(reason) => reasons.push(reason),
        }
    }
    let atomic_kill = places.iter().any(|place| v2_has(place, "cgroup.kill"));
    let v2_freezer = places.iter().any(|place| v2_has(place, "cgroup.freeze"));
    let freezer = v2_freezer || has(&places, Controller::Freezer);
    keep_needed(&mut places, v2_freezer);
    let capabilities = CgroupCapabilities {
        version: version(&places),
        memory: has(&places, Controller::Memory),
        pids: has(&places, Controller::Pids),
        cpu: has(&places, Controller::Cpu),
        io: has(&places, Controller::Io),
        atomic_kill,
        freezer,
        reasons: Vec::new(),
    };
    explain_missing(mounts, &capabilities, &mut reasons);
    Cgroups {
        places,
        capabilities: CgroupCapabilities {
            reasons,
            ..capabilities
        },
    }
}

fn has(places: &[Place], controller: Controller) -> bool {
    places
        .iter()
        .any(|place| place.controllers.contains(&controller))
}

/// Whether groups in a v2 place have a core file. The base has it unless it is the true root.
fn v2_has(place: &Place, name: &str) -> bool {
    place.version == Version::V2 && place.base.join(name).exists()
}

fn version(places: &[Place]) -> CgroupVersion {
    let any = |version| places.iter().any(|place| place.version == version);
    match (any(Version::V1), any(Version::V2)) {
        (false, false) => CgroupVersion::None,
        (true, false) => CgroupVersion::V1,
        (true, true) => CgroupVersion::Hybrid,
        (false, true) => CgroupVersion::V2,
    }
}

/// Drops v1 hierarchies whose work the cgroup2 mount does already.
fn keep_needed(places: &mut Vec<Place>, v2_freezer: bool) {
    let v2_exists = places.iter().any(|place| place.version == Version::V2);
    places.retain_mut(|place| {
        place.controllers.retain(|controller| match controller {
            Controller::Freezer => !v2_freezer,
            Controller::Cpuacct => !v2_exists,
            Controller::Memory | Controller::Pids | Controller::Cpu | Controller::Io => true,
        });
        let only_cpu = place.controllers == [Controller::Cpu];
        place.need = if place.version == Version::V1 && only_cpu {
            Need::CpuLimit
        } else {
            Need::Always
        };
        place.version == Version::V2 || !place.controllers.is_empty()
    });
}

/// Adds a reason for what no mounted hierarchy has at all.
fn explain_missing(mounts: &Mounts, found: &CgroupCapabilities, reasons: &mut Vec<String>) {
    let v2_mounted = mounts
        .hierarchies
        .iter()
        .any(|mount| mount.version == Version::V2);
    let controllers = [
        (found.memory, Controller::Memory),
        (found.pids, Controller::Pids),
        (found.cpu, Controller::Cpu),
    ];
    for (_, controller) in controllers.into_iter().filter(|(is_there, _)| !is_there) {
        let in_v1 = mounts
            .hierarchies
            .iter()
            .any(|mount| mount.controllers.contains(&controller));
        if !in_v1 && !v2_mounted {
            let name = controller.v2_name();
            reasons.push(format!(
                "the {name} controller is not mounted in any hierarchy"
            ));
        } else if !in_v1 && found.version != CgroupVersion::None {
            let name = controller.v2_name();
            reasons.push(format!(
                "the {name} controller is not given to our group; {HINT}"
            ));
        }
    }
    if !found.atomic_kill && found.version != CgroupVersion::None {
        let means = if found.freezer {
            "freezing it first"
        } else {
            "repeated signals"
        };
        reasons.push(format!(
            "no usable cgroup2 mount with `cgroup.kill` (Linux 5.14): a group is killed by {means}"
        ));
    }
}

fn find_place(
    hierarchy: &Hierarchy,
    base: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Place, String> {
    match hierarchy.version {
        Version::V1 => find_v1(hierarchy, base),
        Version::V2 => find_v2(hierarchy, base, notes),
    }
}

fn find_v1(hierarchy: &Hierarchy, base: Option<&Path>) -> Result<Place, String> {
    let base = match base {
        Some(base) => under(&hierarchy.mount, base)?,
        None => base_v1(hierarchy)?,
    };
    // The base itself is made with the first group in it.
    divisible(existing_ancestor(&base))?;
    let controllers = hierarchy.controllers.clone();
    Ok(Place {
        version: Version::V1,
        controllers,
        base,
        need: Need::Always,
    })
}

fn base_v1(hierarchy: &Hierarchy) -> Result<PathBuf, String> {
    let own = hierarchy
        .own
        .as_deref()
        .ok_or_else(|| outside(&hierarchy.mount));
    let divisible_own = own.and_then(|own| divisible(own).map(|()| own));
    match divisible_own {
        // Root keeps its groups at the top of a hierarchy together below `/cogo`.
        Ok(own) if own != hierarchy.mount || !is_root() => Ok(own.to_owned()),
        Ok(_) | Err(_) if is_root() => Ok(hierarchy.mount.join(ROOT_BASE)),
        Ok(own) => Ok(own.to_owned()),
        Err(reason) => Err(reason),
    }
}

fn find_v2(
    hierarchy: &Hierarchy,
    explicit: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Place, String> {
    let own = hierarchy.own.as_deref();
    let mount = &hierarchy.mount;
    if let Some(base) = explicit {
        return prepare_below(mount, &under(mount, base)?, own, notes);
    }
    let refusal = match own_base(hierarchy) {
        Ok(base) => match prepare(&base, own, notes) {
            Ok(place) => return Ok(place),
            Err(reason) => reason,
        },
        Err(reason) => reason,
    };
    if !is_root() {
        return idle_ancestor(hierarchy, notes).ok_or(refusal);
    }
    prepare_below(mount, &mount.join(ROOT_BASE), own, notes)
        .map_err(|reason| format!("{refusal}; {reason}"))
}

/// The nearest group above ours that we may divide and that holds no processes. A terminal's scope
/// holds the user's shell beside us, but the slice above it, `app.slice` of the user's systemd,
/// is the user's as well and empty.
fn idle_ancestor(hierarchy: &Hierarchy, notes: &mut Vec<String>) -> Option<Place> {
    let own = hierarchy.own.as_deref()?;
    let below_mount =
        |ancestor: &&Path| ancestor.starts_with(&hierarchy.mount) && *ancestor != hierarchy.mount;
    let is_idle = |ancestor: &&Path| {
        divisible_v2(ancestor).is_ok()
            && file::read(&ancestor.join("cgroup.procs")).is_ok_and(|procs| procs.is_empty())
    };
    let mut ancestors = own
        .ancestors()
        .skip(1)
        .take_while(below_mount)
        .filter(is_idle);
    ancestors.find_map(|ancestor| prepare(ancestor, Some(own), notes).ok())
}

/// Our own group, or its parent when we were moved to the `supervisor` child before.
fn own_base(hierarchy: &Hierarchy) -> Result<PathBuf, String> {
    let own = hierarchy
        .own
        .as_deref()
        .ok_or_else(|| outside(&hierarchy.mount))?;
    let parent = own
        .parent()
        .filter(|parent| parent.starts_with(&hierarchy.mount));
    let is_moved = |parent: &&Path| own.ends_with(SUPERVISOR) && divisible_v2(parent).is_ok();
    if let Some(parent) = parent.filter(is_moved) {
        return Ok(parent.to_owned());
    }
    // The true root of the hierarchy belongs to everyone: groups there go below `/cogo`.
    if own == hierarchy.mount && !own.join("cgroup.type").exists() {
        return Err(format!(
            "`{}` is the root of all groups; {HINT}",
            own.display()
        ));
    }
    divisible_v2(own).map(|()| own.to_owned())
}

/// Makes `base`, enabling controllers on the whole way down from the mount.
fn prepare_below(
    mount: &Path,
    base: &Path,
    own: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Place, String> {
    let mut ancestors: Vec<_> = base.ancestors().skip(1).collect();
    ancestors.retain(|ancestor| ancestor.starts_with(mount));
    for ancestor in ancestors.into_iter().rev() {
        if !ancestor.exists() {
            make(ancestor)?;
        }
        // A failure shows in the controllers the base gets, and is explained from there.
        let _ = v2::enable(ancestor, &v2::controllers(ancestor));
    }
    if !base.exists() {
        make(base)?;
    }
    divisible_v2(base)?;
    prepare(base, own, notes)
}

fn make(dir: &Path) -> Result<(), String> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make `{}`: {error}; {HINT}", dir.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Checks that processes can be moved below `base`, and enables its controllers for groups there.
fn prepare(base: &Path, own: Option<&Path>, notes: &mut Vec<String>) -> Result<Place, String> {
    if let Some(own) = own {
        may_move(own, base)?;
    }
    let available = v2::controllers(base);
    // Cpu costs every switch between groups, so it is enabled when a limit first asks for it.
    let wanted: Vec<_> = available
        .iter()
        .copied()
        .filter(|controller| *controller != Controller::Cpu)
        .collect();
    let mut enabled = v2::enable(base, &wanted);
    let is_busy = |error: &io::Error| error.raw_os_error() == Some(Errno::BUSY.raw_os_error());
    if enabled.as_ref().is_err_and(is_busy) {
        vacate(base)?;
        enabled = v2::enable(base, &wanted);
    }
    let controllers = match enabled {
        Ok(()) => available,
        Err(error) => {
            notes.push(format!(
                "controllers cannot be enabled in `{}`: {error}; {HINT}",
                base.display()
            ));
            v2::enabled(base)
        }
    };
    Ok(Place {
        version: Version::V2,
        controllers,
        base: base.to_owned(),
        need: Need::Always,
    })
}

/// v2 lets a process be moved only by one who may write to the groups' common ancestor.
fn may_move(own: &Path, base: &Path) -> Result<(), String> {
    let common: PathBuf = own
        .components()
        .zip(base.components())
        .take_while(|(left, right)| left == right)
        .map(|(part, _)| part)
        .collect();
    check_access(&common.join("cgroup.procs"), Access::WRITE_OK).map_err(|error| {
        format!(
            "processes cannot be moved from `{}` to `{}`: `cgroup.procs` of `{}` is not writable \
             ({error}); {HINT}",
            own.display(),
            base.display(),
            common.display()
        )
    })
}

/// Moves all processes of `base` to its child `supervisor`, if all of them are ours.
pub(super) fn vacate(base: &Path) -> Result<(), String> {
    let leaf = base.join(SUPERVISOR);
    for _ in 0..VACATE_ROUNDS {
        let text = file::read(&base.join("cgroup.procs")).map_err(|error| error.to_string())?;
        let pids: Vec<_> = file::parse_pids(&text).collect();
        if pids.is_empty() {
            return Ok(());
        }
        if let Some(stranger) = first_stranger(&pids) {
            return Err(format!(
                "`{}` holds processes that are not cogo's, such as {stranger}; {HINT}",
                base.display()
            ));
        }
        make(&leaf)?;
        for pid in pids {
            // One that has ended since is no loss; any other failure shows in the next round.
            let _ = file::write(&leaf.join("cgroup.procs"), &pid.to_string());
        }
    }
    Err(format!("processes keep appearing in `{}`", base.display()))
}

/// A process that neither runs our program nor descends from us.
fn first_stranger(pids: &[i32]) -> Option<i32> {
    let own = std::process::id().cast_signed();
    let own_exe = fs::read_link("/proc/self/exe").ok();
    let mut ours = HashSet::from([own]);
    pids.iter().copied().find(|pid| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let is_ours = exe.is_some() && exe == own_exe || descends_from(*pid, &ours);
        if is_ours {
            ours.insert(*pid);
        }
        // One that ended in the meantime is nobody's.
        !is_ours && Path::new(&format!("/proc/{pid}")).exists()
    })
}

fn descends_from(pid: i32, ancestors: &HashSet<i32>) -> bool {
    let mut current = pid;
    while current > 1 {
        if ancestors.contains(&current) {
            return true;
        }
        let Some(parent) = parent_of(current) else {
            return false;
        };
        current = parent;
    }
    false
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields count from the last parenthesis.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// `base` below `mount`, without a way out of it.
fn under(mount: &Path, base: &Path) -> Result<PathBuf, String> {
    let mut dir = mount.to_owned();
    for part in base.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => dir.push(name),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!(
                    "`{}` is not a path below the mount",
                    base.display()
                ));
            }
        }
    }
    Ok(dir)
}

fn existing_ancestor(dir: &Path) -> &Path {
    dir.ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(dir)
}

/// Whether child groups can be made in `dir`.
fn divisible(dir: &Path) -> Result<(), String> {
    check_access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let hint = match error {
            Errno::ROFS => "it is mounted read-only; give the container a writable cgroup mount",
            _ => HINT,
        };
        format!(
            "groups cannot be made in `{}`: {error}; {hint}",
            dir.display()
        )
    })
}

/// Whether `dir` is delegated to us: child groups, their controllers and their processes.
fn divisible_v2(dir: &Path) -> Result<(), String> {
    divisible(dir)?;
    for name in ["cgroup.procs", "cgroup.subtree_control"] {
        check_access(&dir.join(name), Access::WRITE_OK).map_err(|error| {
            format!(
                "`{name}` of `{}` is not writable: {error}; {HINT}",
                dir.display()
            )
        })?;
    }
    Ok(())
}

fn check_access(path: &Path, access: Access) -> Result<(), Errno> {
    rustix::fs::accessat(CWD, path, access, AtFlags::empty())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn outside(mount: &Path) -> String {
    format!(
        "our own group is not visible below `{}`; {HINT}",
        mount.display()
    )
}
