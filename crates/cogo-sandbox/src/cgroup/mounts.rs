//! Where control groups are mounted and where this process is in them, as `/proc` tells it.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Controller, Version, file};

/// The hierarchies this process can see. A value, so that tests can describe other machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    pub(super) hierarchies: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// The controllers a v1 mount was made for. Empty for v2, where each group lists its own.
    pub(super) controllers: Vec<Controller>,
    pub(super) mount: PathBuf,
    /// Directory of the group this process is in; `None` when it lies outside of the mount.
    pub(super) own: Option<PathBuf>,
}

impl Mounts {
    /// Reads the mounts of this process.
    ///
    /// # Errors
    ///
    /// Fails when `/proc` is not mounted or not readable.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(
            &file::read(Path::new("/proc/self/mountinfo"))?,
            &file::read(Path::new("/proc/self/cgroup"))?,
        ))
    }

    /// Parses the text of `/proc/self/mountinfo` and `/proc/self/cgroup`. Lines that are not
    /// understood are passed over.
    pub fn parse(mountinfo: &str, cgroup: &str) -> Self {
        let mut mounts = Self::default();
        for hierarchy in mountinfo
            .lines()
            .filter_map(|line| parse_mount(line, cgroup))
        {
            mounts.insert(hierarchy);
        }
        mounts
    }

    /// A hierarchy may be mounted more than once; a mount that shows our own group is worth more.
    fn insert(&mut self, found: Hierarchy) {
        let same = |known: &Hierarchy| {
            known.version == found.version && known.controllers == found.controllers
        };
        match self.hierarchies.iter_mut().find(|known| same(known)) {
            Some(known) if known.own.is_none() => *known = found,
            Some(_) => {}
            None => self.hierarchies.push(found),
        }
    }
}

fn parse_mount(line: &str, cgroup: &str) -> Option<Hierarchy> {
    let (place, file_system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let root = unescape(place.next()?);
    let mount = PathBuf::from(unescape(place.next()?));
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    let options = file_system.nth(1).unwrap_or_default();
    let (version, controllers) = match kind {
        "cgroup2" => (Version::V2, Vec::new()),
        "cgroup" => (
            Version::V1,
            options.split(',').filter_map(Controller::from_v1).collect(),
        ),
        _ => return None,
    };
    // A named hierarchy (systemd's own) or one of controllers that cogo does not use.
    if version == Version::V1 && controllers.is_empty() {
        return None;
    }
    let own = own_path(cgroup, &controllers).and_then(|own| shown_at(&mount, &root, own));
    Some(Hierarchy {
        version,
        controllers,
        mount,
        own,
    })
}

/// This process's group in the hierarchy of the given controllers; v2 is the one without.
fn own_path<'a>(cgroup: &'a str, controllers: &[Controller]) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        let is_it = match controllers.first() {
            None => names.is_empty(),
            Some(first) => names
                .split(',')
                .any(|name| Controller::from_v1(name) == Some(*first)),
        };
        is_it.then_some(path)
    })
}

/// Where a mount of the subtree `root` shows the group `path`.
fn shown_at(mount: &Path, root: &str, path: &str) -> Option<PathBuf> {
    let below = Path::new(path).strip_prefix(root).ok()?;
    // A group outside of our cgroup namespace is told as `/../other`.
    let is_inside = !below.components().any(|part| part == Component::ParentDir);
    is_inside.then(|| {
        if below.as_os_str().is_empty() {
            mount.to_owned()
        } else {
            mount.join(below)
        }
    })
}

/// Undoes the octal escapes (`\040` for a space) of mountinfo.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(mounts: &Mounts, version: Version) -> Vec<Option<&str>> {
        let of_version = mounts
            .hierarchies
            .iter()
            .filter(|mount| mount.version == version);
        of_version
            .map(|mount| mount.own.as_deref().and_then(Path::to_str))
            .collect()
    }

    #[test]
    fn pure_v2() {
        let mounts = Mounts::parse(
            "24 18 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n\
             25 18 0:23 / /tmp rw - tmpfs tmpfs rw\n",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n",
        );
        assert_eq!(
            own(&mounts, Version::V2),
            [Some(
                "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope"
            )]
        );
        assert_eq!(mounts.hierarchies.len(), 1);
    }

    #[test]
    fn hybrid_keeps_co_mounted_controllers_together_and_drops_named_hierarchies() {
        let mounts = Mounts::parse(
            "30 23 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n\
             31 23 0:28 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,name=systemd\n\
             33 23 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n\
             34 23 0:31 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls\n\
             35 23 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            "4:memory:/work\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/x\n",
        );
        let controllers: Vec<_> = mounts
            .hierarchies
            .iter()
            .map(|mount| mount.controllers.as_slice())
            .collect();
        assert_eq!(
            controllers,
            [
                [].as_slice(),
                [Controller::Cpu, Controller::Cpuacct].as_slice(),
                [Controller::Memory].as_slice()
            ]
        );
        assert_eq!(
            own(&mounts, Version::V2),
            [Some("/sys/fs/cgroup/unified/x")]
        );
        assert_eq!(
            own(&mounts, Version::V1),
            [
                Some("/sys/fs/cgroup/cpu,cpuacct"),
                Some("/sys/fs/cgroup/memory/work")
            ]
        );
    }

    #[test]
    fn container_mount_of_a_subtree() {
        let mountinfo = "40 1 0:30 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let inside = Mounts::parse(mountinfo, "4:memory:/docker/ab/c\n");
        assert_eq!(own(&inside, Version::V1), [Some("/sys/fs/cgroup/memory/c")]);
        let outside = Mounts::parse(mountinfo, "4:memory:/docker/abc\n");
        assert_eq!(own(&outside, Version::V1), [None]);
    }

    #[test]
    fn group_outside_of_the_namespace_has_no_directory() {
        let mounts = Mounts::parse(
            "40 1 0:30 / /cg rw - cgroup2 none rw\n",
            "0::/../../other\n",
        );
        assert_eq!(own(&mounts, Version::V2), [None]);
    }

    #[test]
    fn mount_that_shows_the_own_group_wins() {
        let mounts = Mounts::parse(
            "40 1 0:30 /a /mnt/a rw - cgroup2 none rw\n\
             41 1 0:30 / /mnt/all\\040of\\040it rw - cgroup2 none rw\n\
             42 1 0:30 / /mnt/later rw - cgroup2 none rw\n",
            "0::/b\n",
        );
        assert_eq!(own(&mounts, Version::V2), [Some("/mnt/all of it/b")]);
    }

    #[test]
    fn garbage_is_passed_over() {
        assert_eq!(Mounts::parse("", ""), Mounts::default());
        assert_eq!(
            Mounts::parse("a b c - cgroup2\n - \n1 2 3 / - cgroup2 x y", "::\nx"),
            Mounts::default()
        );
    }
}
