//! A group as another process can find it again, to clean up after one that died.

use std::path::{Component, Path, PathBuf};

use rustix::fs::statfs;
use serde::{Deserialize, Serialize};

use super::{CgroupError, Controller, GROUP_PREFIX, Need, Version};

/// Where a group is. Written to the exec's directory before the group holds a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {
    pub(super) directories: Vec<DirectoryRecord>,
}

/// The group's directory in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirectoryRecord {
    pub(super) version: Version,
    pub(super) controllers: Vec<Controller>,
    pub(super) base: PathBuf,
    pub(super) path: PathBuf,
}

impl DirectoryRecord {
    pub(super) fn need(&self) -> Need {
        if self.version == Version::V1 && self.controllers == [Controller::Cpu] {
            Need::CpuLimit
        } else {
            Need::Always
        }
    }

    /// Refuses a directory that is not a group of ours: whoever can change the record must not
    /// be able to have other groups killed.
    pub(super) fn check(&self) -> Result<(), CgroupError> {
        let refuse = |reason| CgroupError::ForeignRecord {
            path: self.path.clone(),
            reason,
        };
        let below = self.path.strip_prefix(&self.base);
        let below = below.map_err(|_| refuse("it is not below the recorded base"))?;
        let is_plain = |path: &Path| {
            let mut parts = path.components();
            parts.all(|part| matches!(part, Component::Normal(_) | Component::RootDir))
        };
        if !self.path.is_absolute() || !is_plain(&self.path) {
            return Err(refuse("it is not a plain absolute path"));
        }
        if !below
            .to_str()
            .is_some_and(|name| name.starts_with(GROUP_PREFIX))
        {
            return Err(refuse("its name lacks the prefix of our groups"));
        }
        // What is gone needs no cleaning; what is there must be a cgroup, not a link to one.
        let Ok(real) = self.path.canonicalize() else {
            return Ok(());
        };
        if real != self.path {
            return Err(refuse("it leads through a symbolic link"));
        }
        if !is_cgroup(&real, self.version) {
            return Err(refuse("it is not a control group"));
        }
        Ok(())
    }
}

fn is_cgroup(dir: &Path, version: Version) -> bool {
    let expected = match version {
        Version::V1 => libc::CGROUP_SUPER_MAGIC,
        Version::V2 => libc::CGROUP2_SUPER_MAGIC,
    };
    statfs(dir).is_ok_and(|found| found.f_type == expected)
}
