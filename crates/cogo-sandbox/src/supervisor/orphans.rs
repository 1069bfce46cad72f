//! Control groups of supervisors that were killed before `running.json` could name them.
//!
//! A group is named after the exec and the supervisor that made it, so it is found without a
//! record. Only a dead supervisor's group is touched.

use crate::cgroup::Cgroups;
use crate::exec_dir::KILL_MAX;

/// The name of a supervisor's group. Ids are unique in one state directory only, groups on the
/// whole host.
pub(super) fn group_name(id: &str) -> String {
    format!("{id}.{}", std::process::id())
}

/// The exec and the supervisor that a group is named after.
fn parse(name: &str) -> Option<(&str, i32)> {
    let (id, maker) = name.rsplit_once('.')?;
    Some((id, maker.parse().ok()?))
}

/// Ends the groups that dead supervisors made for an exec.
pub(crate) fn end_groups_of(id: &str, cgroups: &Cgroups) {
    cgroups.end_groups(KILL_MAX, |name| {
        parse(name).is_some_and(|(found, maker)| found == id && is_dead(maker))
    });
}

/// Ends the groups of a supervisor that was just reaped.
pub(crate) fn end_groups_made_by(supervisor: i32, cgroups: &Cgroups) {
    cgroups.end_groups(KILL_MAX, |name| {
        parse(name).is_some_and(|(_, maker)| maker == supervisor)
    });
}

/// Removes what nobody was there to remove: a whole host's supervisors may be killed at once. A
/// process id says little to another pid namespace, so a group with a process in it is left.
pub(crate) fn sweep(cgroups: &Cgroups) {
    cgroups.remove_empty_groups(|name| parse(name).is_some_and(|(_, maker)| is_dead(maker)));
}

fn is_dead(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // The name before it may hold anything, brackets too.
    let state = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest.trim_start());
    state.starts_with(['Z', 'X'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_exec_and_its_maker() {
        let own = std::process::id().cast_signed();
        assert_eq!(parse(&group_name("a.b")), Some(("a.b", own)));
        for foreign in ["", "exec", "exec.", "exec.x", "7"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let pid = child.id().cast_signed();
        assert!(!is_dead(std::process::id().cast_signed()));
        while !is_dead(pid) {
            std::thread::yield_now();
        }
        child.wait().expect("a child to reap");
        assert!(is_dead(pid));
    }
}
