//! How the worker's host is doing, from `/proc`.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cogo_protocol::worker::Health;

/// Figures younger than this are told again.
const FRESH: Duration = Duration::from_millis(500);

/// Takes figures when it is asked, and seldom enough to cost nothing.
#[derive(Debug)]
pub(crate) struct HealthSampler {
    started_at: Instant,
    /// Where the worker keeps its state.
    state_dir: PathBuf,
    last: Mutex<Sample>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    taken_at: Option<Instant>,
    processor: ProcessorTime,
    health: Health,
}

/// What all processors did since the host started, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ProcessorTime {
    busy: u64,
    total: u64,
}

impl HealthSampler {
    pub(crate) fn new(state_dir: PathBuf) -> Self {
        let sampler = Self {
            started_at: Instant::now(),
            state_dir,
            last: Mutex::default(),
        };
        // Usage is a difference: the first question needs something to compare with.
        sampler.sample();
        sampler
    }

    /// The newest figures. What the host does not tell is 0.
    pub(crate) fn sample(&self) -> Health {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = last.taken_at.is_some_and(|at| at.elapsed() < FRESH);
        if !is_fresh {
            *last = self.take(&last);
        }
        Health {
            uptime: crate::convert::ms(self.started_at.elapsed()),
            ..last.health
        }
    }

    fn take(&self, last: &Sample) -> Sample {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = processor_time(&read("/proc/stat")).unwrap_or_default();
        Sample {
            taken_at: Some(Instant::now()),
            processor,
            health: Health {
                cpu: last.processor.percent_until(processor),
                memory: memory_percent(&read("/proc/meminfo")).unwrap_or_default(),
                disk: self.disk_percent().unwrap_or_default(),
                uptime: 0,
            },
        }
    }

    /// As `df` counts: blocks that only root may use are neither used nor available.
    fn disk_percent(&self) -> Option<f64> {
        let stat = rustix::fs::statvfs(&self.state_dir).ok()?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        percent(used, used + stat.f_bavail)
    }
}

impl ProcessorTime {
    fn percent_until(self, later: Self) -> f64 {
        let busy = later.busy.saturating_sub(self.busy);
        let total = later.total.saturating_sub(self.total);
        percent(busy, total).unwrap_or_default()
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 * 1000.0 / whole as f64).round() / 10.0)
}

/// Reads the first line of `/proc/stat`: user, nice, system, idle, waiting for disks, …
fn processor_time(stat: &str) -> Option<ProcessorTime> {
    let figures: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        // Guest time, behind these eight, is part of user time.
        .take(8)
        .map_while(|figure| figure.parse().ok())
        .collect();
    let total = figures.iter().sum();
    let idle: u64 = figures.get(3)? + figures.get(4)?;
    Some(ProcessorTime {
        busy: total - idle,
        total,
    })
}

fn memory_percent(meminfo: &str) -> Option<f64> {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let total = kib("MemTotal:")?;
    percent(total.saturating_sub(kib("MemAvailable:")?), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_kernel_writes_them() {
        let before = processor_time("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1\n").unwrap();
        assert_eq!(
            before,
            ProcessorTime {
                busy: 20,
                total: 100
            }
        );
        let after = processor_time("cpu  40 0 10 90 10 0 0 0 5 0\n").unwrap();
        assert_eq!(before.percent_until(after).to_string(), "60");
        assert_eq!(before.percent_until(before).to_string(), "0");
        assert_eq!(processor_time("intr 5"), None);
        let meminfo = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n";
        assert_eq!(memory_percent(meminfo), Some(75.0));
    }

    #[test]
    fn this_host_has_figures() {
        let health = HealthSampler::new(std::env::temp_dir()).sample();
        assert!(health.memory > 0.0 && health.memory <= 100.0, "{health:?}");
        assert!((0.0..=100.0).contains(&health.disk), "{health:?}");
    }
}
