//! The control files of cgroup v2.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::{CgroupError, CgroupUsage, Controller, file};

/// Period of a cpu quota in microseconds; the kernel's default.
pub(super) const CPU_PERIOD_US: u64 = 100_000;

/// Controllers that `dir` may give to its children.
pub(super) fn controllers(dir: &Path) -> Vec<Controller> {
    listed(&dir.join("cgroup.controllers"))
}

/// Controllers that `dir` gives to its children.
pub(super) fn enabled(dir: &Path) -> Vec<Controller> {
    listed(&dir.join("cgroup.subtree_control"))
}

fn listed(path: &Path) -> Vec<Controller> {
    let text = file::read(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(Controller::from_v2)
        .collect()
}

/// Gives controllers to the children of `dir`. Does nothing where they have them already.
pub(super) fn enable(dir: &Path, wanted: &[Controller]) -> io::Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let enabled = enabled(dir);
    let mut missing = wanted.to_owned();
    missing.retain(|controller| !enabled.contains(controller));
    match write_enable(dir, &missing) {
        // One that the kernel refuses (cpu beside real-time processes) must not cost the others.
        Err(error)
            if missing.len() > 1 && error.raw_os_error() != Some(Errno::BUSY.raw_os_error()) =>
        {
            let each = missing
                .iter()
                .map(|controller| write_enable(dir, &[*controller]));
            each.fold(Ok(()), io::Result::and)
        }
        result => result,
    }
}

fn write_enable(dir: &Path, controllers: &[Controller]) -> io::Result<()> {
    if controllers.is_empty() {
        return Ok(());
    }
    let request: Vec<_> = controllers
        .iter()
        .map(|name| format!("+{}", name.v2_name()))
        .collect();
    file::write(&dir.join("cgroup.subtree_control"), &request.join(" "))
}

/// Bounds memory without a way out to swap. `memory.oom.group` stays off, as it is by default: the
/// kernel kills one process and the command tells how it ended.
pub(super) fn set_memory(dir: &Path, limit: Option<u64>) -> Result<(), CgroupError> {
    // Swap first: a group over its new limit must not be swapped out on the way.
    let swap = dir.join("memory.swap.max");
    let swap_value = if limit.is_some() { "0" } else { "max" };
    match file::write(&swap, swap_value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A kernel without swap accounting: harmless as long as there is nothing to swap to.
            if limit.is_some() && host_has_swap() {
                return Err(CgroupError::Unenforceable {
                    limit: "memory",
                    reason: "the host has swap and its kernel does not account it",
                });
            }
        }
        result => result.map_err(write_error(&swap, swap_value))?,
    }
    write_value(&dir.join("memory.max"), &number_or_max(limit))
}

pub(super) fn set_pids(dir: &Path, limit: Option<u32>) -> Result<(), CgroupError> {
    write_value(&dir.join("pids.max"), &number_or_max(limit.map(u64::from)))
}

pub(super) fn set_cpus(dir: &Path, cpus: Option<f64>) -> Result<(), CgroupError> {
    let quota = number_or_max(cpus.map(quota_us));
    write_value(&dir.join("cpu.max"), &format!("{quota} {CPU_PERIOD_US}"))
}

/// CPU time per period for a number of cores.
pub(super) fn quota_us(cpus: f64) -> u64 {
    (cpus * CPU_PERIOD_US as f64).round() as u64
}

pub(super) fn write_value(path: &Path, value: &str) -> Result<(), CgroupError> {
    file::write(path, value).map_err(write_error(path, value))
}

pub(super) fn write_error(path: &Path, value: &str) -> impl FnOnce(io::Error) -> CgroupError {
    move |source| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        source,
    }
}

pub(super) fn host_has_swap() -> bool {
    // The first line is a heading.
    file::read(Path::new("/proc/swaps")).is_ok_and(|text| text.lines().count() > 1)
}

fn number_or_max(limit: Option<u64>) -> String {
    limit.map_or_else(|| "max".to_owned(), |number| number.to_string())
}

/// Adds what `dir` counts: cpu time always, the rest where it has the controller.
pub(super) fn read_usage(dir: &Path, controllers: &[Controller], usage: &mut CgroupUsage) {
    if let Ok(text) = file::read(&dir.join("cpu.stat")) {
        (usage.cpu_user, usage.cpu_system) = parse_cpu_stat(&text);
    }
    let number = |name| file::read_number(&dir.join(name)).ok();
    for controller in controllers {
        match controller {
            Controller::Memory => {
                usage.memory = number("memory.current");
                usage.memory_peak = number("memory.peak");
            }
            Controller::Pids => {
                usage.pids = number("pids.current");
                usage.pids_peak = number("pids.peak");
            }
            Controller::Io => {
                let totals = file::read(&dir.join("io.stat"))
                    .map(|text| parse_io_stat(&text))
                    .ok();
                (usage.io_read, usage.io_write) = totals.unzip();
            }
            Controller::Cpu | Controller::Cpuacct | Controller::Freezer => {}
        }
    }
}

fn parse_cpu_stat(text: &str) -> (Option<Duration>, Option<Duration>) {
    let micros = |key| file::keyed_number(text, key).map(Duration::from_micros);
    (micros("user_usec"), micros("system_usec"))
}

/// Bytes read and written, over all devices.
fn parse_io_stat(text: &str) -> (u64, u64) {
    let total = |key: &str| -> u64 {
        let values = text
            .split_whitespace()
            .filter_map(|field| field.strip_prefix(key));
        values.filter_map(|value| value.parse::<u64>().ok()).sum()
    };
    (total("rbytes="), total("wbytes="))
}

/// OOM kills in the group and its children.
pub(super) fn oom_kills(dir: &Path) -> io::Result<u64> {
    let text = file::read(&dir.join("memory.events"))?;
    Ok(file::keyed_number(&text, "oom_kill").unwrap_or(0))
}

/// Forks refused at a pids limit; the same file in v1.
pub(super) fn pids_limit_hits(dir: &Path) -> io::Result<u64> {
    let text = file::read(&dir.join("pids.events"))?;
    Ok(file::keyed_number(&text, "max").unwrap_or(0))
}

/// Whether the text of `cgroup.events` says that processes live in the group or below it.
pub(super) fn is_populated(events: &str) -> bool {
    file::keyed_number(events, "populated") != Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_stat() {
        let text = "usage_usec 4173\nuser_usec 1391\nsystem_usec 2782\nnice_usec 0\n\
                    core_sched.force_idle_usec 0\nnr_periods 12\nnr_throttled 3\n\
                    throttled_usec 90000\nnr_bursts 0\nburst_usec 0\n";
        assert_eq!(
            parse_cpu_stat(text),
            (
                Some(Duration::from_micros(1391)),
                Some(Duration::from_micros(2782))
            )
        );
        assert_eq!(parse_cpu_stat(""), (None, None));
    }

    #[test]
    fn io_stat_sums_all_devices() {
        let text = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
                    8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021\n\
                    7:7 \n";
        assert_eq!(parse_io_stat(text), (91_889_664, 613_781_504));
        assert_eq!(parse_io_stat(""), (0, 0));
    }

    #[test]
    fn populated_is_assumed_unless_denied() {
        assert!(is_populated("populated 1\nfrozen 0\n"));
        assert!(!is_populated("populated 0\nfrozen 0\n"));
        assert!(is_populated(""));
    }

    #[test]
    fn event_counters() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put(
            "memory.events",
            "low 0\nhigh 0\nmax 64\noom 2\noom_kill 1\noom_group_kill 0\n",
        );
        put("pids.events", "max 5\n");
        assert_eq!(oom_kills(dir.path()).unwrap(), 1);
        assert_eq!(pids_limit_hits(dir.path()).unwrap(), 5);
    }

    #[test]
    fn usage_from_real_files() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("cpu.stat", "usage_usec 3\nuser_usec 1\nsystem_usec 2\n");
        let mut usage = CgroupUsage::default();
        let all = [Controller::Memory, Controller::Pids, Controller::Io];
        read_usage(dir.path(), &all, &mut usage);
        assert_eq!(
            (usage.memory_peak, usage.io_read, usage.pids),
            (None, None, None)
        );
        put("memory.current", "4096\n");
        put("memory.peak", "8192\n");
        put("pids.current", "2\n");
        put("pids.peak", "3\n");
        put(
            "io.stat",
            "253:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n",
        );
        read_usage(dir.path(), &all, &mut usage);
        assert_eq!((usage.memory, usage.memory_peak), (Some(4096), Some(8192)));
        assert_eq!((usage.pids, usage.pids_peak), (Some(2), Some(3)));
        assert_eq!((usage.io_read, usage.io_write), (Some(10), Some(20)));
        assert_eq!(usage.cpu_system, Some(Duration::from_micros(2)));
    }

    #[test]
    fn limits_are_written_in_the_kernels_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        for name in ["memory.max", "memory.swap.max", "pids.max", "cpu.max"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        let written = |name: &str| {
            let text = std::fs::read_to_string(path.join(name)).unwrap();
            std::fs::write(path.join(name), "").unwrap();
            text
        };
        set_memory(path, Some(1 << 20)).unwrap();
        assert_eq!(
            (written("memory.max"), written("memory.swap.max")),
            ("1048576".into(), "0".into())
        );
        set_memory(path, None).unwrap();
        assert_eq!(
            (written("memory.max"), written("memory.swap.max")),
            ("max".into(), "max".into())
        );
        set_cpus(path, Some(1.5)).unwrap();
        assert_eq!(written("cpu.max"), "150000 100000");
        set_cpus(path, None).unwrap();
        assert_eq!(written("cpu.max"), "max 100000");
        set_pids(path, Some(7)).unwrap();
        assert_eq!(written("pids.max"), "7");
    }

    #[test]
    fn only_missing_controllers_are_enabled() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("cgroup.subtree_control");
        std::fs::write(&control, "cpu pids\n").unwrap();
        std::fs::write(
            dir.path().join("cgroup.controllers"),
            "cpuset cpu io memory pids rdma misc\n",
        )
        .unwrap();
        let available = controllers(dir.path());
        assert_eq!(
            available,
            [
                Controller::Cpu,
                Controller::Io,
                Controller::Memory,
                Controller::Pids
            ]
        );
        assert_eq!(enabled(dir.path()), [Controller::Cpu, Controller::Pids]);
        enable(dir.path(), &[Controller::Pids]).unwrap();
        assert_eq!(std::fs::read_to_string(&control).unwrap(), "cpu pids\n");
        enable(dir.path(), &available).unwrap();
        assert_eq!(std::fs::read_to_string(&control).unwrap(), "+io +memory");
    }
}
