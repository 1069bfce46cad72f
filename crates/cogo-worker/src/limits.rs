//! The bounds an exec gets when its user names none.

use std::time::Duration;

use cogo_protocol::units::Bytes;
use cogo_sandbox::cgroup::CgroupCapabilities;
use cogo_sandbox::spec::Isolation;

/// Processes and threads. Far above a parallel build, far below what hurts a host.
pub const PIDS: u32 = 4096;
/// Bytes that the log may take on disk.
pub const LOG: Bytes = Bytes::new(256 << 20);
/// Time between the polite signal and the kill.
pub const GRACE: Duration = Duration::from_secs(5);
/// Of the host's memory: what is left keeps the host itself alive.
const MEMORY_SHARE: (u64, u64) = (3, 4);

/// Three quarters of the host's memory, in bytes; `None` if the host does not tell its size.
pub fn memory() -> Option<u64> {
    memory_of(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// The limits on memory and pids that nobody asked for. A host may have nothing to enforce them
/// with on the whole tree; the weaker tiers then go without.
pub fn defaults(
    isolation: Isolation,
    capabilities: &CgroupCapabilities,
) -> (Option<u64>, Option<u32>) {
    if isolation == Isolation::Strict {
        return (memory(), Some(PIDS));
    }
    (
        capabilities.memory.then(memory).flatten(),
        capabilities.pids.then_some(PIDS),
    )
}

fn memory_of(meminfo: &str) -> Option<u64> {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib << 10) / MEMORY_SHARE.1 * MEMORY_SHARE.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_share_of_the_host() {
        let meminfo = "MemTotal:        8000000 kB\nMemFree:          100 kB\n";
        assert_eq!(memory_of(meminfo), Some(6_000_000 * 1024));
        assert_eq!(memory_of("MemFree: 1 kB\n"), None);
    }
}
