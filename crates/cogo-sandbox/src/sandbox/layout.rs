//! What a sandbox shows of the host: system directories, a few devices, nothing of anyone's
//! data. The list names what is shown, so a directory that appears on a host tomorrow stays
//! hidden.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Design, tree};
use crate::init::{Root, RootEntry};
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

/// Plans the root of a sandbox.
pub(super) fn root(design: &Design) -> Result<Root, Refusal> {
    let mut entries = match &design.rootfs {
        Some(rootfs) => imported(rootfs)?,
        None => host(design)?,
    };
    for device in DEVICES.map(Path::new) {
        if let Some(tree) = tree::device(device)? {
            entries.push(RootEntry::Tree {
                tree,
                target: device.to_owned(),
                directory: false,
            });
        }
    }
    Ok(Root {
        entries,
        home: design.home.clone(),
        scratch_size: design.scratch_size,
    })
}

fn host(design: &Design) -> Result<Vec<RootEntry>, Refusal> {
    let mut entries = Vec::new();
    for path in SYSTEM.map(PathBuf::from) {
        if let Ok(to) = fs::read_link(&path) {
            entries.push(RootEntry::Link { target: path, to });
        } else if let Some((tree, directory)) = tree::read_only(&path)? {
            entries.push(RootEntry::Tree {
                tree,
                target: path,
                directory,
            });
        }
    }
    if design.network == Network::Host {
        entries.extend(resolver_configuration()?);
    }
    Ok(entries)
}

/// `/etc/resolv.conf` often is a link into `/run`, which is not shown.
fn resolver_configuration() -> Result<Option<RootEntry>, Refusal> {
    let Ok(target) = fs::canonicalize("/etc/resolv.conf") else {
        return Ok(None);
    };
    if target.starts_with("/etc") {
        return Ok(None);
    }
    Ok(
        tree::read_only(&target)?.map(|(tree, directory)| RootEntry::Tree {
            tree,
            target,
            directory,
        }),
    )
}

/// The top level of an unpacked root file system. Places that the sandbox makes itself are
/// left out.
fn imported(rootfs: &Path) -> Result<Vec<RootEntry>, Refusal> {
    const OURS: [&str; 7] = ["dev", "home", "proc", "root", "run", "sys", "tmp"];
    let listing = fs::read_dir(rootfs).map_err(|e| {
        failed(
            &format!("read the root file system `{}`", rootfs.display()),
            &e,
        )
    })?;
    let mut entries = Vec::new();
    for entry in listing.filter_map(Result::ok) {
        let name = entry.file_name();
        if OURS.iter().any(|ours| name == *ours) {
            continue;
        }
        let target = Path::new("/").join(&name);
        if let Ok(to) = fs::read_link(entry.path()) {
            entries.push(RootEntry::Link { target, to });
        } else if let Some((tree, directory)) = tree::read_only(&entry.path())? {
            entries.push(RootEntry::Tree {
                tree,
                target,
                directory,
            });
        }
    }
    Ok(entries)
}
