//! The bounds an exec gets when its user names none.

/// Processes and threads. Far above a parallel build, far below what hurts a host.
pub(crate) const PIDS: u32 = 4096;
/// Of the host's memory: what is left keeps the host itself alive.
const MEMORY_SHARE: (u64, u64) = (3, 4);

/// Three quarters of the host's memory, in bytes; `None` if the host does not tell its size.
pub(crate) fn memory() -> Option<u64> {
    memory_of(&std::fs::read_to_string("/proc/meminfo").ok()?)
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
