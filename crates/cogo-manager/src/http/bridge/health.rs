//! How the manager's host is doing, for heartbeats to its clients.

use std::fs;

use cogo_protocol::worker::Health;

/// Reads the kernel's counters; processor time is counted from one reading to the next.
#[derive(Debug, Default)]
pub(super) struct HostHealth {
    last: Option<Ticks>,
}

#[derive(Clone, Copy, Debug)]
struct Ticks {
    busy: u64,
    all: u64,
}

impl HostHealth {
    /// The host's health now, and this process's time in milliseconds since `started_at_ms`.
    pub(super) fn read(&mut self, now_ms: u64, started_at_ms: u64) -> Health {
        let ticks = fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|text| parse_ticks(&text));
        let cpu = match (self.last, ticks) {
            (Some(before), Some(now)) => percent(
                now.busy.saturating_sub(before.busy),
                now.all.saturating_sub(before.all),
            ),
            (None, Some(now)) => percent(now.busy, now.all),
            (_, None) => 0.0,
        };
        self.last = ticks.or(self.last);
        Health {
            cpu,
            memory: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| parse_memory(&text))
                .unwrap_or_default(),
            disk: rustix::fs::statvfs("/")
                .map(|stat| percent(stat.f_blocks.saturating_sub(stat.f_bavail), stat.f_blocks))
                .unwrap_or_default(),
            uptime: now_ms.saturating_sub(started_at_ms),
        }
    }
}

fn percent(part: u64, all: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    100.0 * part as f64 / all as f64
}

/// The line of all processors: user, nice, system, idle, iowait, …
fn parse_ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let numbers: Vec<u64> = line
        .split_whitespace()
        .map_while(|n| n.parse().ok())
        .collect();
    let all: u64 = numbers.iter().take(8).sum();
    let idle = numbers.get(3)? + numbers.get(4)?;
    Some(Ticks {
        busy: all.saturating_sub(idle),
        all,
    })
}

fn parse_memory(meminfo: &str) -> Option<f64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let total = field("MemTotal:")?;
    let free = field("MemAvailable:")?;
    Some(percent(total.saturating_sub(free), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let ticks = parse_ticks("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 1\n").unwrap();
        assert_eq!((ticks.busy, ticks.all), (20, 100));
        let memory = parse_memory("MemTotal: 100 kB\nMemFree: 5 kB\nMemAvailable: 75 kB\n");
        assert_eq!(memory, Some(25.0));
        assert!(parse_ticks("").is_none() && parse_memory("").is_none());
    }
}
