//! A part of the cgroup tree handed to an ordinary user, as a login session gets it from systemd.
//!
//! In each hierarchy the part is a new group below the caller's own. The caller moves into it for
//! as long as the value lives, so that what it starts is in there too. On v2, where a group with
//! processes may not hand controllers to its children, processes live one level deeper.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};

/// Where the controllers that limit an exec are, and where this process is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// The group of this process.
    own: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Groups that belong to the user until they are dropped.
pub(crate) struct Delegation {
    groups: Vec<(Hierarchy, PathBuf)>,
}

impl Delegation {
    /// Creates the groups, gives them to `user` and moves this process into them.
    pub(crate) fn create(name: &str, user: u32) -> Result<Self> {
        let read =
            |file| fs::read_to_string(file).with_context(|| format!("failed to read {file}"));
        let found = hierarchies(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?);
        let mut delegation = Self { groups: Vec::new() };
        for hierarchy in found {
            let group = hierarchy.own.join(name);
            // A read-only hierarchy is usual in containers: the user gets what there is.
            match hierarchy.delegate(&group, user) {
                Ok(()) => delegation.groups.push((hierarchy, group)),
                Err(error) => {
                    println!("not delegated: {}: {error}", group.display());
                    let _ = remove(&group);
                }
            }
        }
        Ok(delegation)
    }

    /// The groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Path> {
        self.groups.iter().map(|(_, group)| group.as_path())
    }

    /// Moves this process back and returns the processes that are left in the groups.
    pub(crate) fn leave(&self) -> Result<Vec<u32>> {
        let mut left = Vec::new();
        for (hierarchy, group) in &self.groups {
            join(&hierarchy.own).with_context(|| format!("failed to leave {}", group.display()))?;
            left.extend(processes(group));
        }
        left.sort_unstable();
        left.dedup();
        Ok(left)
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        for (hierarchy, group) in &self.groups {
            if let Err(error) = join(&hierarchy.own).and_then(|()| remove(group)) {
                println!("failed to remove {}: {error}", group.display());
            }
        }
    }
}

impl Hierarchy {
    fn delegate(&self, group: &Path, user: u32) -> io::Result<()> {
        fs::create_dir(group)?;
        match self.version {
            Version::V1 => {
                self.copy_cpuset(group)?;
                give(group, &["cgroup.procs", "tasks"], user)?;
                join(group)
            }
            Version::V2 => {
                self.pass_controllers_on();
                give(
                    group,
                    &["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"],
                    user,
                )?;
                let inner = group.join("runner");
                fs::create_dir(&inner)?;
                give(
                    &inner,
                    &["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"],
                    user,
                )?;
                join(&inner)
            }
        }
    }

    /// A new v1 cpuset is empty, and a process cannot join it like that.
    fn copy_cpuset(&self, group: &Path) -> io::Result<()> {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(self.own.join(file)) {
                fs::write(group.join(file), value)?;
                fs::write(group.join("cgroup.clone_children"), "1")?;
            }
        }
        Ok(())
    }

    /// Refused while processes are in our own group: then the user gets a group without limits.
    fn pass_controllers_on(&self) {
        let available = fs::read_to_string(self.own.join("cgroup.controllers")).unwrap_or_default();
        for controller in available.split_whitespace() {
            let control = self.own.join("cgroup.subtree_control");
            if let Err(error) = fs::write(&control, format!("+{controller}")) {
                println!("not delegated: controller {controller}: {error}");
            }
        }
    }
}

/// Finds the hierarchies in `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn hierarchies(cgroup: &str, mountinfo: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else {
            continue;
        };
        let version = if controllers.is_empty() {
            Version::V2
        } else {
            Version::V1
        };
        let mounted = mountinfo
            .lines()
            .find_map(|line| mount_of(line, version, controllers, own));
        found.extend(mounted.map(|own| Hierarchy { version, own }));
    }
    found
}

/// Where the group `own` is, if this line of `mountinfo` mounts its hierarchy.
fn mount_of(line: &str, version: Version, controllers: &str, own: &str) -> Option<PathBuf> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (kind, options) = (kind.next()?, kind.nth(1)?);
    let of_this_hierarchy = match version {
        Version::V2 => kind == "cgroup2",
        Version::V1 => {
            let options: Vec<&str> = options.split(',').collect();
            kind == "cgroup" && controllers.split(',').all(|name| options.contains(&name))
        }
    };
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let below = Path::new(own).strip_prefix(root).ok()?;
    of_this_hierarchy.then(|| Path::new(point).join(below))
}

fn give(group: &Path, files: &[&str], user: u32) -> io::Result<()> {
    chown(group, Some(user), Some(user))?;
    files
        .iter()
        .try_for_each(|file| chown(group.join(file), Some(user), Some(user)))
}

fn join(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), process::id().to_string())
}

fn children(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn processes(group: &Path) -> Vec<u32> {
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = listed.lines().filter_map(|line| line.parse().ok());
    own.chain(children(group).iter().flat_map(|child| processes(child)))
        .collect()
}

/// Removes a group and those below it. Only `rmdir` works there.
fn remove(group: &Path) -> io::Result<()> {
    children(group).iter().try_for_each(|child| remove(child))?;
    fs::remove_dir(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_a_hybrid_host() {
        let cgroup = "4:memory:/jobs/7\n3:cpu,cpuacct:/\n2:name=systemd:/\n1:rdma:/\n0::/jobs\n";
        let mountinfo = "\
30 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 20 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
32 20 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 20 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 20 0:30 / /tmp rw - tmpfs tmpfs rw,memory
";
        let found = hierarchies(cgroup, mountinfo);
        let own: Vec<_> = found
            .iter()
            .map(|found| found.own.to_str().unwrap())
            .collect();
        assert_eq!(
            own,
            [
                "/sys/fs/cgroup/memory/jobs/7",
                "/sys/fs/cgroup/cpu,cpuacct/",
                "/sys/fs/cgroup/systemd/",
                "/sys/fs/cgroup/unified/jobs",
            ]
        );
        assert_eq!(found[3].version, Version::V2);
    }

    #[test]
    fn mount_of_a_part_is_taken_off_the_path() {
        let mountinfo = "31 20 0:27 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found = hierarchies("4:memory:/docker/1/a\n", mountinfo);
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/memory/a"));
        assert_eq!(hierarchies("4:memory:/elsewhere\n", mountinfo), []);
    }
}
