//! The control files of cgroup v1.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::v2::{CPU_PERIOD_US, host_has_swap, quota_us, write_error, write_value};
use super::{CgroupError, CgroupUsage, Controller, file};

/// Bounds memory without a way out to swap.
pub(super) fn set_memory(dir: &Path, limit: Option<u64>) -> Result<(), CgroupError> {
    let value = limit.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
    let memory = dir.join("memory.limit_in_bytes");
    let with_swap = dir.join("memory.memsw.limit_in_bytes");
    // Memory with swap may never be below memory: a limit that falls lowers memory first, one
    // that rises raises memory with swap first. The kernel tells which with `EINVAL`.
    match file::write(&memory, &value) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            write_value(&with_swap, &value)?;
            return write_value(&memory, &value);
        }
        result => result.map_err(write_error(&memory, &value))?,
    }
    match file::write(&with_swap, &value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => forbid_swap(dir, limit.is_some()),
        result => result.map_err(write_error(&with_swap, &value)),
    }
}

/// Without swap accounting: a group with swappiness 0 meets its limit instead of being swapped.
fn forbid_swap(dir: &Path, is_limited: bool) -> Result<(), CgroupError> {
    if !is_limited || file::write(&dir.join("memory.swappiness"), "0").is_ok() || !host_has_swap() {
        return Ok(());
    }
    Err(CgroupError::Unenforceable {
        limit: "memory",
        reason: "the host has swap and its kernel does not account it",
    })
}

pub(super) fn set_cpus(dir: &Path, cpus: Option<f64>) -> Result<(), CgroupError> {
    let quota = cpus.map_or_else(|| "-1".to_owned(), |cpus| quota_us(cpus).to_string());
    write_value(&dir.join("cpu.cfs_period_us"), &CPU_PERIOD_US.to_string())?;
    write_value(&dir.join("cpu.cfs_quota_us"), &quota)
}

/// Makes limits of `dir` count for its children, which kernels before 5.11 do only when told
/// before the first child is made.
pub(super) fn count_children(dir: &Path) {
    let path = dir.join("memory.use_hierarchy");
    if file::read_number(&path).is_ok_and(|value| value == 0) {
        // Where it fails the parent counts children already, or the group has some.
        let _ = file::write(&path, "1");
    }
}

/// Adds what the controllers of `dir` count.
pub(super) fn read_usage(dir: &Path, controllers: &[Controller], usage: &mut CgroupUsage) {
    for controller in controllers {
        match controller {
            Controller::Memory => {
                usage.memory = file::read_number(&dir.join("memory.usage_in_bytes")).ok();
                usage.memory_peak = file::read_number(&dir.join("memory.max_usage_in_bytes")).ok();
            }
            Controller::Pids => {
                usage.pids = file::read_number(&dir.join("pids.current")).ok();
                usage.pids_peak = file::read_number(&dir.join("pids.peak")).ok();
            }
            Controller::Cpuacct => read_cpuacct(dir, usage),
            Controller::Cpu | Controller::Io | Controller::Freezer => {}
        }
    }
}

fn read_cpuacct(dir: &Path, usage: &mut CgroupUsage) {
    let read = |name| file::read_number(&dir.join(name)).ok();
    let Some(total) = read("cpuacct.usage") else {
        return;
    };
    let user = read("cpuacct.usage_user").unwrap_or(0);
    let system = read("cpuacct.usage_sys").unwrap_or(0);
    let (user, system) = split_cpu_time(total, user, system);
    usage.cpu_user = Some(user);
    usage.cpu_system = Some(system);
}

/// Splits the exact total in the ratio of the other two, which may come from sampling at clock
/// ticks and then miss a short command altogether. All in nanoseconds.
fn split_cpu_time(total: u64, user: u64, system: u64) -> (Duration, Duration) {
    let sampled = u128::from(user) + u128::from(system);
    let system = (u128::from(total) * u128::from(system))
        .checked_div(sampled)
        .unwrap_or(0) as u64;
    (
        Duration::from_nanos(total - system),
        Duration::from_nanos(system),
    )
}

/// OOM kills in the group itself (Linux 4.13 and later).
pub(super) fn oom_kills(dir: &Path) -> io::Result<u64> {
    let text = file::read(&dir.join("memory.oom_control"))?;
    Ok(file::keyed_number(&text, "oom_kill").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_split_in_the_sampled_ratio() {
        let nanos = Duration::from_nanos;
        assert_eq!(split_cpu_time(1_000, 30, 10), (nanos(750), nanos(250)));
        assert_eq!(split_cpu_time(1_000, 0, 0), (nanos(1_000), nanos(0)));
        assert_eq!(
            split_cpu_time(u64::MAX, 0, u64::MAX),
            (nanos(0), nanos(u64::MAX))
        );
    }

    #[test]
    fn oom_kills_are_read_from_oom_control() {
        let dir = tempfile::tempdir().unwrap();
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n";
        std::fs::write(dir.path().join("memory.oom_control"), text).unwrap();
        assert_eq!(oom_kills(dir.path()).unwrap(), 4);
    }
}
