//! Groups that outlived their maker, found by their names.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::record::{CgroupRecord, DirectoryRecord};
use super::{Cgroup, Cgroups, GROUP_PREFIX};

impl Cgroups {
    /// Kills what is in the groups whose name, without our prefix, is chosen, and removes them.
    /// What the kernel holds on to stays; it can be tried again.
    pub fn end_groups(&self, within: Duration, is_chosen: impl Fn(&str) -> bool) {
        for group in self.groups(is_chosen) {
            let _ = group.kill(within);
            let _ = group.remove();
        }
    }

    /// Removes those of the chosen groups that hold no process.
    pub fn remove_empty_groups(&self, is_chosen: impl Fn(&str) -> bool) {
        for group in self.groups(is_chosen) {
            if group.pids().is_ok_and(|pids| pids.is_empty()) {
                let _ = group.remove();
            }
        }
    }

    fn groups(&self, is_chosen: impl Fn(&str) -> bool) -> Vec<Cgroup> {
        let listings = self.places.iter().map(|place| fs::read_dir(&place.base));
        let entries = listings.filter_map(Result::ok).flatten();
        // In every hierarchy the same names.
        let names: BTreeSet<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.strip_prefix(GROUP_PREFIX).is_some_and(&is_chosen))
            .collect();
        let reopened = names
            .iter()
            .map(|name| Cgroup::reopen(&self.record_of(name)));
        reopened.filter_map(Result::ok).collect()
    }

    fn record_of(&self, directory: &str) -> CgroupRecord {
        let directories = self.places.iter().map(|place| DirectoryRecord {
            version: place.version,
            controllers: place.controllers.clone(),
            base: place.base.clone(),
            path: place.base.join(directory),
        });
        CgroupRecord {
            directories: directories.collect(),
        }
    }
}
