//! What a sandbox shows of the host: system directories, a few devices, nothing of anyone's
//! data. The list names what is shown, so a directory that appears on a host tomorrow stays
//! hidden.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{Design, tree};
use crate::init::{EntryKind, Root, RootEntry};
use crate::sandbox::failed;
use crate::spec::Network;
use crate::start::Refusal;

/// System directories, shown read-only where they exist. Usually some are links into `/usr`.
const SYSTEM: [&str; 10] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
];

/// Devices that give nothing away.
const DEVICES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// What a root shows, with the trees of those entries that are no links, in their order.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) entries: Vec<RootEntry>,
    pub(super) trees: Vec<OwnedFd>,
}

impl Entries {
    /// What every sandbox with the host's root shows.
    pub(super) fn of_host() -> Result<Self, Refusal> {
        let mut all = Self::default();
        for path in SYSTEM.map(PathBuf::from) {
            if let Ok(to) = fs::read_link(&path) {
                all.link(path, to);
            } else {
                all.show(&path, path.clone())?;
            }
        }
        all.devices()?;
        Ok(all)
    }

    /// The top level of an unpacked root file system. Places that the sandbox makes itself are
    /// left out.
    fn of_rootfs(rootfs: &Path) -> Result<Self, Refusal> {
        const OURS: [&str; 7] = ["dev", "home", "proc", "root", "run", "sys", "tmp"];
        let listing = fs::read_dir(rootfs).map_err(|e| {
            failed(
                &format!("read the root file system `{}`", rootfs.display()),
                &e,
            )
        })?;
        let mut all = Self::default();
        for entry in listing.filter_map(Result::ok) {
            let name = entry.file_name();
            if OURS.iter().any(|ours| name == *ours) {
                continue;
            }
            let target = Path::new("/").join(&name);
            if let Ok(to) = fs::read_link(entry.path()) {
                all.link(target, to);
            } else {
                all.show(&entry.path(), target)?;
            }
        }
        all.devices()?;
        Ok(all)
    }

    fn devices(&mut self) -> Result<(), Refusal> {
        for device in DEVICES.map(Path::new) {
            if let Some(tree) = tree::device(device)? {
                self.push(device.to_owned(), EntryKind::File, tree);
            }
        }
        Ok(())
    }

    /// `/etc/resolv.conf` often is a link into `/run`, which is not shown.
    fn resolver_configuration(&mut self) -> Result<(), Refusal> {
        match fs::canonicalize("/etc/resolv.conf") {
            Ok(target) if !target.starts_with("/etc") => self.show(&target, target.clone()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn link(&mut self, target: PathBuf, to: PathBuf) {
        let kind = EntryKind::Link(to);
        self.entries.push(RootEntry { target, kind });
    }

    /// Shows a host path read-only, if it is there.
    fn show(&mut self, path: &Path, target: PathBuf) -> Result<(), Refusal> {
        if let Some((tree, directory)) = tree::read_only(path)? {
            let kind = if directory {
                EntryKind::Directory
            } else {
                EntryKind::File
            };
            self.push(target, kind, tree);
        }
        Ok(())
    }

    fn push(&mut self, target: PathBuf, kind: EntryKind, tree: OwnedFd) {
        self.entries.push(RootEntry { target, kind });
        self.trees.push(tree);
    }
}

/// Plans the root of a sandbox; its trees ride beside. `host` is what was found ahead of need.
pub(super) fn root(
    design: &Design,
    host: Option<Entries>,
) -> Result<(Root, Vec<OwnedFd>), Refusal> {
    let mut all = match (&design.rootfs, host) {
        (Some(rootfs), _) => Entries::of_rootfs(rootfs)?,
        (None, Some(host)) => host,
        (None, None) => Entries::of_host()?,
    };
    if design.rootfs.is_none() && design.network == Network::Host {
        all.resolver_configuration()?;
    }
    let root = Root {
        entries: all.entries,
        home: design.home.clone(),
        scratch_size: design.scratch_size,
    };
    Ok((root, all.trees))
}
